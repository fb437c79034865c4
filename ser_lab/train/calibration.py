"""How sure a model may say it is, found on development speakers."""

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
"""Share of right answers among those that are called certain."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What development speakers say of a model's confidence.

    Attributes:
        temperature: What the logits are divided by before the softmax.
        certainty: Which answers are certain.
    """

    temperature: float
    certainty: Certainty

    def probabilities(self, logits: Logits) -> Logits:
        """Calibrated probabilities of (n_clips, n_labels) logits."""
        return np.asarray(softmax(logits / self.temperature, axis=1))


def calibrate(logits: Logits, truth: Truth, *, precision: float = PRECISION) -> Calibration:
    """Fit the temperature, then the threshold of the calibrated answers.

    Args:
        logits: (n_clips, n_labels) of development speakers.
        truth: (n_clips,) indices of emotions.
        precision: Share of right answers that the certain ones have to reach.
    """
    temperature = fit_temperature(logits, truth)
    probabilities = softmax(logits / temperature, axis=1)
    return Calibration(temperature, find_certainty(probabilities, truth, precision=precision))


def fit_temperature(logits: Logits, truth: Truth) -> float:
    """Temperature with the least cross-entropy.

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
    """Least confidence from which the share of right answers reaches a precision.

    Args:
        probabilities: (n_clips, n_labels), calibrated.
        truth: (n_clips,) indices of emotions.
        precision: What is asked for.

    Returns:
        The threshold and what it gives; a threshold of 1 where none is enough.
    """
    confidence = probabilities.max(axis=1)
    falling = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == truth)[falling]
    reached = np.flatnonzero(np.cumsum(right) / np.arange(1, len(right) + 1) >= precision)
    if not len(reached):
        return Certainty(confidence=1.0, precision=1.0, share=0.0)
    n_certain = int(reached[-1]) + 1
    return Certainty(
        confidence=float(confidence[falling[n_certain - 1]]),
        precision=float(right[:n_certain].mean()),
        share=n_certain / len(right),
    )
