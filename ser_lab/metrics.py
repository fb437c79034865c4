"""Figures over predictions: recalls, calibration, intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

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
    right = predicted == truth
    return Scores(
        n_clips=len(truth),
        uar=unweighted_recall(truth, right),
        uar_interval=interval(bootstrap(truth, right)[0]),
        war=float(right.mean()),
        ece=expected_calibration_error(truth, probabilities),
        per_emotion=emotion_table(truth, predicted, labels),
        confusion=count_confusions(truth, predicted, labels),
    )


def narrow(
    probabilities: Floats, labels: tuple[str, ...], classes: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    """Probabilities over fewer classes, renormalised; even where none of them had any.

    Args:
        probabilities: (n_clips, n_labels).
        labels: Emotions in column order.
        classes: Those that are kept.

    Returns:
        (n_clips, n_classes) float64.
    """
    kept = probabilities[:, [labels.index(name) for name in classes]].astype(np.float64)
    total = kept.sum(axis=1, keepdims=True)
    narrowed = np.full_like(kept, 1.0 / len(classes))
    np.divide(kept, total, out=narrowed, where=total > 0)
    return narrowed


def unweighted_recall(truth: Ints, right: npt.NDArray[np.bool_] | Floats) -> float:
    """Mean over the emotions that occur of the share of their clips that is right.

    Args:
        truth: (n_clips,) indices of emotions.
        right: (n_clips,) whether a clip is right, or the share of runs that had it right.
    """
    support = np.bincount(truth)
    hits = np.bincount(truth, weights=right)
    return float((hits[support > 0] / support[support > 0]).mean())


def emotion_table(
    truth: Ints, predicted: Ints, labels: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Precision, recall, f1 and support of each label.

    Args:
        truth: (n_clips,) indices into `labels`.
        predicted: (n_clips,) indices into `labels`.
        labels: Emotions in that order.

    Source: scikit-learn.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(len(labels)), zero_division=0.0
    )
    return {
        label: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "support": int(support[i]),
        }
        for i, label in enumerate(labels)
    }


def count_confusions(truth: Ints, predicted: Ints, labels: tuple[str, ...]) -> list[list[int]]:
    """Counts, actual emotions down, predicted across, in label order."""
    counts = confusion_matrix(truth, predicted, labels=np.arange(len(labels)))
    return [[int(count) for count in row] for row in counts]


def bootstrap(
    truth: Ints, right: npt.NDArray[np.bool_] | Floats, *, seed: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """UAR and WAR of resampled clips, drawn with replacement.

    Args:
        truth: (n_clips,) indices of emotions.
        right: (n_clips,) whether a clip is right, or the share of runs that had it right.
        seed: Seed of the draws.

    Returns:
        Two arrays of (N_BOOTSTRAP,) float64.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap.
    """
    random = np.random.default_rng(seed)
    uars, wars = np.empty(N_BOOTSTRAP), np.empty(N_BOOTSTRAP)
    for i in range(N_BOOTSTRAP):
        drawn = random.integers(len(truth), size=len(truth))
        uars[i] = unweighted_recall(truth[drawn], right[drawn])
        wars[i] = right[drawn].mean()
    return uars, wars


def interval(draws: Floats) -> tuple[float, float]:
    """Middle 95 % of bootstrap draws."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Clips whose confidence is about the same.

    Attributes:
        n_clips: How many.
        confidence: Their mean confidence.
        accuracy: Share of them that is right.
    """

    n_clips: int
    confidence: float
    accuracy: float


def calibration_bins(
    confidence: Floats, right: npt.NDArray[np.bool_]
) -> tuple[CalibrationBin, ...]:
    """Sort clips into equal bins of confidence; empty bins are left out.

    Args:
        confidence: (n_clips,) probability of the likeliest emotion.
        right: (n_clips,) whether that emotion is right.
    """
    bins = np.minimum((confidence * N_ECE_BINS).astype(int), N_ECE_BINS - 1)
    return tuple(
        CalibrationBin(
            n_clips=int((bins == b).sum()),
            confidence=float(confidence[bins == b].mean()),
            accuracy=float(right[bins == b].mean()),
        )
        for b in np.unique(bins)
    )


def calibration_gap(bins: Sequence[CalibrationBin]) -> float:
    """Mean distance between confidence and accuracy, each bin by its clips."""
    n_clips = sum(b.n_clips for b in bins)
    return sum(b.n_clips * abs(b.accuracy - b.confidence) for b in bins) / n_clips


def expected_calibration_error(truth: Ints, probabilities: Floats) -> float:
    """Mean distance between confidence and accuracy over equal bins of confidence.

    Args:
        truth: (n_clips,) indices of emotions.
        probabilities: (n_clips, n_labels).

    Source: Guo et al. 2017, On calibration of modern neural networks.
    """
    right = probabilities.argmax(axis=1) == truth
    return calibration_gap(calibration_bins(probabilities.max(axis=1), right))
