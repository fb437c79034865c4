"""The accurate model's recipe: a frozen Whisper encoder under an attention-pooled BiLSTM."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import WHISPER_FEATURES, PipelineConfig
from ser_core.labels import LABELS
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import fetch_encoder, read_tensors
from ser_lab.data.augment import Changes
from ser_lab.data.encoder_store import Clips, load_vectors
from ser_lab.data.protocols import Fold, Rows
from ser_lab.data.splits import SpeakerSplit, shipped_split
from ser_lab.train.architectures import HeadConfig
from ser_lab.train.loop import Fitted, fit_rows, speech_rows, targets_of
from ser_lab.train.sampling import COPIES, CopyPlan, SampledTraining, load_copies

SHARES: Mapping[str, float] = {"ravdess": 0.47, "crema-d": 0.38, "ravdess-song": 0.1, "tess": 0.05}
"""How often each corpus is drawn; what is absent leaves its share to the others."""

SPLIT = shipped_split(tuple(SHARES))
"""Speakers held out from the model that ships."""

CHANGED_SHARE = 0.67
"""Share of the draws that see a changed copy of the clip."""

COMMITTEE = (
    HeadConfig(heard=(0,), units=0),
    HeadConfig(heard=(1, 2, 3), units=0),
    HeadConfig(),
)
"""Lower blocks carry to strangers, upper ones win on the corpora at hand: each has its heads."""


@dataclass(frozen=True, slots=True)
class AccurateRecipe:
    """Encoder vectors of several corpora, drawn by share, under a head.

    Attributes:
        pipeline: Settings of the path from file to Whisper's log-mel frames.
        encoder: Which blocks of the encoder, and how they are pooled.
        copies: How changed copies of the clips are made.
        training: Head and schedule.
        shares: Pairs of corpus and share.
        split: Speakers held out from the model that ships.
        name: Short name.
        labels: The emotions.
    """

    pipeline: PipelineConfig = field(
        default_factory=lambda: PipelineConfig(features=WHISPER_FEATURES)
    )
    encoder: EncoderConfig = field(
        default_factory=lambda: EncoderConfig(blocks=(1, 2, 3, 4), pool=8)
    )
    copies: tuple[CopyPlan, ...] = COPIES
    training: SampledTraining = field(
        default_factory=lambda: SampledTraining(
            networks=COMMITTEE, steps=4_000, changed_share=CHANGED_SHARE
        )
    )
    shares: tuple[tuple[str, float], ...] = tuple(SHARES.items())
    split: SpeakerSplit = SPLIT
    name: str = "accurate"
    labels: tuple[str, ...] = LABELS

    @property
    def corpora(self) -> tuple[str, ...]:
        """Corpora that it learns from."""
        return tuple(corpus for corpus, _ in self.shares)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what is learned."""
        return {
            "pipeline": self.pipeline.to_dict(),
            "encoder": asdict(self.encoder),
            "copies": [asdict(copy) for copy in self.copies],
            "training": asdict(self.training),
            "shares": dict(self.shares),
        }

    def fit_predict(
        self,
        table: pd.DataFrame,
        fold: Fold,
        *,
        data: Path,
        seed: int,
        run_folder: Path,  # noqa: ARG002
    ) -> npt.NDArray[np.floating[Any]]:
        """See `TrainingRecipe`; a test clip without speech is answered evenly."""
        copies = self.load(table, data)
        fitted = self.fit(table, copies, fold.train, fold.development, data=data, seed=seed)
        return fitted.answer(copies[0], fold.test)

    def load(self, table: pd.DataFrame, data: Path) -> list[Clips]:
        """Encoder vectors of each row, as recorded and in each changed copy."""
        tensors = read_tensors(fetch_encoder(self.encoder), self.encoder)

        def load(paths: Sequence[Path], changes: Changes | None) -> Clips:
            return load_vectors(paths, self.pipeline, self.encoder, tensors, changes=changes)

        return load_copies(table, self.copies, data, load)

    def fit(
        self,
        table: pd.DataFrame,
        copies: Sequence[Clips],
        train: Rows,
        development: Rows,
        *,
        data: Path,  # noqa: ARG002  # its pupil needs it
        seed: int,
    ) -> Fitted:
        """Train on some rows and calibrate on others.

        Args:
            table: Clips.
            copies: Their vectors, as `load` gives them.
            train: Rows to learn from.
            development: Rows to calibrate on.
            data: Folder of the corpora.
            seed: Seed of everything that is drawn.
        """
        heard = speech_rows(copies[0], train)
        return fit_rows(
            table,
            copies,
            heard,
            development,
            targets=targets_of(table, heard, self.labels, self.training.label_smoothing),
            shares=dict(self.shares),
            training=self.training,
            seed=seed,
            labels=self.labels,
        )
