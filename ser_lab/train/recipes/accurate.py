"""The accurate model: a frozen Whisper encoder under heads with attentive pooling."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import pandas as pd

from ser_core.config import WHISPER_FEATURES, PipelineConfig, PreprocessConfig
from ser_core.labels import LABELS
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import fetch_encoder, read_tensors
from ser_lab.data.augment import Augmentation
from ser_lab.data.encoder_store import load_vectors
from ser_lab.data.feature_store import Clips
from ser_lab.data.protocols import Fold, Run
from ser_lab.data.splits import SpeakerSplit, shipped_split
from ser_lab.train.architectures import HeadConfig, stored_names
from ser_lab.train.loop import (
    TrainedModel,
    encode_labels,
    known_labels,
    sampling_weights,
    soft_targets,
    speech_rows,
    train_ensemble,
)
from ser_lab.train.recipes.base import Recipe
from ser_lab.train.sampling import CopyPlan, SampledTraining, TrainingClips, load_copies

SHARES: Mapping[str, float] = {
    "ravdess": 0.25, "ravdess-song": 0.05, "tess": 0.04, "crema-d": 0.20, "nemo": 0.15,
    "ased": 0.11, "turev": 0.06, "korean": 0.05, "emospeech": 0.09,
}  # fmt: skip
"""Share of each corpus among the samples; a missing corpus leaves its share to the others."""

SPLIT = shipped_split(tuple(SHARES))

CHANGED = Augmentation(
    rebuilt_share=0.3,
    noise_share=0.5,
    noise_snr_db=(2.0, 26.0),
    hiss_share=0.15,
    burst_share=0.3,
    low_pass_share=0.1,
    telephone_share=0.2,
)
"""Half of them with noise, some over a telephone, with a click, a thump or a beep."""

ENSEMBLE = (
    HeadConfig(input_blocks=(0, 1), units=0),
    HeadConfig(input_blocks=(1, 2, 3), units=0),
    HeadConfig(),
)
"""Corpora differ in the blocks that serve strangers best: heads for each."""


@dataclass(frozen=True, slots=True)
class AccurateRecipe(Recipe):
    """Encoder vectors of several corpora, sampled by share, under an ensemble of heads.

    Attributes:
        pipeline: Settings of the path from file to Whisper's log-mel frames.
        encoder: Which blocks of the encoder, and how they are pooled.
        copies: Changed copies of the clips.
        training: Heads and schedule.
        shares: Pairs of corpus and share.
    """

    pipeline: PipelineConfig = field(
        default_factory=lambda: PipelineConfig(
            preprocess=PreprocessConfig(level="speech"), features=WHISPER_FEATURES
        )
    )
    encoder: EncoderConfig = field(
        default_factory=lambda: EncoderConfig(blocks=(1, 2, 3, 4), pool=8)
    )
    copies: tuple[CopyPlan, ...] = (
        CopyPlan(CHANGED),
        CopyPlan(replace(CHANGED, copy=1), ("ravdess", "ravdess-song")),
    )
    training: SampledTraining = field(
        default_factory=lambda: SampledTraining(
            ENSEMBLE, 1_500, mixup=0.0, changed_share=0.5, known_only=True
        )
    )
    shares: tuple[tuple[str, float], ...] = tuple(SHARES.items())
    split: SpeakerSplit = SPLIT
    name: str = "accurate"
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
            "copies": [asdict(copy, dict_factory=stored_names) for copy in self.copies],
            "training": asdict(self.training, dict_factory=stored_names),
            "shares": dict(self.shares),
        }

    def on_corpus(self, corpus: str, split: SpeakerSplit, labels: tuple[str, ...]) -> Self:
        """See `Recipe`; every copy is made."""
        copies = tuple(CopyPlan(plan.settings) for plan in self.copies)
        return replace(self, shares=((corpus, 1.0),), copies=copies, split=split, labels=labels)

    def of_corpora(self, corpora: Sequence[str]) -> Self:
        """See `Recipe`."""
        shares = tuple(pair for pair in self.shares if pair[0] in corpora)
        return replace(self, shares=shares, split=shipped_split(corpora))

    def load(self, table: pd.DataFrame, data: Path) -> list[Clips]:
        """See `Recipe`."""
        tensors = read_tensors(fetch_encoder(self.encoder), self.encoder)
        load = partial(load_vectors, pipeline=self.pipeline, config=self.encoder, tensors=tensors)
        return load_copies(table, self.copies, data, load)

    def fit(
        self, table: pd.DataFrame, copies: Sequence[Clips], fold: Fold, run: Run
    ) -> TrainedModel:
        """See `Recipe`."""
        fold = fold.within(table, self.corpora)
        rows = speech_rows(copies[0], fold.train)
        truth, training = encode_labels(table, rows, self.labels), self.training
        known = known_labels(table, rows, self.labels) if training.known_only else None
        clips = TrainingClips(
            [[copy[row] for row in rows] for copy in copies],
            soft_targets(truth, training.label_smoothing, n_labels=len(self.labels), known=known),
            sampling_weights(table.iloc[rows], dict(self.shares)),
            known=known,
        )
        network = train_ensemble(clips, self.training, seed=run.seed)
        return TrainedModel.calibrated(
            network,
            table,
            copies[0],
            fold.development,
            self.labels,
            known_only=training.known_only,
        )
