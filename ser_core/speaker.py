"""Speaker profiles: adaptation of predictions to a voice, from neutral speech and corrections.

Some voices are merely low or loud, and a model takes them for sad or angry. Its output for a
speaker's neutral speech measures that bias, which is then subtracted from other predictions.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ser_core.errors import SerError
from ser_core.prediction import Analysis, Prediction

FORMAT = 2
NEUTRAL_SHARE = 0.4
"""Share of the difference between the speaker's neutral speech and the reference to subtract."""
CORRECTION_STRENGTH = 4.0
"""Limit in nats of the effect of many consistent corrections."""
PRIOR_CORRECTIONS = 8
"""Number of corrections that have half of that effect."""
MAX_CORRECTIONS = 20
MIN_NEUTRAL_S = 8.0
"""Least neutral speech for a profile, without the silence around it."""
FLOOR = 1e-4
"""Least probability before the logarithm."""

LogProbabilities = npt.NDArray[np.float64]
Answers = Sequence[Sequence[float]] | npt.NDArray[np.floating[Any]]
"""Probabilities: (n_answers, n_labels)."""


class SpeakerError(SerError):
    """Too little speech for a profile, or a file that is no profile."""


@dataclass(frozen=True, slots=True)
class Correction:
    """The actual emotion of a clip.

    Attributes:
        emotion: Emotion that the speaker names.
        probabilities: Output of the model, one a label.
    """

    emotion: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SpeakerProfile:
    """Adaptation to one speaker: numbers only, no audio.

    Attributes:
        model: Name and version of the model.
        weights: SHA-256 of its weights; the profile applies to these only.
        labels: Emotions in the model's order.
        shift: Subtracted from the logarithms of the probabilities, one a label.
        corrections: Actual emotions of clips, the oldest first.
    """

    model: str
    weights: str
    labels: tuple[str, ...]
    shift: tuple[float, ...]
    corrections: tuple[Correction, ...] = ()

    @classmethod
    def enroll(cls, neutral: Analysis, reference: Sequence[float]) -> Self:
        """Make the profile of a speaker.

        Args:
            neutral: Analysis of 10 to 20 s of neutral speech.
            reference: `Manifest.neutral_reference` of the model.

        Raises:
            SpeakerError: There is too little speech, or the model has no reference.
        """
        prediction = neutral.prediction
        speech_s = prediction.speech_end_s - prediction.speech_start_s
        if speech_s < MIN_NEUTRAL_S:
            raise SpeakerError(
                f"{speech_s:.1f} s of speech was found; at least {MIN_NEUTRAL_S:g} s is needed. "
                "Read a few sentences aloud, as you would to a friend."
            )
        if len(reference) != len(prediction.labels):
            raise SpeakerError(
                f"The model {prediction.model} does not support voice profiles. Choose another."
            )
        shift = neutral_shift([window.probabilities for window in neutral.windows], reference)
        return cls(prediction.model, prediction.weights, prediction.labels, shift)

    def corrected(self, prediction: Prediction, emotion: str) -> Self:
        """Return the profile with one more correction; `MAX_CORRECTIONS` newest are kept.

        Args:
            prediction: Prediction of the clip, not adapted.
            emotion: Its actual emotion.

        Raises:
            SpeakerError: The prediction is of another model, or the emotion is unknown.
        """
        self._check(prediction)
        if emotion not in self.labels:
            raise SpeakerError(f"{emotion!r} is not one of {', '.join(self.labels)}.")
        added = (*self.corrections, Correction(emotion, prediction.probabilities))
        return replace(self, corrections=added[-MAX_CORRECTIONS:])

    def adapt(self, prediction: Prediction) -> Prediction:
        """Return a prediction adapted to this speaker.

        Raises:
            SpeakerError: The prediction is of another model.
        """
        self._check(prediction)
        return prediction.with_probabilities(
            _softmax(_log(prediction.probabilities) + self.adjustment)
        )

    @property
    def adjustment(self) -> LogProbabilities:
        """(n_labels,) added to the logarithms of probabilities."""
        total = np.zeros(len(self.labels))
        for correction in self.corrections:
            predicted = _softmax(_log(correction.probabilities) - self.shift)
            total += np.eye(len(self.labels))[self.labels.index(correction.emotion)] - predicted
        corrections = total / (len(self.corrections) + PRIOR_CORRECTIONS)
        return CORRECTION_STRENGTH * corrections - self.shift

    def fits(self, prediction: Prediction) -> bool:
        """Return whether a prediction is of the model of this profile."""
        return (prediction.weights, prediction.labels) == (self.weights, self.labels)

    def _check(self, prediction: Prediction) -> None:
        if self.fits(prediction):
            return
        is_named = prediction.model == self.model
        other = "another build of it" if is_named else prediction.model
        remedy = "Make" if is_named else "Choose that model, or make"
        raise SpeakerError(
            f"This voice profile is for the model {self.model}, but {other} answered. "
            f"{remedy} a new profile."
        )

    def to_json(self) -> str:
        """Return the profile as JSON."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the result of `to_json`.

        Raises:
            SpeakerError: The text is no profile, or one of another format.
        """
        try:
            stored = json.loads(text)
            if stored["format"] != FORMAT:
                raise SpeakerError(
                    f"This voice profile for the model {stored['model']} was made by another "
                    f"version: it has format {stored['format']}, not {FORMAT}. Make a new one."
                )
            labels = tuple(map(str, stored["labels"]))
            return cls(
                model=str(stored["model"]),
                weights=str(stored["weights"]),
                labels=labels,
                shift=_numbers(stored["shift"], len(labels), -np.inf, np.inf),
                corrections=tuple(
                    Correction(
                        labels[labels.index(c["emotion"])],
                        _numbers(c["probabilities"], len(labels), 0.0, 1.0),
                    )
                    for c in stored["corrections"][-MAX_CORRECTIONS:]
                ),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SpeakerError(
                "This file is not a MoodMirror voice profile. Choose the one you saved here."
            ) from error


def neutral_shift(rows: Answers, reference: Sequence[float]) -> tuple[float, ...]:
    """Return the `shift` of a profile.

    Args:
        rows: Probabilities of a speaker's neutral speech.
        reference: `mean_log` of the neutral speech of other speakers.
    """
    shift = NEUTRAL_SHARE * (np.asarray(mean_log(rows)) - np.asarray(reference))
    return tuple(map(float, shift))


def mean_log(rows: Answers) -> tuple[float, ...]:
    """Return the mean logarithm of probabilities, one a label."""
    return tuple(map(float, np.mean([_log(row) for row in rows], axis=0)))


def _numbers(values: Any, n: int, low: float, high: float) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != n or not all(low <= x <= high and np.isfinite(x) for x in numbers):
        raise ValueError(f"{n} numbers between {low} and {high} are needed.")
    return numbers


def _log(probabilities: Sequence[float] | npt.NDArray[np.floating[Any]]) -> LogProbabilities:
    floored = np.maximum(np.asarray(probabilities, dtype=np.float64), FLOOR)
    return np.asarray(np.log(floored / floored.sum()))


def _softmax(logarithms: LogProbabilities) -> LogProbabilities:
    raised = np.exp(logarithms - logarithms.max())
    return np.asarray(raised / raised.sum())
