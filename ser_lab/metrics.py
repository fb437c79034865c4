"""Metrics of predictions with bootstrap intervals, and calibration on development speakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ser_core.model.manifest import Certainty

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Correct = npt.NDArray[np.bool_] | Floats
"""(n_clips,) whether a prediction is correct, or the share of runs in which it is."""

N_BOOTSTRAP = 2_000
"""Resamples of a bootstrap interval."""
N_ECE_BINS = 15
"""Bins of the expected calibration error."""
PRECISION = 0.8
"""Required share of correct answers among the certain ones."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics of one model on one set of clips.

    Attributes:
        n_clips: Number of clips.
        uar: Unweighted average recall, the mean of the per-emotion recalls.
        uar_interval: 95% bootstrap interval of the UAR over clips.
        war: Accuracy, also called weighted average recall.
        ece: Expected calibration error.
        per_emotion: By label: precision, recall, f1 and support.
        confusion: Counts, a row for each actual and a column for each predicted emotion.
    """

    n_clips: int
    uar: float
    uar_interval: tuple[float, float]
    war: float
    ece: float
    per_emotion: dict[str, dict[str, float]]
    confusion: list[list[int]]


def compute_scores(truth: Ints, probabilities: Floats, labels: tuple[str, ...]) -> Scores:
    """Compute all metrics.

    Args:
        truth: (n_clips,) indices into `labels`.
        probabilities: (n_clips, n_labels).
        labels: Emotions in column order.

    Source: scikit-learn; Guo et al. 2017 for the calibration error.
    """
    predicted = probabilities.argmax(axis=1)
    correct = predicted == truth
    return Scores(
        n_clips=len(truth),
        uar=unweighted_recall(truth, correct),
        uar_interval=interval(bootstrap(truth, correct)[0]),
        war=float(correct.mean()),
        ece=expected_calibration_error(truth, probabilities),
        per_emotion=emotion_table(truth, predicted, labels),
        confusion=count_confusions(truth, predicted, labels),
    )


def narrow(
    probabilities: Floats, labels: tuple[str, ...], classes: tuple[str, ...]
) -> npt.NDArray[np.float64]:
    """Restrict probabilities to some classes and renormalise them; uniform where all are 0.

    Args:
        probabilities: (n_clips, n_labels).
        labels: Emotions in column order.
        classes: Labels to keep.

    Returns:
        (n_clips, n_classes) float64.
    """
    kept = probabilities[:, [labels.index(name) for name in classes]].astype(np.float64)
    total = kept.sum(axis=1, keepdims=True)
    narrowed = np.full_like(kept, 1.0 / len(classes))
    np.divide(kept, total, out=narrowed, where=total > 0)
    return narrowed


def unweighted_recall(truth: Ints, correct: Correct) -> float:
    """Return the mean recall over the emotions that occur; truth is (n_clips,) indices."""
    support = np.bincount(truth)
    hits = np.bincount(truth, weights=correct)
    return float((hits[support > 0] / support[support > 0]).mean())


def emotion_table(
    truth: Ints, predicted: Ints, labels: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Return precision, recall, f1 and support of each label; truth and predicted are indices."""
    columns = precision_recall_fscore_support(
        truth, predicted, labels=np.arange(len(labels)), zero_division=0.0
    )
    return {
        label: {"precision": p, "recall": r, "f1": f1, "support": support}
        for label, p, r, f1, support in zip(labels, *(c.tolist() for c in columns), strict=True)
    }


def count_confusions(truth: Ints, predicted: Ints, labels: tuple[str, ...]) -> list[list[int]]:
    """Return counts, a row for each actual and a column for each predicted emotion."""
    counts = confusion_matrix(truth, predicted, labels=np.arange(len(labels)))
    return counts.tolist()  # type: ignore[no-any-return]


def bootstrap(
    truth: Ints, correct: Correct
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return UAR and WAR of clips resampled with replacement, (N_BOOTSTRAP,) float64 each.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap.
    """
    random = np.random.default_rng(0)
    uars, wars = np.empty(N_BOOTSTRAP), np.empty(N_BOOTSTRAP)
    for i in range(N_BOOTSTRAP):
        rows = random.integers(len(truth), size=len(truth))
        uars[i] = unweighted_recall(truth[rows], correct[rows])
        wars[i] = correct[rows].mean()
    return uars, wars


def interval(resampled: Floats) -> tuple[float, float]:
    """Return the middle 95% of bootstrap values."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Number, mean confidence and accuracy of clips of similar confidence."""

    n_clips: int
    confidence: float
    accuracy: float


def calibration_bins(confidence: Floats, correct: Correct) -> tuple[CalibrationBin, ...]:
    """Sort clips into bins of equal width by confidence, and omit empty bins.

    Args:
        confidence: (n_clips,) probability of the predicted emotion.
        correct: (n_clips,) whether it is correct.
    """
    bins = np.minimum((confidence * N_ECE_BINS).astype(int), N_ECE_BINS - 1)
    return tuple(
        CalibrationBin(
            n_clips=int((bins == b).sum()),
            confidence=float(confidence[bins == b].mean()),
            accuracy=float(correct[bins == b].mean()),
        )
        for b in np.unique(bins)
    )


def calibration_gap(bins: Sequence[CalibrationBin]) -> float:
    """Return the mean distance between confidence and accuracy, weighted by clips."""
    n_clips = sum(b.n_clips for b in bins)
    return sum(b.n_clips * abs(b.accuracy - b.confidence) for b in bins) / n_clips


def expected_calibration_error(truth: Ints, probabilities: Floats) -> float:
    """Return the mean distance between confidence and accuracy over `N_ECE_BINS` bins.

    Source: Guo et al. 2017, On calibration of modern neural networks.
    """
    correct = probabilities.argmax(axis=1) == truth
    return calibration_gap(calibration_bins(probabilities.max(axis=1), correct))


@dataclass(frozen=True, slots=True)
class Calibration:
    """Divisor of a model's logits before the softmax, and threshold of certain answers."""

    temperature: float
    certainty: Certainty

    def probabilities(self, logits: Floats) -> Floats:
        """Return calibrated probabilities of (n_clips, n_labels) logits."""
        return np.asarray(softmax(logits / self.temperature, axis=1))


def calibrate(logits: Floats, truth: Ints) -> Calibration:
    """Fit the temperature, then the threshold of the calibrated answers.

    Args:
        logits: (n_clips, n_labels) of development speakers.
        truth: (n_clips,) indices of emotions.
    """
    temperature = fit_temperature(logits, truth)
    probabilities = softmax(logits / temperature, axis=1)
    return Calibration(temperature, find_certainty(probabilities, truth, precision=PRECISION))


def fit_temperature(logits: Floats, truth: Ints) -> float:
    """Return the temperature of least cross-entropy.

    Source: Guo et al. 2017, On calibration of modern neural networks.
    """

    def cross_entropy(log_temperature: float) -> float:
        log_probabilities = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-log_probabilities[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-3.0, 3.0), method="bounded").x))


def find_certainty(probabilities: Floats, truth: Ints, *, precision: float) -> Certainty:
    """Find the least confidence from which the answers reach a precision.

    Args:
        probabilities: (n_clips, n_labels), calibrated.
        truth: (n_clips,) indices of emotions.
        precision: Required share of correct answers.

    Returns:
        The threshold with its precision and share; a threshold of 1 where none is enough.
    """
    correct = probabilities.argmax(axis=1) == truth
    return find_threshold(probabilities.max(axis=1), correct, precision=precision)


def find_threshold(
    confidence: Floats,
    correct: npt.NDArray[np.bool_],
    *,
    precision: float,
    weights: Floats | None = None,
) -> Certainty:
    """Find the least confidence from which answers reach a precision.

    Args:
        confidence: (n_clips,) probability of each answer.
        correct: (n_clips,) whether it is right.
        precision: Required share of right answers.
        weights: (n_clips,) how much each counts; None where all count alike.

    Returns:
        As `find_certainty`; answers of equal confidence are certain together.
    """
    weights = np.ones(len(confidence)) if weights is None else weights
    order = np.argsort(-confidence, kind="stable")
    sums, right = np.cumsum(weights[order]), np.cumsum((weights * correct)[order])
    is_last = np.append(np.diff(confidence[order]) != 0.0, True)  # of equal confidences
    reached = np.flatnonzero((right / sums >= precision) & is_last)
    if not len(reached):
        return Certainty(confidence=1.0, precision=1.0, share=0.0)
    last = int(reached[-1])
    return Certainty(
        confidence=float(confidence[order[last]]),
        precision=float(right[last] / sums[last]),
        share=float(sums[last] / sums[-1]),
    )
