"""Parts of training: batches by length, callbacks, an ensemble on sampled batches, predictions."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ser_core.features import Features, pad_features
from ser_core.labels import LABELS
from ser_core.model.emotion_model import in_batches
from ser_lab.data.feature_store import Clips, Frames
from ser_lab.data.protocols import Rows
from ser_lab.metrics import Calibration, Scores, calibrate, compute_scores, unweighted_recall
from ser_lab.train.architectures import STEPS, frame_statistics, join_ensemble
from ser_lab.train.sampling import SampledBatches, SampledTraining, TrainingClips

logger = logging.getLogger(__name__)

Labels = tuple[str, ...]
Batch = tuple[dict[str, npt.NDArray[np.generic]], Features]

BEST = "best.keras"
"""File of the network at its best epoch, among a run's logs."""
POOL_BATCHES = 8
"""Batches shuffled together, then sorted by length among themselves."""
UNKNOWN_LOGIT = -1e9
"""Of an emotion that a clip's corpus does not have."""
PREDICT_BATCH = 64
"""Clips in a batch of predictions, which do not depend on it."""


class LengthBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Random batches, each padded to its own longest clip.

    Clips are shuffled, cut into pools of a few batches, and sorted by length within a
    pool, so that each batch mixes clips of the whole set and needs little padding.
    """

    def __init__(
        self,
        clips: Sequence[Frames],
        targets: Features,
        *,
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        """Cut (n_frames, n_features) clips with (n_clips, n_labels) targets into batches.

        `seed` is that of the order, new in each epoch; None keeps it.
        """
        super().__init__()
        self._clips = clips
        self._targets = targets
        self._batch_size = batch_size
        self._random = None if seed is None else np.random.default_rng(seed)
        self._lengths = np.array([len(clip) for clip in clips])
        batches = self._cut(np.argsort(self._lengths, kind="stable"))
        # Keras leaves free the dimensions in which the first two batches differ.
        self._batches = [batches[-1], *batches[:-1]]

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        """Return a padded batch: `features` with `n_frames`, and targets."""
        rows = self._batches[index]
        features, n_frames = pad_features([self._clips[row] for row in rows])
        return {"features": features, "n_frames": n_frames}, self._targets[rows]

    def on_epoch_end(self) -> None:
        """Shuffle the clips."""
        if self._random is None:
            return
        order = self._random.permutation(len(self._clips))
        pool = POOL_BATCHES * self._batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        batches = [batch for p in pools for batch in self._cut(p[np.argsort(self._lengths[p])])]
        self._batches = [batches[i] for i in self._random.permutation(len(batches))]

    def _cut(self, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        return [rows[i : i + self._batch_size] for i in range(0, len(rows), self._batch_size)]


class TrainingProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """One bar over all epochs, or over all updates where there is one epoch."""

    def __init__(self, total: int, title: str, *, by_step: bool = False) -> None:
        """Prepare a bar of `total` epochs, or updates where `by_step`, after a title."""
        super().__init__()
        self._by_step = by_step
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        self._task = self._bar.add_task(title, total=total, note="")

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Show the bar."""
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advance the bar by an update."""
        if self._by_step:
            note = f"loss {(logs or {}).get('loss', float('nan')):.3f}"
            self._bar.update(self._task, completed=batch + 1, note=note)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Advance the bar by an epoch."""
        logger.info("epoch %d: %s", epoch + 1, logs)
        if not self._by_step:
            note = f"development accuracy {(logs or {}).get('val_accuracy', float('nan')):.1%}"
            self._bar.update(self._task, completed=epoch + 1, note=note)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Stop the bar."""
        self._bar.stop()


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A calibrated network.

    Attributes:
        network: From clips to logits.
        calibration: Fitted to its logits of the development clips.
        development_score: Figure on the development clips by which the best seed is chosen.
        labels: Emotions in the order of the logits.
        history: Loss and accuracy by epoch; None where there is one epoch.
    """

    network: keras.Model
    calibration: Calibration
    development_score: float
    labels: Labels
    history: pd.DataFrame | None = None

    @classmethod
    def calibrated(
        cls,
        network: keras.Model,
        table: pd.DataFrame,
        clips: Clips,
        rows: Rows,
        labels: Labels,
        *,
        known_only: bool = False,
    ) -> Self:
        """Calibrate a network on development rows; its score is their UAR.

        With `known_only`, the emotions that a clip's corpus lacks do not count.
        """
        rows = speech_rows(clips, rows)
        truth = encode_labels(table, rows, labels)
        logits = predict_logits(network, speech_clips(clips, rows), n_labels=len(labels))
        if known_only:
            logits = np.where(known_labels(table, rows, labels) > 0.0, logits, UNKNOWN_LOGIT)
        uar = unweighted_recall(truth, logits.argmax(axis=1) == truth)
        return cls(network, calibrate(logits, truth), uar, labels)

    def predict(self, clips: Clips, rows: Rows) -> npt.NDArray[np.floating[Any]]:
        """Return probabilities (n_rows, n_labels), all equal for a clip without speech."""
        n_labels = len(self.labels)
        probabilities = np.full((len(rows), n_labels), 1.0 / n_labels)
        logits = predict_logits(self.network, speech_clips(clips, rows), n_labels=n_labels)
        has_speech = [clips[row] is not None for row in rows]
        probabilities[has_speech] = self.calibration.probabilities(logits)
        return probabilities

    def evaluate(self, table: pd.DataFrame, clips: Clips, rows: Rows) -> Scores:
        """Return the figures on some rows."""
        truth = encode_labels(table, rows, self.labels)
        return compute_scores(truth, self.predict(clips, rows), self.labels)


def keep_best(
    folder: Path, *, epochs: int, patience: int, title: str
) -> list[keras.callbacks.Callback]:
    """Return callbacks that keep the epoch with the best development accuracy.

    Args:
        folder: Where the network of that epoch, `BEST`, and `log.csv` go.
        epochs: Most passes over the training clips.
        patience: Epochs without a better accuracy before training ends.
        title: Text before the bar.
    """
    monitor = {"monitor": "val_accuracy", "mode": "max"}
    return [
        keras.callbacks.ModelCheckpoint(folder / BEST, save_best_only=True, **monitor),
        keras.callbacks.EarlyStopping(patience=patience, **monitor),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
        TrainingProgress(epochs, title),
    ]


def train_ensemble(clips: TrainingClips, config: SampledTraining, *, seed: int) -> keras.Model:
    """Train each of `config.networks` and join them.

    Args:
        clips: Clips and targets.
        config: Networks, schedule and augmentation.
        seed: Seed of weights, dropout and samples.

    Returns:
        A network that returns the mean of the members' logits.
    """
    mean, variance = frame_statistics(clips.recorded)
    batches = SampledBatches(clips, config, mean=mean, seed=seed)
    networks = []
    for i, plan in enumerate(config.networks):
        network_seed = len(config.networks) * seed + i
        keras.utils.set_random_seed(network_seed)
        network = plan.build(mean=mean, variance=variance, n_labels=clips.targets.shape[1])
        sampled = batches.seeded(network_seed)
        callback = TrainingProgress(config.steps, f"Seed {seed}", by_step=True)
        _train_member(network, sampled, clips, config, callback)
        sampled.release()
        # A model of its own, so that no state of the optimiser is saved with it.
        networks.append(keras.Model(network.inputs, network.output, name=network.name))
    return join_ensemble(networks)


def _train_member(
    network: keras.Model,
    batches: SampledBatches,
    clips: TrainingClips,
    config: SampledTraining,
    callback: keras.callbacks.Callback,
) -> None:
    """Train a network, in place, for `config.steps` updates; keep the average of its weights."""
    losses: list[Any] = [keras.losses.CategoricalCrossentropy(from_logits=True)]
    if clips.known is not None:
        losses = [_known_loss]
    loss_weights = [1.0]
    if clips.distillation is not None:
        hint = keras.layers.Dense(clips.distillation.n_columns)(network.get_layer(STEPS).output)
        network = keras.Model(network.inputs, [network.output, hint])
        losses, loss_weights = [*losses, _hint_loss], [1.0, clips.distillation.weight]
    warmup = config.steps // 12
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 100,
        config.steps - warmup,
        alpha=0.01,
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        rate,
        weight_decay=config.weight_decay,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=config.ema_momentum,
    )
    network.compile(optimizer=optimizer, loss=losses, loss_weights=loss_weights)
    network.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[callback])


def _known_loss(targets: Any, logits: Any) -> Any:
    """Return the cross-entropy over the emotions that a clip's corpus has."""
    targets, known = ops.split(targets, 2, axis=-1)
    logits = ops.where(known > 0.0, logits, UNKNOWN_LOGIT)
    return ops.categorical_crossentropy(targets, logits, from_logits=True)


def _hint_loss(hints: Any, predicted: Any) -> Any:
    """Return the mean square error of the steps that lie within their clip."""
    real = hints[..., -1]
    error = ops.mean(ops.square(hints[..., :-1] - predicted), axis=-1)
    return ops.sum(error * real) / ops.sum(real)


def predict_logits(
    network: Callable[..., object],
    clips: Sequence[npt.NDArray[np.floating[Any]]],
    *,
    n_labels: int = len(LABELS),
) -> npt.NDArray[np.float32]:
    """Return the logits of many clips.

    Args:
        network: From frames and their counts to logits, as `architectures` builds it; further
            columns, such as that of the intensity, are left out.
        clips: One (n_frames, n_features) array a clip.
        n_labels: Number of emotions.

    Returns:
        (n_clips, n_labels) float32 in the order given.
    """

    def infer(*batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        logits = network([*batch], training=False)
        return np.asarray(ops.convert_to_numpy(logits))[:, :n_labels]

    return in_batches(infer, clips, n_outputs=n_labels, at_once=PREDICT_BATCH)


def speech_rows(clips: Clips, rows: Rows) -> Rows:
    """Return those of some rows whose clips contain speech."""
    return np.array([row for row in rows if clips[row] is not None], dtype=np.intp)


def speech_clips(clips: Clips, rows: Rows) -> list[Frames]:
    """Return the clips of some rows, without those that contain no speech."""
    return [clip for row in rows if (clip := clips[row]) is not None]


def encode_labels(table: pd.DataFrame, rows: Rows, labels: Labels) -> npt.NDArray[np.int64]:
    """Return the index of each row's emotion in the labels."""
    return np.array([labels.index(emotion) for emotion in table["emotion"].iloc[rows]])


def known_labels(table: pd.DataFrame, rows: Rows, labels: Labels) -> npt.NDArray[np.float32]:
    """Return (n_rows, n_labels), 1 where the row is known to have that emotion or not to have it.

    These are the emotions of its corpus. Calm and neutral differ only where a corpus has both: in
    the others, whatever is neither of the two is known not to be either.
    """
    corpora, emotions = table["corpus"].iloc[rows], table["emotion"].iloc[rows]
    counts = pd.crosstab(table["corpus"], table["emotion"]).reindex(columns=labels, fill_value=0)
    known = np.array((counts > 0).loc[corpora], dtype=np.float32)
    quiet = [labels.index(label) for label in ("neutral", "calm") if label in labels]
    either = known[:, quiet].any(axis=1) & ~emotions.isin(("neutral", "calm")).to_numpy()
    known[np.ix_(np.flatnonzero(either), np.array(quiet, np.intp))] = 1.0
    return known


def soft_targets(
    truth: npt.NDArray[np.int64],
    smoothing: float,
    *,
    n_labels: int = len(LABELS),
    known: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """Return one-hot targets with label smoothing.

    Args:
        truth: (n_clips,) indices into the labels.
        smoothing: Share of the target that is spread over all labels, or over those known.
        n_labels: Width of the result, whose rows are distributions.
        known: As in `TrainingClips`.
    """
    spread = np.ones((len(truth), n_labels)) if known is None else known
    even = smoothing * spread / spread.sum(axis=1, keepdims=True)
    return np.asarray((1.0 - smoothing) * np.eye(n_labels)[truth] + even, dtype=np.float32)


def sampling_weights(table: pd.DataFrame, shares: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Return the chance of each clip: corpora by share, emotions within a corpus alike."""
    n_clips = table.groupby(["corpus", "emotion"])["path"].transform("size")
    n_emotions = table.groupby("corpus")["emotion"].transform("nunique")
    weights = table["corpus"].map(shares) / (n_clips * n_emotions)
    return weights.to_numpy(dtype=np.float64)
