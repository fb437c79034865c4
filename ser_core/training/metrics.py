"""Figures over predictions: recalls, calibration, intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

N_BOOTSTRAP = 2_000
"""Resamples under a bootstrap interval."""
N_ECE_BINS = 15
"""Bins of the expected calibration error."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Figures of one model on one set of clips.

    Attributes:
        n_clips: How many clips.
        uar: Unweighted average recall: the mean of the per-emotion recalls.
        uar_interval: 95 % bootstrap interval of the UAR, clips drawn with replacement.
        war: Share of clips that are right (weighted average recall, accuracy).
        ece: Expected calibration error.
        per_emotion: By label: precision, recall, f1 and support.
        confusion: Counts, actual emotions down, predicted across, in label order.
    """

    n_clips: int
    uar: float
    uar_interval: tuple[float, float]
    war: float
    ece: float
    per_emotion: dict[str, dict[str, float]]
    confusion: list[list[int]]


def score(truth: Ints, probabilities: Floats, labels: tuple[str, ...]) -> Scores:
    """Compute every figure.

    Args:
        truth: (n_clips,) indices into `labels`.
        probabilities: (n_clips, n_labels).
        labels: Emotions in column order.

    Source: scikit-learn; Guo et al. 2017 for the calibration error.
    """
    predicted = probabilities.argmax(axis=1)
    indices = np.arange(len(labels))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=indices, zero_division=0.0
    )
    return Scores(
        n_clips=len(truth),
        uar=float(balanced_accuracy_score(truth, predicted)),
        uar_interval=bootstrap_uar(truth, predicted),
        war=float(accuracy_score(truth, predicted)),
        ece=expected_calibration_error(truth, probabilities),
        per_emotion={
            label: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, label in enumerate(labels)
        },
        confusion=confusion_matrix(truth, predicted, labels=indices).tolist(),
    )


def bootstrap_uar(truth: Ints, predicted: Ints, *, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the UAR over resampled clips.

    Args:
        truth: (n_clips,) indices of emotions.
        predicted: (n_clips,) indices of emotions.
        seed: Seed of the draws.
    """
    draws = np.random.default_rng(seed).integers(len(truth), size=(N_BOOTSTRAP, len(truth)))
    right = truth == predicted
    recalls = np.full((N_BOOTSTRAP, truth.max() + 1), np.nan)
    for emotion in np.unique(truth):
        drawn = (truth == emotion)[draws]  # (n_bootstrap, n_clips)
        hits = (drawn & right[draws]).sum(axis=1)
        recalls[:, emotion] = hits / np.maximum(drawn.sum(axis=1), 1)
    low, high = np.percentile(np.nanmean(recalls, axis=1), [2.5, 97.5])
    return float(low), float(high)


def expected_calibration_error(truth: Ints, probabilities: Floats) -> float:
    """Mean distance between confidence and accuracy over equal bins of confidence.

    Args:
        truth: (n_clips,) indices of emotions.
        probabilities: (n_clips, n_labels).
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * N_ECE_BINS).astype(int), N_ECE_BINS - 1)
    gaps = [
        (bins == b).mean() * abs(right[bins == b].mean() - confidence[bins == b].mean())
        for b in np.unique(bins)
    ]
    return float(sum(gaps))
