"""The compact model's recipe: a BiLSTM on log-mel frames, taught by the accurate model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import FeatureConfig, PipelineConfig
from ser_core.training.accurate import AccurateRecipe
from ser_core.training.architectures import HeadConfig, StudentConfig
from ser_core.training.augment import Changes
from ser_core.training.drawn import Clips, Fitted, fit_rows, heard_rows, truth_of
from ser_core.training.fit_drawn import DrawnTraining, soft_targets
from ser_core.training.protocols import Fold, Rows
from ser_core.training.splits import SpeakerSplit
from ser_core.training.store import load_by_corpus, load_features

LOG_MEL = FeatureConfig(groups=("log_mel",), frame_length=1_024, hop_length=320, n_mels=64)


@dataclass(frozen=True, slots=True)
class CompactRecipe:
    """A network of its own on log-mel frames, with the accurate model's answers as targets.

    The teacher learns from the same clips as its pupil, so that neither knows a test
    speaker.

    Attributes:
        pipeline: Settings of the path from file to log-mel frames.
        training: Network and schedule.
        teacher: How the teacher is trained, one head for speed; its copies, corpora, shares
            and split hold for the pupil, too.
        taught_share: Share of a clip's target that the teacher's answer gives.
        name: Short name.
    """

    pipeline: PipelineConfig = field(default_factory=lambda: PipelineConfig(features=LOG_MEL))
    training: DrawnTraining = field(
        default_factory=lambda: DrawnTraining(
            networks=(StudentConfig(),), steps=2_500, crop=128, changed_share=0.6
        )
    )
    teacher: AccurateRecipe = field(
        default_factory=lambda: AccurateRecipe(
            training=DrawnTraining(networks=(HeadConfig(units=0),))
        )
    )
    taught_share: float = 0.6
    name: str = "compact"

    @property
    def corpora(self) -> tuple[str, ...]:
        """Corpora that it learns from."""
        return self.teacher.corpora

    @property
    def split(self) -> SpeakerSplit:
        """Speakers held out from the model that ships."""
        return self.teacher.split

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what is learned."""
        return {
            "pipeline": self.pipeline.to_dict(),
            "training": asdict(self.training),
            "taught_share": self.taught_share,
            "teacher": self.teacher.settings,
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
        """Log-mel frames of each row, as recorded and in each changed copy."""

        def load(changes: Changes | None) -> Clips:
            frames = load_by_corpus(
                table, lambda paths: load_features(paths, self.pipeline, changes=changes)
            )
            return [None if clip is None else clip.astype(np.float16) for clip in frames]

        copies = self.teacher.copies
        return [load(None), *(load(Changes(settings, data)) for settings in copies)]

    def fit(
        self,
        table: pd.DataFrame,
        copies: Sequence[Clips],
        train: Rows,
        development: Rows,
        *,
        data: Path,
        seed: int,
    ) -> Fitted:
        """Train the teacher, then the pupil; see `AccurateRecipe.fit`."""
        vectors = self.teacher.load(table, data)
        teacher = self.teacher.fit(table, vectors, train, development, data=data, seed=seed)
        heard = heard_rows(copies[0], train)
        lessons = np.mean([teacher.answer(copy, heard) for copy in vectors], axis=0)
        targets = soft_targets(truth_of(table, heard), self.training.label_smoothing)
        targets = (1.0 - self.taught_share) * targets + self.taught_share * lessons
        return fit_rows(
            table,
            copies,
            heard,
            development,
            targets=targets.astype(np.float32),
            shares=dict(self.teacher.shares),
            training=self.training,
            seed=seed,
        )
