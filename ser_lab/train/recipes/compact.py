"""The compact model: a BiLSTM on log-mel frames, distilled from the accurate model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import FeatureConfig, PipelineConfig, PreprocessConfig
from ser_core.whisper import spec as whisper
from ser_lab.data.augment import Changes
from ser_lab.data.feature_store import Clips, Frames, load_features
from ser_lab.data.protocols import Fold, Rows, Run
from ser_lab.data.splits import READING, SpeakerSplit, shipped_split, split_readings
from ser_lab.train.architectures import (
    LARGEST_DEVIATION,
    HeadConfig,
    StudentConfig,
    frame_statistics,
    stored_names,
)
from ser_lab.train.loop import (
    TrainedModel,
    encode_labels,
    sampling_weights,
    soft_targets,
    speech_clips,
    speech_rows,
    train_ensemble,
)
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.base import Recipe
from ser_lab.train.sampling import (
    DistillationTargets,
    SampledTraining,
    TrainingClips,
    load_copies,
)

VECTOR_S = 2 * whisper.HOP_LENGTH / whisper.SAMPLE_RATE_HZ
"""Seconds from one of the encoder's vectors to the next, its second convolution halving them."""
LOG_MEL = FeatureConfig(groups=("log_mel",), frame_length=1_024, hop_length=320, n_mels=64)

SHARES = {"ravdess": 0.38, "crema-d": 0.31, "nemo": 0.19, "ravdess-song": 0.07, "tess": 0.05}
"""Share of each corpus among the samples; further corpora gain nothing about strangers."""

TEACHER = AccurateRecipe(
    training=SampledTraining(networks=(HeadConfig(units=0),), changed_share=0.67),
    shares=tuple(SHARES.items()),
    split=shipped_split(tuple(SHARES)),
)
"""One head, for speed."""


@dataclass(frozen=True, slots=True)
class CompactRecipe(Recipe):
    """A network on log-mel frames, distilled from a teacher's probabilities and vectors.

    The teacher is trained on the same clips, so that neither is trained on a test speaker.

    Source: Hinton et al. 2015 for the probabilities; Romero et al. 2015 for hints.

    Attributes:
        pipeline: Settings of the path from file to log-mel frames.
        student: Network.
        schedule: How it is trained; its networks are the student alone.
        teacher: How the teacher is trained, one head for speed; its copies, corpora, shares
            and split apply to the student, too.
        distillation_weight: Weight of the teacher's probabilities in a clip's target.
        hint_blocks: Blocks of the teacher's encoder whose vectors the student predicts.
        hint_weight: Weight of their loss beside that of the emotions.
        reading_share: Share of readings aloud among the samples, where there are any; they have
            no label, and the teacher's probabilities alone are their target.
    """

    pipeline: PipelineConfig = field(
        default_factory=lambda: PipelineConfig(
            preprocess=PreprocessConfig(level="speech"), features=LOG_MEL
        )
    )
    student: StudentConfig = field(default_factory=StudentConfig)
    schedule: SampledTraining = field(
        default_factory=lambda: SampledTraining(
            steps=6_000, crop=128, changed_share=0.75, mixup=0.0
        )
    )
    teacher: AccurateRecipe = TEACHER
    distillation_weight: float = 0.6
    hint_blocks: tuple[int, ...] = (2, 3)
    hint_weight: float = 6.0
    reading_share: float = 0.05
    name: str = "compact"

    @property
    def training(self) -> SampledTraining:
        """Network and schedule."""
        return replace(self.schedule, networks=(self.student,))

    @property
    def corpora(self) -> tuple[str, ...]:
        """Training corpora."""
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
        """See `TrainingRecipe`."""
        training = asdict(self.training, dict_factory=stored_names)
        others = ("distillation_weight", "hint_blocks", "reading_share")
        return {
            "pipeline": asdict(self.pipeline),
            "training": training | stored_names([("hint_weight", self.hint_weight)]),
            "teacher": self.teacher.settings,
        } | stored_names((name, getattr(self, name)) for name in others)

    def list_readings(self, data: Path) -> list[Path]:
        """See `Recipe`."""
        return split_readings(data)[0] if self.reading_share else []

    def on_corpus(self, corpus: str, split: SpeakerSplit, labels: tuple[str, ...]) -> Self:
        """See `Recipe`."""
        return replace(self, teacher=self.teacher.on_corpus(corpus, split, labels))

    def of_corpora(self, corpora: Sequence[str]) -> Self:
        """See `Recipe`."""
        return replace(self, teacher=self.teacher.of_corpora(corpora))

    def load(self, table: pd.DataFrame, data: Path) -> list[Clips]:
        """See `Recipe`."""

        def load(paths: Sequence[Path], changes: Changes | None) -> Clips:
            frames = load_features(paths, self.pipeline, changes=changes)
            return [None if clip is None else clip.astype(np.float16) for clip in frames]

        return load_copies(table, self.teacher.copies, data, load)

    def fit(
        self, table: pd.DataFrame, copies: Sequence[Clips], fold: Fold, run: Run
    ) -> TrainedModel:
        """Train the teacher, then the student; see `Recipe`."""
        fold = fold.within(table, self.corpora)
        vectors = self.teacher.load(table, run.data)
        teacher = self.teacher.fit(table, vectors, fold, run)
        readings = pd.DataFrame({"path": self.list_readings(run.data), "corpus": READING})
        vectors = _join(vectors, self.teacher.load(readings, run.data))
        copies = _join(copies, self.load(readings, run.data))
        copies = [common_clips(*pair) for pair in zip(copies, vectors, strict=True)]
        labelled = speech_rows(copies[0], fold.train)
        unlabelled = speech_rows(copies[0], np.arange(len(table), len(copies[0])))
        rows = np.concatenate([labelled, unlabelled])
        targets = mean_predictions(teacher, vectors, rows)
        truth = encode_labels(table, labelled, self.labels)
        hard = soft_targets(truth, self.training.label_smoothing, n_labels=len(self.labels))
        weight, soft = self.distillation_weight, targets[: len(labelled)]
        targets[: len(labelled)] = (1.0 - weight) * hard + weight * soft
        chances = sampling_weights(table.iloc[labelled], dict(self.teacher.shares))
        share = self.reading_share / (1.0 - self.reading_share) * np.sum(chances)
        chances = np.append(chances, np.full(len(unlabelled), share / max(len(unlabelled), 1)))
        clips = TrainingClips(
            [[copy[row] for row in rows] for copy in copies],
            targets.astype(np.float32),
            chances,
            self.hints(copies, vectors, rows),
        )
        network = train_ensemble(clips, self.training, seed=run.seed)
        return TrainedModel.calibrated(network, table, copies[0], fold.development, self.labels)

    def hints(
        self, copies: Sequence[Clips], vectors: Sequence[Clips], rows: Rows
    ) -> DistillationTargets:
        """Return the teacher's encoder vectors, standardised, one for each step of the student.

        Args:
            copies: Log-mel frames, as `load` gives them.
            vectors: The teacher's vectors of the same clips and copies.
            rows: Rows to train on.
        """
        places = [self.teacher.encoder.blocks.index(block) for block in self.hint_blocks]
        width = self.teacher.encoder.size.width
        columns = np.add.outer(width * np.array(places), np.arange(width)).ravel()
        statistics = frame_statistics(speech_clips(vectors[0], rows))
        mean, variance = (np.array(values)[columns] for values in statistics)

        def hint(frames: Frames | None, encoded: Frames | None) -> Frames | None:
            if frames is None or encoded is None:
                return None
            aligned = self._align(frames, encoded)
            level = (aligned[:, columns].astype(np.float32) - mean) / np.sqrt(variance)
            return np.asarray(np.clip(level, -LARGEST_DEVIATION, LARGEST_DEVIATION), np.float16)

        pairs = zip(copies, vectors, strict=True)
        clips = [[hint(frames[row], encoded[row]) for row in rows] for frames, encoded in pairs]
        return DistillationTargets(clips, self.student.stride, self.hint_weight)

    def _align(self, frames: Frames, encoded: Frames) -> Frames:
        """Return the encoder vector nearest to each step of the student."""
        stride, pipeline = self.student.stride, self.pipeline
        step_s = stride * pipeline.features.hop_length / pipeline.audio.sample_rate_hz
        vector_s = self.teacher.encoder.pool * VECTOR_S
        times_s = step_s * np.arange(-(-len(frames) // stride))
        # The first vector's middle lies half a vector into the silence before the speech.
        nearest = np.rint((times_s + self.teacher.pipeline.features.margin_s) / vector_s - 0.5)
        return np.asarray(encoded[np.clip(nearest.astype(int), 0, len(encoded) - 1)])


def _join(copies: Sequence[Clips], others: Sequence[Clips]) -> list[Clips]:
    """Return each copy of some clips, followed by that of others."""
    return [[*some, *more] for some, more in zip(copies, others, strict=True)]


def common_clips(frames: Clips, encoded: Clips) -> Clips:
    """Return the student's clips without those too faint for the teacher."""
    pairs = zip(frames, encoded, strict=True)
    return [None if vectors is None else clip for clip, vectors in pairs]


def mean_predictions(
    teacher: TrainedModel, copies: Sequence[Clips], rows: Rows
) -> npt.NDArray[np.floating[Any]]:
    """Return a teacher's probabilities (n_rows, n_labels), the mean over the copies that exist."""
    predictions = np.array([teacher.predict(copy, rows) for copy in copies])
    exists = np.array([[copy[row] is not None for row in rows] for copy in copies])
    weights = exists[..., None] * np.ones_like(predictions)
    return np.asarray(np.average(predictions, axis=0, weights=weights))
