"""The compact model's recipe: a BiLSTM on log-mel frames, taught by the accurate model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import FeatureConfig, PipelineConfig
from ser_core.whisper import spec as whisper
from ser_lab.data.augment import Changes
from ser_lab.data.encoder_store import Clips, Vectors
from ser_lab.data.feature_store import load_features
from ser_lab.data.protocols import Fold, Rows
from ser_lab.data.splits import SpeakerSplit
from ser_lab.train.architectures import (
    LARGEST_DEVIATION,
    HeadConfig,
    StudentConfig,
    frame_statistics,
)
from ser_lab.train.loop import Fitted, fit_rows, speech_rows, spoken, targets_of
from ser_lab.train.recipes.accurate import CHANGED_SHARE, AccurateRecipe
from ser_lab.train.sampling import DistillationTargets, SampledTraining, load_copies

VECTOR_S = 2 * whisper.HOP_LENGTH / whisper.SAMPLE_RATE_HZ
"""Seconds from one of the encoder's vectors to the next, its second convolution halving them."""
LOG_MEL = FeatureConfig(groups=("log_mel",), frame_length=1_024, hop_length=320, n_mels=64)


@dataclass(frozen=True, slots=True)
class CompactRecipe:
    """A network of its own on log-mel frames, with the accurate model's answers as targets.

    The teacher learns from the same clips as its pupil, so that neither knows a test
    speaker.

    Attributes:
        pipeline: Settings of the path from file to log-mel frames.
        student: Network.
        schedule: How it is trained; its networks are the student alone.
        teacher: How the teacher is trained, one head for speed; its copies, corpora, shares
            and split hold for the pupil, too.
        taught_share: Share of a clip's target that the teacher's answer gives.
        lesson_blocks: Blocks of the teacher's encoder whose vectors the pupil foretells.
        lesson_weight: How much these lessons count beside the emotions.
        name: Short name.
    """

    pipeline: PipelineConfig = field(default_factory=lambda: PipelineConfig(features=LOG_MEL))
    student: StudentConfig = field(default_factory=StudentConfig)
    schedule: SampledTraining = field(
        default_factory=lambda: SampledTraining(
            steps=6_000, crop=128, changed_share=0.75, mixup=0.1
        )
    )
    teacher: AccurateRecipe = field(
        default_factory=lambda: AccurateRecipe(
            training=SampledTraining(networks=(HeadConfig(units=0),), changed_share=CHANGED_SHARE)
        )
    )
    taught_share: float = 0.6
    lesson_blocks: tuple[int, ...] = (2, 3)
    lesson_weight: float = 6.0
    name: str = "compact"

    @property
    def training(self) -> SampledTraining:
        """Network and schedule."""
        return replace(self.schedule, networks=(self.student,))

    @property
    def corpora(self) -> tuple[str, ...]:
        """Corpora that it learns from."""
        return self.teacher.corpora

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions."""
        return self.teacher.labels

    @property
    def split(self) -> SpeakerSplit:
        """Speakers held out from the model that ships."""
        return self.teacher.split

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what is learned."""
        return {
            "pipeline": self.pipeline.to_dict(),
            "training": asdict(self.training) | {"lesson_weight": self.lesson_weight},
            "taught_share": self.taught_share,
            "lesson_blocks": self.lesson_blocks,
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

        def load(paths: Sequence[Path], changes: Changes | None) -> Clips:
            frames = load_features(paths, self.pipeline, changes=changes)
            return [None if clip is None else clip.astype(np.float16) for clip in frames]

        return load_copies(table, self.teacher.copies, data, load)

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
        pairs = zip(copies, vectors, strict=True)
        copies = [heard_by_both(frames, encoded) for frames, encoded in pairs]
        heard = speech_rows(copies[0], train)
        lessons = mean_answers(teacher, vectors, heard)
        targets = targets_of(table, heard, self.labels, self.training.label_smoothing)
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
            lessons=self.lessons(copies, vectors, heard),
            labels=self.labels,
        )

    def lessons(
        self, copies: Sequence[Clips], vectors: Sequence[Clips], heard: Rows
    ) -> DistillationTargets:
        """The teacher's encoder vectors, standardised, one for each step of the pupil.

        Args:
            copies: Log-mel frames, as `load` gives them.
            vectors: The teacher's vectors of the same clips and copies.
            heard: Rows to learn from.
        """
        stride = self.student.stride
        blocks = self.teacher.encoder.blocks
        width = np.arange(whisper.WIDTH)
        columns = np.concatenate(
            [whisper.WIDTH * blocks.index(block) + width for block in self.lesson_blocks]
        )
        mean, variance = (np.array(s)[columns] for s in frame_statistics(spoken(vectors[0], heard)))

        def lesson(frames: Vectors | None, encoded: Vectors | None) -> Vectors | None:
            if frames is None or encoded is None:
                return None
            aligned = self._align(frames, encoded, stride)
            level = (aligned[:, columns].astype(np.float32) - mean) / np.sqrt(variance)
            return np.asarray(np.clip(level, -LARGEST_DEVIATION, LARGEST_DEVIATION), np.float16)

        pairs = zip(copies, vectors, strict=True)
        clips = [[lesson(frames[row], encoded[row]) for row in heard] for frames, encoded in pairs]
        return DistillationTargets(clips, stride, self.lesson_weight)

    def _align(self, frames: Vectors, encoded: Vectors, stride: int) -> Vectors:
        """The encoder vector that lies nearest to each step of the pupil."""
        own, teachers = self.pipeline, self.teacher.pipeline
        step_s = stride * own.features.hop_length / own.audio.sample_rate_hz
        vector_s = self.teacher.encoder.pool * VECTOR_S
        moments_s = step_s * np.arange(-(-len(frames) // stride))
        # The first vector's middle lies half a vector into the silence before the speech.
        nearest = np.rint((moments_s + teachers.features.margin_s) / vector_s - 0.5)
        return np.asarray(encoded[np.clip(nearest.astype(int), 0, len(encoded) - 1)])


def heard_by_both(frames: Clips, encoded: Clips) -> Clips:
    """A pupil's clips less those, too faint, of which its teacher hears nothing."""
    pairs = zip(frames, encoded, strict=True)
    return [None if vectors is None else clip for clip, vectors in pairs]


def mean_answers(
    teacher: Fitted, copies: Sequence[Clips], rows: Rows
) -> npt.NDArray[np.floating[Any]]:
    """What a teacher answers for some rows, the mean over the copies that there are.

    Returns:
        (n_rows, n_labels).
    """
    answers = np.array([teacher.answer(copy, rows) for copy in copies])
    there = np.array([[copy[row] is not None for row in rows] for copy in copies])
    return np.asarray(np.average(answers, axis=0, weights=there[..., None] * np.ones_like(answers)))
