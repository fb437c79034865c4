"""Heads on the lower half of Whisper's encoder, which is changed with them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import pandas as pd

from ser_core.config import WHISPER_FEATURES, PipelineConfig, PreprocessConfig
from ser_core.labels import LABELS
from ser_core.model.assemble import Deltas
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import fetch_encoder, read_tensors
from ser_lab.data.feature_store import Clips, load_by_corpus, load_features
from ser_lab.data.protocols import Fold, Run
from ser_lab.data.spectral import load_noise_powers
from ser_lab.data.splits import SpeakerSplit, shipped_split
from ser_lab.train.architectures import HeadConfig, stored_names
from ser_lab.train.encoder import DrawnClips, EncoderTraining, split_network, train_encoder
from ser_lab.train.loop import (
    TrainedModel,
    encode_labels,
    known_labels,
    sampling_weights,
    soft_targets,
    speech_rows,
)
from ser_lab.train.recipes.accurate import SHARES, SPLIT
from ser_lab.train.recipes.base import Recipe

DELTAS = "deltas.npz"
HEADS = (
    HeadConfig(n_blocks=2, input_blocks=(0, 1), units=0),
    HeadConfig(n_blocks=2, input_blocks=(0, 1)),
)


@dataclass(frozen=True, slots=True)
class TunedRecipe(Recipe):
    """Whisper's lower blocks with low-rank changes, under an ensemble of heads.

    Attributes:
        pipeline: Settings of the path from file to Whisper's log-mel frames.
        encoder: Which blocks of the encoder, and how they are pooled.
        training: Heads and schedule.
        shares: Pairs of corpus and share of the draws.
    """

    pipeline: PipelineConfig = field(
        default_factory=lambda: PipelineConfig(
            preprocess=PreprocessConfig(level="speech"), features=WHISPER_FEATURES
        )
    )
    encoder: EncoderConfig = field(
        default_factory=lambda: EncoderConfig(blocks=(1, 2), pool=8, deltas=DELTAS)
    )
    training: EncoderTraining = field(default_factory=lambda: EncoderTraining(HEADS))
    shares: tuple[tuple[str, float], ...] = tuple(SHARES.items())
    split: SpeakerSplit = SPLIT
    name: str = "tuned"
    labels: tuple[str, ...] = LABELS

    @property
    def corpora(self) -> tuple[str, ...]:
        """Training corpora."""
        return tuple(corpus for corpus, _ in self.shares)

    @property
    def settings(self) -> dict[str, Any]:
        """See `TrainingRecipe`."""
        return {
            "pipeline": asdict(self.pipeline),
            "encoder": asdict(self.encoder),
            "training": asdict(self.training, dict_factory=stored_names),
            "shares": dict(self.shares),
        }

    def on_corpus(self, corpus: str, split: SpeakerSplit, labels: tuple[str, ...]) -> Self:
        """See `Recipe`."""
        return replace(self, shares=((corpus, 1.0),), split=split, labels=labels)

    def of_corpora(self, corpora: Sequence[str]) -> Self:
        """See `Recipe`."""
        shares = tuple(pair for pair in self.shares if pair[0] in corpora)
        return replace(self, shares=shares, split=shipped_split(corpora))

    def served_parts(self, network: keras.Model) -> tuple[keras.Model, Deltas]:
        """See `Recipe`."""
        return split_network(network)

    def load(self, table: pd.DataFrame, data: Path) -> list[Clips]:  # noqa: ARG002
        """See `Recipe`; nothing is copied, since frames change at each draw."""
        frames = load_by_corpus(table, partial(load_features, config=self.pipeline))
        return [[None if clip is None else clip.astype(np.float16) for clip in frames]]

    def fit(
        self, table: pd.DataFrame, copies: Sequence[Clips], fold: Fold, run: Run
    ) -> TrainedModel:
        """See `Recipe`."""
        (frames,) = copies
        rows = speech_rows(frames, fold.train)
        rows = rows[table["corpus"].iloc[rows].isin(self.corpora).to_numpy()]
        truth, known = (
            encode_labels(table, rows, self.labels),
            known_labels(table, rows, self.labels),
        )
        smoothing, n_labels = self.training.label_smoothing, len(self.labels)
        clips = DrawnClips(
            [clip for row in rows if (clip := frames[row]) is not None],
            soft_targets(truth, smoothing, n_labels=n_labels, known=known),
            known,
            sampling_weights(table.iloc[rows], dict(self.shares)),
            load_noise_powers(run.data),
        )
        tensors = read_tensors(fetch_encoder(self.encoder), self.encoder)
        network = train_encoder(clips, self.training, self.encoder, tensors, seed=run.seed)
        return TrainedModel.calibrated(
            network, table, frames, fold.development, self.labels, known_only=True
        )
