"""Adaptation to a voice by other clips of it, without labels.

Answers about voices from elsewhere lean to some emotions, whatever is said: the mean logarithm of
their probabilities over clips of a voice shows which. It is subtracted from that voice's answers,
in part where there are few clips, and less where all of them sound alike, since one emotion would
look the same. Both are taken before calibration, which would hide how varied the clips are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ser_core.prediction import Prediction

Row = Sequence[float] | npt.NDArray[np.floating[Any]]
"""(n_labels,) probabilities of a clip."""

PRIOR_CLIPS = 10
"""Number of clips from which half of the mean is subtracted."""
VARIED_NATS = 0.35
"""Mutual information of clip and emotion from which the clips are as varied as they need be."""
FLOOR = 1e-4
"""Least probability before the logarithm."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What is kept of the answers about a voice.

    Attributes:
        n_clips: Number of clips.
        log_probabilities: (n_labels,) sum of the logarithms.
        probabilities: (n_labels,) sum of the probabilities.
        entropy: Sum of the entropies of the answers, in nats.
    """

    n_clips: int = 0
    log_probabilities: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()
    entropy: float = 0.0

    @classmethod
    def of(cls, rows: Sequence[Row] | npt.NDArray[np.floating[Any]]) -> Self:
        """Return the reference of (n_clips, n_labels) probabilities."""
        if len(rows) == 0:
            return cls()
        floored = _floor(rows)
        logs = np.log(floored)
        return cls(
            len(floored),
            tuple(logs.sum(axis=0).tolist()),
            tuple(floored.sum(axis=0).tolist()),
            float(-(floored * logs).sum()),
        )

    def __add__(self, other: "Reference") -> "Reference":
        """Return the reference of the clips of both."""
        if not (self.n_clips and other.n_clips):
            return self if self.n_clips else other
        logs = np.add(self.log_probabilities, other.log_probabilities)
        sums = np.add(self.probabilities, other.probabilities)
        return Reference(
            self.n_clips + other.n_clips,
            tuple(logs.tolist()),
            tuple(sums.tolist()),
            self.entropy + other.entropy,
        )

    @property
    def variety(self) -> float:
        """How varied the clips are, from 0 to 1."""
        mean = np.divide(self.probabilities, max(self.n_clips, 1))
        entropy = -(mean * np.log(mean)).sum() - self.entropy / max(self.n_clips, 1)
        return float(np.clip(entropy / VARIED_NATS, 0.0, 1.0))

    @property
    def shift(self) -> npt.NDArray[np.float64]:
        """(n_labels,) to subtract from logarithms of probabilities; the mean of it is 0."""
        mean = np.divide(self.log_probabilities, max(self.n_clips, 1))
        return np.asarray(self._weight * (mean - mean.mean()))

    @property
    def _weight(self) -> float:
        return self.variety * self.n_clips / (self.n_clips + PRIOR_CLIPS)

    @classmethod
    def of_predictions(cls, predictions: Iterable[Prediction]) -> Self:
        """Return the reference of predictions of one model, before their calibration."""
        return cls.of([prediction.uncalibrated for prediction in predictions])

    def adapt_prediction(self, prediction: Prediction) -> Prediction:
        """Return a prediction adapted to this voice."""
        return prediction.with_uncalibrated(self.adapt(prediction.uncalibrated))

    def adapt(self, probabilities: Row) -> tuple[float, ...]:
        """Return a clip's probabilities adapted to this voice; unchanged without clips."""
        if not self.n_clips:
            return tuple(map(float, probabilities))
        raised = np.exp(np.log(_floor([probabilities])[0]) - self.shift)
        return tuple((raised / raised.sum()).tolist())


def adapt_together(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Adapt each prediction by all others, as clips of one voice."""
    rows = [prediction.uncalibrated for prediction in predictions]
    references = (Reference.of([*rows[:i], *rows[i + 1 :]]) for i in range(len(rows)))
    return [
        prediction.with_uncalibrated(reference.adapt(row))
        for prediction, reference, row in zip(predictions, references, rows, strict=True)
    ]


def _floor(rows: Sequence[Row] | npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    floored = np.maximum(np.asarray(rows, dtype=np.float64), FLOOR)
    return np.asarray(floored / floored.sum(axis=1, keepdims=True))
