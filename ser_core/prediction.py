"""Results of a model: the emotions of a recording, of its windows, and what they came from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ser_core.features import Features
from ser_core.preprocess import Waveform
from ser_core.quality import DOUBTFUL_SPEECH, QualityWarning


@dataclass(frozen=True, slots=True)
class Prediction:
    """Emotions of one recording.

    Raises a `ValueError` where the numbers of probabilities and labels differ.

    Attributes:
        labels: Emotions in the model's order.
        probabilities: One a label, in the same order; they sum to 1.
        duration_s: Length of the whole recording.
        speech_start_s: Start of the analysed part.
        speech_end_s: End of the analysed part.
        warnings: Faults of the recording.
        timings_ms: Milliseconds of each stage, and of all as `total`.
        model: Name and version of the model.
        weights: SHA-256 of the model's weights, see `Manifest.weights_sha256`.
        certain_from: Least confidence of a certain answer.
        temperature: By which the logits were divided to calibrate the probabilities.
        intensity: Probability, calibrated on acted speech, that the emotion is acted strongly
            rather than normally: 0 to 1, whichever the emotion; None where the model has none.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    duration_s: float = 0.0
    speech_start_s: float = 0.0
    speech_end_s: float = 0.0
    warnings: tuple[QualityWarning, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    model: str = ""
    weights: str = ""
    certain_from: float = 0.0
    temperature: float = 1.0
    intensity: float | None = None

    def __post_init__(self) -> None:
        n_probabilities, n_labels = len(self.probabilities), len(self.labels)
        if n_probabilities != n_labels:
            raise ValueError(f"{n_probabilities} probabilities for {n_labels} labels.")

    @classmethod
    def from_probabilities(
        cls, probabilities: Sequence[float] | npt.NDArray[Any], labels: Sequence[str], **rest: Any
    ) -> Self:
        """Build a prediction from a row of a model's output.

        Args:
            probabilities: (n_emotions,) in the order of `labels`.
            labels: The model's labels.
            **rest: The other attributes.
        """
        return cls(tuple(labels), tuple(map(float, probabilities)), **rest)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Build a prediction from the result of `to_dict`, and from other attributes in it.

        Raises:
            KeyError: There are no probabilities.
        """
        derived = ("emotion", "confidence", "certain")
        rest = {name: value for name, value in stored.items() if name not in derived}
        shares = rest.pop("probabilities")
        warnings = tuple(QualityWarning(**warning) for warning in rest.pop("warnings", ()))
        return cls(tuple(shares), tuple(shares.values()), warnings=warnings, **rest)

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return self.ranked()[0][0]

    @property
    def confidence(self) -> float:
        """The probability of the most probable emotion."""
        return self.ranked()[0][1]

    @property
    def certain(self) -> bool:
        """Whether the confidence reaches `certain_from`, in what is clearly speech."""
        return self.confidence >= self.certain_from and self.is_clear_speech

    @property
    def is_clear_speech(self) -> bool:
        """Whether the recording is clearly speech."""
        return all(warning.code != DOUBTFUL_SPEECH for warning in self.warnings)

    @property
    def uncalibrated(self) -> npt.NDArray[np.float64]:
        """(n_labels,) probabilities before calibration, that is, at a temperature of 1."""
        return _heat(self.probabilities, 1.0 / self.temperature)

    def with_uncalibrated(self, probabilities: Sequence[float] | npt.NDArray[Any]) -> Self:
        """Return the same prediction with other probabilities, given before calibration."""
        return self.with_probabilities(_heat(probabilities, self.temperature))

    def with_probabilities(self, probabilities: Sequence[float] | npt.NDArray[Any]) -> Self:
        """Return the same prediction with other probabilities, in the order of `labels`."""
        return replace(self, probabilities=tuple(map(float, probabilities)))

    def of_part(
        self,
        probabilities: Sequence[float] | npt.NDArray[Any],
        *,
        length_s: float,
        intensity: float | None,
    ) -> Self:
        """Return the prediction of a part of the recording that is speech as a whole.

        Args:
            probabilities: As in `with_probabilities`.
            length_s: Length of the part.
            intensity: Its intensity.
        """
        length_s = round(length_s, 3)
        return replace(
            self.with_probabilities(probabilities),
            duration_s=length_s,
            speech_start_s=0.0,
            speech_end_s=length_s,
            timings_ms={},
            intensity=intensity,
        )

    def ranked(self) -> tuple[tuple[str, float], ...]:
        """Return pairs of label and probability, the most probable first."""
        pairs = zip(self.labels, self.probabilities, strict=True)
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, as the API and the command line show them."""
        return {
            "emotion": self.emotion,
            "confidence": self.confidence,
            "certain": self.certain,
            "intensity": self.intensity,
            "probabilities": dict(zip(self.labels, self.probabilities, strict=True)),
            "duration_s": self.duration_s,
            "speech_start_s": self.speech_start_s,
            "speech_end_s": self.speech_end_s,
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
            "timings_ms": dict(self.timings_ms),
            "model": self.model,
        }


def _heat(
    probabilities: Sequence[float] | npt.NDArray[Any], temperature: float
) -> npt.NDArray[np.float64]:
    """Return (n_labels,) probabilities whose logits are divided by a temperature."""
    raised = np.asarray(probabilities, dtype=np.float64) ** (1.0 / temperature)
    return np.asarray(raised / raised.sum())


def mean_intensity(intensities: Sequence[float | None]) -> float | None:
    """Return the mean of `Prediction.intensity` over windows; None where one of them has none."""
    known = [intensity for intensity in intensities if intensity is not None]
    return sum(known) / len(known) if known and len(known) == len(intensities) else None


@dataclass(frozen=True, slots=True)
class Window:
    """Emotions of one window of a recording.

    Attributes:
        start_s: Start in the recording.
        end_s: End in the recording.
        probabilities: One a label, in the model's order.
        intensity: As in `Prediction`.
    """

    start_s: float
    end_s: float
    probabilities: tuple[float, ...]
    intensity: float | None = None

    def emotion(self, labels: Sequence[str]) -> str:
        """Return the most probable of the model's labels."""
        return labels[self.probabilities.index(max(self.probabilities))]


@dataclass(frozen=True, slots=True)
class Analysis:
    """A prediction with what it was computed from, for drawing and explaining.

    Attributes:
        waveform: (n_samples,) float32, mono, as recorded.
        sample_rate_hz: Its rate.
        features: (n_frames, n_features) of the analysed part.
        windows: Its windows, whose mean is the prediction; a short recording has one.
        prediction: Emotions of the whole recording.
        is_whole: Whether windows and prediction are those of the whole recording, not of a part.
    """

    waveform: Waveform
    sample_rate_hz: int
    features: Features
    windows: tuple[Window, ...]
    prediction: Prediction
    is_whole: bool = True

    def timeline(self) -> dict[str, Any]:
        """Return plain JSON types, for each emotion a list over the windows."""
        columns = zip(*(window.probabilities for window in self.windows), strict=True)
        return {
            "start_s": [window.start_s for window in self.windows],
            "end_s": [window.end_s for window in self.windows],
            "probabilities": dict(zip(self.prediction.labels, map(list, columns), strict=True)),
            "intensity": [window.intensity for window in self.windows],
        }
