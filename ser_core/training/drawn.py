"""What recipes that train on draws share: which clips are heard, how often, and the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.labels import LABELS
from ser_core.training.calibration import Calibration, calibrate
from ser_core.training.draws import DrawnTraining, Lessons, Vectors
from ser_core.training.fit import TrainingProgress, predict_logits
from ser_core.training.fit_drawn import soft_targets, train_committee
from ser_core.training.metrics import Scores, score, unweighted_recall
from ser_core.training.protocols import Rows

Clips = Sequence[Vectors | None]
"""One array of (n_vectors, n_columns) a row of a table; None where nobody speaks."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network and how sure it may be.

    Attributes:
        network: Gives logits.
        calibration: Of its logits, by the development rows.
        development_uar: Mean recall on the development rows.
        labels: The emotions, in the order of its logits.
    """

    network: keras.Model
    calibration: Calibration
    development_uar: float
    labels: tuple[str, ...] = LABELS

    @classmethod
    def on(
        cls,
        network: keras.Model,
        table: pd.DataFrame,
        clips: Clips,
        rows: Rows,
        labels: tuple[str, ...] = LABELS,
    ) -> Self:
        """Calibrate and judge a network on development rows."""
        rows = heard_rows(clips, rows)
        truth = truth_of(table, rows, labels)
        logits = predict_logits(network, spoken(clips, rows), n_labels=len(labels))
        uar = unweighted_recall(truth, logits.argmax(axis=1) == truth)
        return cls(network, calibrate(logits, truth), uar, labels)

    def answer(self, clips: Clips, rows: Rows) -> npt.NDArray[np.floating[Any]]:
        """See `answer_rows`."""
        return answer_rows(self.network, self.calibration, clips, rows, n_labels=len(self.labels))

    def score(self, table: pd.DataFrame, clips: Clips, rows: Rows) -> Scores:
        """Figures on some rows."""
        return score(truth_of(table, rows, self.labels), self.answer(clips, rows), self.labels)


def fit_rows(
    table: pd.DataFrame,
    copies: Sequence[Clips],
    heard: Rows,
    development: Rows,
    *,
    targets: npt.NDArray[np.float32],
    shares: Mapping[str, float],
    training: DrawnTraining,
    seed: int,
    lessons: Lessons | None = None,
    labels: tuple[str, ...] = LABELS,
) -> Fitted:
    """Train on some rows and calibrate on others.

    Args:
        table: Clips.
        copies: The clips as recorded, then changed copies of them.
        heard: Rows to learn from, in all of which somebody speaks.
        development: Rows to calibrate on.
        targets: (n_heard, n_labels), each row a distribution.
        shares: Share of each corpus.
        training: Networks and schedule.
        seed: Seed of everything that is drawn.
        lessons: What is learned beside the targets, for the heard rows.
        labels: The emotions, in the order of the targets.
    """
    network = train_committee(
        spoken(copies[0], heard),
        targets,
        draw_weights(table.iloc[heard], shares),
        training,
        seed=seed,
        copies=[[copy[row] for row in heard] for copy in copies[1:]],
        lessons=lessons,
        callbacks=[TrainingProgress(training.steps, f"Seed {seed}", by_step=True)],
    )
    return Fitted.on(network, table, copies[0], development, labels)


def answer_rows(
    network: keras.Model,
    calibration: Calibration,
    clips: Clips,
    rows: Rows,
    *,
    n_labels: int = len(LABELS),
) -> npt.NDArray[np.floating[Any]]:
    """Probabilities (n_rows, n_labels); a clip without speech is answered evenly."""
    probabilities = np.full((len(rows), n_labels), 1.0 / n_labels)
    heard = [i for i, row in enumerate(rows) if clips[row] is not None]
    logits = predict_logits(network, spoken(clips, rows), n_labels=n_labels)
    probabilities[heard] = calibration.probabilities(logits)
    return probabilities


def heard_rows(clips: Clips, rows: Rows) -> Rows:
    """Those of some rows in which somebody speaks."""
    return np.array([row for row in rows if clips[row] is not None], dtype=np.intp)


def spoken(clips: Clips, rows: Rows) -> list[Vectors]:
    """The clips of some rows, those without speech left out."""
    return [clip for row in rows if (clip := clips[row]) is not None]


def truth_of(
    table: pd.DataFrame, rows: Rows, labels: Sequence[str] = LABELS
) -> npt.NDArray[np.int64]:
    """Indices of the acted emotions."""
    return np.array([labels.index(emotion) for emotion in table["emotion"].iloc[rows]])


def targets_of(
    table: pd.DataFrame, rows: Rows, labels: Sequence[str], smoothing: float
) -> npt.NDArray[np.float32]:
    """What a network learns to answer for some rows; see `soft_targets`."""
    return soft_targets(truth_of(table, rows, labels), smoothing, n_labels=len(labels))


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
