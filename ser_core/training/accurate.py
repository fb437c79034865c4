"""The accurate model's recipe: a frozen Whisper encoder under an attention-pooled BiLSTM."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import WHISPER_FEATURES, PipelineConfig
from ser_core.hub import fetch_encoder, read_tensors
from ser_core.labels import LABELS
from ser_core.training.augment import Augmentation, Changes
from ser_core.training.calibration import Calibration, calibrate
from ser_core.training.corpora import read_votes
from ser_core.training.fit import TrainingProgress
from ser_core.training.fit_head import (
    HeadTraining,
    Vectors,
    head_logits,
    soft_targets,
    train_heads,
)
from ser_core.training.metrics import Scores, score
from ser_core.training.protocols import Fold, Rows
from ser_core.training.splits import SpeakerSplit, shipped_split
from ser_core.training.store import load_by_corpus
from ser_core.training.vectors import load_vectors
from ser_core.whisper import EncoderConfig

SHARES: Mapping[str, float] = {"ravdess": 0.4, "crema-d": 0.4, "ravdess-song": 0.1, "tess": 0.1}
"""How often each corpus is drawn; what is absent leaves its share to the others."""

SPLIT = shipped_split(tuple(SHARES))
"""Speakers held out from the model that ships."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A trained head and how sure it may be.

    Attributes:
        head: Gives logits.
        calibration: Of its logits, by the development rows.
        development_uar: Mean recall on the development rows.
    """

    head: keras.Model
    calibration: Calibration
    development_uar: float


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
    """

    pipeline: PipelineConfig = field(
        default_factory=lambda: PipelineConfig(features=WHISPER_FEATURES)
    )
    encoder: EncoderConfig = field(
        default_factory=lambda: EncoderConfig(blocks=(1, 2, 3, 4), pool=8)
    )
    copies: tuple[Augmentation, ...] = (Augmentation(),)
    training: HeadTraining = field(default_factory=HeadTraining)
    shares: tuple[tuple[str, float], ...] = tuple(SHARES.items())
    split: SpeakerSplit = SPLIT
    name: str = "accurate"

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
        return _answer(fitted, copies[0], fold.test)

    def load(self, table: pd.DataFrame, data: Path) -> list[list[Vectors | None]]:
        """Encoder vectors of each row, as recorded and in each changed copy."""
        tensors = read_tensors(fetch_encoder(self.encoder), self.encoder)

        def load(changes: Changes | None) -> list[Vectors | None]:
            return load_by_corpus(
                table,
                lambda paths: load_vectors(
                    paths, self.pipeline, self.encoder, tensors, changes=changes
                ),
            )

        return [load(None), *(load(Changes(settings, data)) for settings in self.copies)]

    def fit(
        self,
        table: pd.DataFrame,
        copies: Sequence[Sequence[Vectors | None]],
        train: Rows,
        development: Rows,
        *,
        data: Path,
        seed: int,
    ) -> FittedHead:
        """Train on some rows and calibrate on others.

        Args:
            table: Clips.
            copies: Their vectors, as `load` gives them.
            train: Rows to learn from.
            development: Rows to calibrate on.
            data: Folder of the corpora, for the listeners' votes.
            seed: Seed of everything that is drawn.
        """
        vectors = copies[0]
        heard = np.array([row for row in train if vectors[row] is not None])
        targets = soft_targets(
            _truth(table, heard), votes_of(table.iloc[heard], data), self.training
        )
        head = train_heads(
            _spoken(vectors, heard),
            targets,
            draw_weights(table.iloc[heard], dict(self.shares)),
            self.training,
            seed=seed,
            copies=[[copy[row] for row in heard] for copy in copies[1:]],
            callbacks=[TrainingProgress(self.training.steps, f"Seed {seed}", by_step=True)],
        )
        rows = np.array([row for row in development if vectors[row] is not None])
        logits, truth = head_logits(head, _spoken(vectors, rows)), _truth(table, rows)
        right = logits.argmax(axis=1) == truth
        return FittedHead(
            head=head,
            calibration=calibrate(logits, truth),
            development_uar=float(np.mean([right[truth == t].mean() for t in np.unique(truth)])),
        )

    def score(
        self,
        fitted: FittedHead,
        table: pd.DataFrame,
        vectors: Sequence[Vectors | None],
        rows: Rows,
    ) -> Scores:
        """Figures of a head on some rows."""
        return score(_truth(table, rows), _answer(fitted, vectors, rows), LABELS)


def _answer(
    fitted: FittedHead, vectors: Sequence[Vectors | None], rows: Rows
) -> npt.NDArray[np.floating[Any]]:
    """Probabilities of some rows; a clip without speech is answered evenly."""
    probabilities = np.full((len(rows), len(LABELS)), 1.0 / len(LABELS))
    heard = [i for i, row in enumerate(rows) if vectors[row] is not None]
    logits = head_logits(fitted.head, _spoken(vectors, rows))
    probabilities[heard] = fitted.calibration.probabilities(logits)
    return probabilities


def _truth(table: pd.DataFrame, rows: Rows) -> npt.NDArray[np.int64]:
    return np.array([LABELS.index(emotion) for emotion in table["emotion"].iloc[rows]])


def _spoken(vectors: Sequence[Vectors | None], rows: Rows) -> list[Vectors]:
    return [clip for row in rows if (clip := vectors[row]) is not None]


def draw_weights(table: pd.DataFrame, shares: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Chance of each clip so that corpora are drawn by share, and emotions of a corpus alike.

    Args:
        table: The training clips.
        shares: Share of each corpus.
    """
    n_clips = table.groupby(["corpus", "emotion"])["path"].transform("size")
    n_emotions = table.groupby("corpus")["emotion"].transform("nunique")
    weights = table["corpus"].map(shares) / (n_clips * n_emotions)
    return weights.to_numpy(dtype=np.float64)


def votes_of(table: pd.DataFrame, data: Path) -> npt.NDArray[np.float64]:
    """Listeners' votes on each clip: (n_clips, n_labels) counts, zeros where nobody was asked."""
    if not (table["corpus"] == "crema-d").any():
        return np.zeros((len(table), len(LABELS)))
    votes = read_votes(data)
    stems = [Path(path).stem for path in table["path"]]
    counts = votes.reindex(index=stems, columns=list(LABELS), fill_value=0).to_numpy(np.float64)
    counts[(table["corpus"] != "crema-d").to_numpy()] = 0.0
    return counts
