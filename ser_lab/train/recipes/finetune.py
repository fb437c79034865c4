"""A trained model's last layer, fine-tuned on few recordings of another setting."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.model_selection import GroupKFold, KFold

from ser_core.config import PipelineConfig
from ser_core.errors import ModelError
from ser_core.model.assemble import Deltas, read_changed_tensors, read_deltas
from ser_core.model.layers import load_keras
from ser_core.model.manifest import HEAD, Certainty, Manifest
from ser_core.model.saved_model import NETWORK
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import fetch_encoder, tensors_sha256
from ser_lab.data.encoder_store import load_vectors
from ser_lab.data.feature_store import Clips, load_by_corpus, load_features
from ser_lab.data.protocols import Fold, Rows, Run
from ser_lab.data.splits import SpeakerSplit
from ser_lab.metrics import Calibration, Floats, calibrate, unweighted_recall
from ser_lab.train.architectures import join_ensemble
from ser_lab.train.loop import (
    UNKNOWN_LOGIT,
    TrainedModel,
    encode_labels,
    known_labels,
    predict_logits,
    speech_clips,
    speech_rows,
)
from ser_lab.train.recipes.base import Recipe

LOGITS = "logits"
"""Last layer of every network of the recipes."""
CHANGE = 1.0
"""Standard deviation of the change of a calibrated logit that is expected before any clip."""
N_FOLDS = 5
"""Most parts of the speakers, each predicted by a layer that was fitted on the others."""
PRIOR_CLIPS = 100
"""Clips as many as which the calibration of the model counts that was started from."""


@dataclass(frozen=True, slots=True)
class FineTuneRecipe(Recipe):
    """The last layer of a model, fitted to new recordings near its trained weights.

    Source: Li et al. 2018, Explicit inductive bias for transfer learning (L2-SP).

    Attributes:
        folder: Folder of the model that it starts from.
        start: Its manifest.
        split: Speakers held out for the test; there are no development speakers.
        labels: Emotions of the new model.
        corpora: Name of the table.
    """

    folder: Path
    start: Manifest
    split: SpeakerSplit = field(default_factory=lambda: SpeakerSplit((), ()))
    labels: tuple[str, ...] = ()
    corpora: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the model that it starts from."""
        return self.start.name

    @property
    def pipeline(self) -> PipelineConfig:
        """That of the model that it starts from."""
        return self.start.pipeline

    @property
    def encoder(self) -> EncoderConfig | None:
        """That of the model that it starts from."""
        return self.start.encoder

    @property
    def deltas(self) -> Deltas:
        """Those of the model that it starts from."""
        return read_deltas(self.folder, self.encoder)

    @property
    def settings(self) -> dict[str, Any]:
        """See `TrainingRecipe`."""
        start = {
            "name": self.start.name,
            "version": self.start.version,
            "weights": self.start.weights_sha256,
            "change": CHANGE,
        }
        return self.start.architecture | {"start": start}

    def on_corpus(self, corpus: str, split: SpeakerSplit, labels: tuple[str, ...]) -> Self:
        """See `Recipe`; all speakers but those of the test are trained on."""
        return replace(self, corpora=(corpus,), split=replace(split, development=()), labels=labels)

    def of_corpora(self, corpora: Sequence[str]) -> Self:
        """See `Recipe`; there is one alone."""
        return replace(self, corpora=tuple(corpora))

    def load(self, table: pd.DataFrame, data: Path) -> list[Clips]:  # noqa: ARG002
        """See `Recipe`; there are no changed copies."""
        if self.encoder is None:
            return [load_by_corpus(table, partial(load_features, config=self.pipeline))]
        tensors = read_changed_tensors(self.folder, self.encoder, fetch_encoder(self.encoder))
        changed = replace(self.encoder, deltas=None, tensors_sha256=tensors_sha256(tensors))
        load = partial(load_vectors, pipeline=self.pipeline, config=changed, tensors=tensors)
        return [load_by_corpus(table, load)]

    def load_start(self) -> TrainedModel:
        """Return the model that it starts from.

        Raises:
            ModelError: Its network is damaged, or has no last layer of this name.
        """
        network = load_keras(self.folder / (NETWORK if self.encoder is None else HEAD))
        if not all(layer.name == LOGITS for layer in map(_last_layer, _members(network))):
            raise ModelError(
                f"{self.name} {self.start.version} does not end in a layer {LOGITS!r}. Start from "
                "a model that was trained with python -m ser_core train."
            )
        certainty = self.start.certainty or Certainty(confidence=0.0, precision=0.0, share=1.0)
        return TrainedModel(
            network, Calibration(self.start.temperature, certainty), 0.0, self.start.labels
        )

    def fit(
        self,
        table: pd.DataFrame,
        copies: Sequence[Clips],
        fold: Fold,
        run: Run,  # noqa: ARG002
    ) -> TrainedModel:
        """See `Recipe`; it has no random choices."""
        return fine_tune(self.load_start(), table, copies[0], fold.train, labels=self.labels)


def fine_tune(
    start: TrainedModel,
    table: pd.DataFrame,
    clips: Clips,
    rows: Rows,
    *,
    labels: tuple[str, ...],
) -> TrainedModel:
    """Fit the last layer of a model to some clips.

    The loss of a clip covers the emotions of its corpus alone, so that others are not unlearned;
    emotions count alike, and speakers are left out in turn for the calibration, in which that of
    the start counts as `PRIOR_CLIPS` clips.

    Args:
        start: The model to start from.
        table: Clips.
        clips: Their features.
        rows: Rows to train on.
        labels: Emotions of the new model; those that the start lacks begin at 0.

    Returns:
        The new model; its score is the UAR of speakers left out.
    """
    rows = speech_rows(clips, rows)
    truth, known = encode_labels(table, rows, labels), known_labels(table, rows, labels)
    layer = LastLayer.of(start, labels)
    hidden = layer.hidden(speech_clips(clips, rows))
    unseen = np.empty((len(rows), len(labels)))
    for fitted, tested in _folds(table["speaker"].iloc[rows].to_numpy()):
        change = layer.fit(hidden[fitted], truth[fitted], known[fitted])
        unseen[tested] = layer.logits(hidden[tested], change)
    unseen = np.where(known > 0.0, unseen, UNKNOWN_LOGIT)
    uar = unweighted_recall(truth, unseen.argmax(axis=1) == truth)
    network = layer.network(layer.fit(hidden, truth, known))
    return TrainedModel(network, _calibrate_near(start.calibration, unseen, truth), uar, labels)


def _folds(speakers: npt.NDArray[Any]) -> list[tuple[Rows, Rows]]:
    """Return rows to fit and to test: no speaker in both, unless there is but one."""
    n_speakers = len(set(speakers))
    if n_speakers > 1:
        return [*GroupKFold(min(N_FOLDS, n_speakers)).split(speakers, groups=speakers)]
    return [*KFold(min(N_FOLDS, len(speakers)), shuffle=True, random_state=0).split(speakers)]


def _calibrate_near(start: Calibration, logits: Floats, truth: npt.NDArray[Any]) -> Calibration:
    """Calibrate on clips, with another calibration as the prior."""
    found, share = calibrate(logits, truth), len(truth) / (len(truth) + PRIOR_CLIPS)
    temperature = found.temperature**share * start.temperature ** (1.0 - share)
    least = share * found.certainty.confidence + (1.0 - share) * start.certainty.confidence
    near = Calibration(temperature, start.certainty)
    probabilities = near.probabilities(logits)
    certain = probabilities.max(axis=1) >= least
    right = (probabilities.argmax(axis=1) == truth)[certain]
    precision = float(right.mean()) if certain.any() else 1.0
    return replace(near, certainty=Certainty(least, precision, float(certain.mean())))


@dataclass(frozen=True, slots=True)
class LastLayer:
    """Last layers of an ensemble as one, from what enters them to the mean of their logits.

    The column of the intensity, if there is one, is kept apart: it is no emotion.

    Attributes:
        members: Networks up to their last layer.
        kernels: Kernel of each last layer, (n_units, n_labels).
        biases: Bias of each, (n_labels,).
        temperature: Divisor of the logits in the loss.
        intensities: Weights of the column of intensity of each, (n_units + 1,), bias last; empty
            where there is none.
    """

    members: tuple[keras.Model, ...]
    kernels: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    temperature: float
    intensities: tuple[Floats, ...] = ()

    @classmethod
    def of(cls, start: TrainedModel, labels: tuple[str, ...]) -> Self:
        """Return the last layers of a model, with a column for each of some labels."""
        members = _members(start.network)
        weights = [_last_layer(member).get_weights() for member in members]
        n_labels = len(start.labels)
        columns = [np.append(kernel, bias[None], axis=0)[:, n_labels:] for kernel, bias in weights]
        places = [start.labels.index(label) if label in start.labels else -1 for label in labels]
        padded = [
            [np.append(w, np.zeros_like(w[..., :1]), axis=-1) for w in pair] for pair in weights
        ]
        return cls(
            tuple(keras.Model(m.inputs, _last_layer(m).input) for m in members),
            tuple(kernel[:, places] for kernel, _ in padded),
            tuple(bias[places] for _, bias in padded),
            start.calibration.temperature,
            tuple(column[:, 0] for column in columns if column.size),
        )

    def with_intensity(self, weights: Floats) -> Self:
        """Return the layers with a column of intensity, whose logit is its weights' alone.

        Args:
            weights: (n_units + 1,) for the result of `hidden`, bias last.
        """
        return replace(self, intensities=self._split(weights))

    def hidden(self, clips: Sequence[npt.NDArray[np.floating[Any]]]) -> Floats:
        """Return (n_clips, n_units) of all members side by side, whose logits are averaged."""
        parts = [
            predict_logits(member, clips, n_labels=member.output.shape[-1])
            for member in self.members
        ]
        return np.concatenate(parts, axis=1, dtype=np.float64) / len(parts)

    def logits(self, hidden: Floats, change: Floats) -> Floats:
        """Return (n_clips, n_labels) after a change of (n_units + 1, n_labels), bias last."""
        kernel = np.concatenate(self.kernels) + change[:-1]
        return np.asarray(hidden @ kernel + np.mean(self.biases, axis=0) + change[-1])

    def fit(
        self, hidden: Floats, truth: npt.NDArray[np.int64], known: npt.NDArray[np.float32]
    ) -> Floats:
        """Return the change that minimises the loss over (n_clips, n_units).

        Args:
            hidden: Result of `hidden`.
            truth: (n_clips,) indices into the labels.
            known: (n_clips, n_labels), 1 where the loss covers the emotion.
        """
        weights = 1.0 / np.bincount(truth)[truth]
        weights *= len(truth) / weights.sum()
        targets = np.eye(known.shape[1])[truth]
        inputs = np.append(hidden, np.ones((len(hidden), 1)), axis=1)
        penalty = hidden.var(axis=0).sum() / (CHANGE * self.temperature) ** 2

        def loss(flat: Floats) -> tuple[float, Floats]:
            change = flat.reshape(inputs.shape[1], -1)
            logits = self.logits(hidden, change) / self.temperature
            logs = log_softmax(np.where(known > 0.0, logits, UNKNOWN_LOGIT), axis=1)
            errors = weights[:, None] * (np.exp(logs) - targets) / self.temperature
            value = penalty / 2 * (change**2).sum() - weights @ logs[np.arange(len(truth)), truth]
            return float(value), np.asarray((inputs.T @ errors + penalty * change).ravel())

        start = np.zeros(inputs.shape[1] * known.shape[1])
        found = minimize(loss, start, jac=True, method="L-BFGS-B").x
        return np.asarray(found.reshape(inputs.shape[1], -1))

    def network(self, change: Floats) -> keras.Model:
        """Return the ensemble with the change."""
        networks = []
        for i, (member, part) in enumerate(zip(self.members, self._split(change), strict=True)):
            weights = np.append(self.kernels[i], self.biases[i][None], axis=0) + part
            if self.intensities:
                weights = np.column_stack([weights, self.intensities[i]])
            layer = keras.layers.Dense(weights.shape[1], name=LOGITS)
            networks.append(keras.Model(member.inputs, layer(member.output)))
            layer.set_weights([weights[:-1], weights[-1]])
        return join_ensemble(networks)

    def _split(self, weights: Floats) -> tuple[Floats, ...]:
        """Return weights for the result of `hidden` as those of each member, bias last."""
        ends = np.cumsum([len(kernel) for kernel in self.kernels])
        parts = np.split(weights[:-1], ends[:-1])
        return tuple(np.append(part, weights[-1:], axis=0) for part in parts)


def _members(network: keras.Model) -> list[keras.Model]:
    """Return the networks of an ensemble; a single one is its own."""
    return [layer for layer in network.layers if isinstance(layer, keras.Model)] or [network]


def _last_layer(network: keras.Model) -> keras.layers.Layer:
    return network.layers[-1]
