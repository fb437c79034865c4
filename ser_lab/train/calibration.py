"""Calibration: temperature and threshold of certain answers, fitted on development speakers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from ser_core.model.manifest import Certainty

Logits = npt.NDArray[np.floating[Any]]
Truth = npt.NDArray[np.int64]

PRECISION = 0.8
"""Required share of correct answers among the certain ones."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration of a model's logits.

    Attributes:
        temperature: Divisor of the logits before the softmax.
        certainty: Threshold of certain answers.
    """

    temperature: float
    certainty: Certainty

    def probabilities(self, logits: Logits) -> Logits:
        """Return calibrated probabilities of (n_clips, n_labels) logits."""
        return np.asarray(softmax(logits / self.temperature, axis=1))


def calibrate(logits: Logits, truth: Truth) -> Calibration:
    """Fit the temperature, then the threshold of the calibrated answers.

    Args:
        logits: (n_clips, n_labels) of development speakers.
        truth: (n_clips,) indices of emotions.
    """
    temperature = fit_temperature(logits, truth)
    probabilities = softmax(logits / temperature, axis=1)
    return Calibration(temperature, find_certainty(probabilities, truth, precision=PRECISION))


def fit_temperature(logits: Logits, truth: Truth) -> float:
    """Return the temperature of least cross-entropy.

    Args:
        logits: (n_clips, n_labels).
        truth: (n_clips,) indices of emotions.

    Source: Guo et al. 2017, On calibration of modern neural networks.
    """

    def cross_entropy(log_temperature: float) -> float:
        log_probabilities = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-log_probabilities[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-3.0, 3.0), method="bounded").x))


def find_certainty(probabilities: Logits, truth: Truth, *, precision: float) -> Certainty:
    """Find the least confidence from which the answers reach a precision.

    Args:
        probabilities: (n_clips, n_labels), calibrated.
        truth: (n_clips,) indices of emotions.
        precision: Required share of correct answers.

    Returns:
        The threshold with its precision and share; a threshold of 1 where none is enough.
    """
    confidence = probabilities.max(axis=1)
    descending = np.argsort(-confidence, kind="stable")
    correct = (probabilities.argmax(axis=1) == truth)[descending]
    reached = np.flatnonzero(np.cumsum(correct) / np.arange(1, len(correct) + 1) >= precision)
    if not len(reached):
        return Certainty(confidence=1.0, precision=1.0, share=0.0)
    n_certain = int(reached[-1]) + 1
    return Certainty(
        confidence=float(confidence[descending[n_certain - 1]]),
        precision=float(correct[:n_certain].mean()),
        share=n_certain / len(correct),
    )
