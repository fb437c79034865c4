"""One speaker's voice, taught by some calm speech and some corrections.

A model hears some voices as sad or angry that are merely low or loud. What it hears in
a speaker's ordinary speech tells by how much, and every other answer is taken relative to that.
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
CALM_SHARE = 0.4
"""How much of the distance between this calm voice and everybody's is taken off."""
CORRECTION_STRENGTH = 4.0
"""How far corrections move an answer, in nats, if they all say the same and are many."""
PRIOR_CORRECTIONS = 8
"""So many corrections weigh half."""
MAX_CORRECTIONS = 20
MIN_CALM_S = 8.0
"""Speech, silence around it left out, that teaches a voice."""
FLOOR = 1e-4
"""Least probability that is told apart from none."""

LogProbabilities = npt.NDArray[np.float64]
Answers = Sequence[Sequence[float]] | npt.NDArray[np.floating[Any]]
"""Some answers of a model: (n_answers, n_labels)."""


class SpeakerError(SerError):
    """Speech that teaches too little, or a profile that is none."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a clip really was.

    Attributes:
        emotion: What the speaker says it was.
        probabilities: What the model had heard, one a label.
    """

    emotion: str
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SpeakerProfile:
    """What is known of one speaker: numbers alone, no sound.

    Attributes:
        model: Name and version of the model that listened.
        weights: SHA-256 of its weights; only answers of these fit.
        labels: Emotions in its order.
        shift: What is taken off the logarithms of its probabilities, one a label.
        corrections: What clips really were, the oldest first.
    """

    model: str
    weights: str
    labels: tuple[str, ...]
    shift: tuple[float, ...]
    corrections: tuple[Correction, ...] = ()

    @classmethod
    def of(cls, calm: Analysis, reference: Sequence[float]) -> Self:
        """Learn a voice from ordinary speech.

        Args:
            calm: 10 to 20 s of it.
            reference: Mean logarithm of the probabilities that the model gives to calm
                speech of people whom it did not learn from.

        Raises:
            SpeakerError: There is too little speech, or the model has no reference.
        """
        prediction = calm.prediction
        speech_s = prediction.speech_end_s - prediction.speech_start_s
        if speech_s < MIN_CALM_S:
            raise SpeakerError(
                f"{speech_s:.1f} s of speech was found; at least {MIN_CALM_S:g} s is needed. "
                "Read a few sentences aloud, as you would to a friend."
            )
        if len(reference) != len(prediction.labels):
            raise SpeakerError(
                f"The model {prediction.model} does not support voice profiles. Choose another."
            )
        rows = [window.probabilities for window in calm.windows]
        profile = cls.learn(prediction.model, prediction.labels, rows, reference)
        return replace(profile, weights=prediction.weights)

    @classmethod
    def learn(
        cls,
        model: str,
        labels: Sequence[str],
        rows: Answers,
        reference: Sequence[float],
    ) -> Self:
        """Learn a voice from what a model heard in its calm speech, bound to no weights.

        Args:
            model: Name and version of the model.
            labels: Its emotions.
            rows: Probabilities of some stretches, one a label.
            reference: As in `of`.
        """
        shift = CALM_SHARE * (np.asarray(mean_log(rows)) - np.asarray(reference))
        return cls(model, "", tuple(labels), tuple(map(float, shift)))

    def corrected(self, prediction: Prediction, emotion: str) -> Self:
        """The profile with one more correction; beyond the most, the oldest is forgotten.

        Args:
            prediction: What the model had heard, not yet relative to this voice.
            emotion: What it really was.

        Raises:
            SpeakerError: Another model had heard it, or it knows no such emotion.
        """
        self._check(prediction)
        if emotion not in self.labels:
            raise SpeakerError(f"{emotion!r} is not one of {', '.join(self.labels)}.")
        added = (*self.corrections, Correction(emotion, prediction.probabilities))
        return replace(self, corrections=added[-MAX_CORRECTIONS:])

    def adapt(self, prediction: Prediction) -> Prediction:
        """An answer relative to this voice.

        Args:
            prediction: What the model heard.

        Raises:
            SpeakerError: Another model heard it.
        """
        self._check(prediction)
        moved = _log(prediction.probabilities) - self.shift + self._corrections()
        return prediction.with_probabilities(_softmax(moved))

    def _corrections(self) -> LogProbabilities:
        """By how much the corrections raise each logarithm."""
        total = np.zeros(len(self.labels))
        for correction in self.corrections:
            heard = _softmax(_log(correction.probabilities) - self.shift)
            total += np.eye(len(self.labels))[self.labels.index(correction.emotion)] - heard
        return CORRECTION_STRENGTH * total / (len(self.corrections) + PRIOR_CORRECTIONS)

    def fits(self, prediction: Prediction) -> bool:
        """Whether the model that gave an answer is the one that this voice was taught to."""
        return (prediction.weights, prediction.labels) == (self.weights, self.labels)

    def _check(self, prediction: Prediction) -> None:
        if self.fits(prediction):
            return
        other = "another build of it" if prediction.model == self.model else prediction.model
        raise SpeakerError(
            f"This voice profile is for the model {self.model}, but {other} answered. "
            "Choose that model, or make a new profile."
        )

    def to_json(self) -> str:
        """The profile as the visitor keeps it."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave.

        Raises:
            SpeakerError: It is something else.
        """
        try:
            stored = json.loads(text)
            _check_format(stored["format"], str(stored["model"]))
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


def _check_format(found: Any, model: str) -> None:
    if found != FORMAT:
        raise SpeakerError(
            f"This voice profile for the model {model} was made by another version: it has format "
            f"{found}, not {FORMAT}. Make a new one."
        )


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


def mean_log(rows: Answers) -> tuple[float, ...]:
    """Mean logarithm of some answers, one a label: the `reference` of `SpeakerProfile.of`."""
    return tuple(map(float, np.mean([_log(row) for row in rows], axis=0)))
