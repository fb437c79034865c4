"""Segments of a recording: who speaks when, on which channel, and with which emotion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from ser_core.labels import column_of
from ser_core.prediction import Prediction
from ser_core.quality import QualityWarning

PLAIN = ("start_s", "end_s", "speaker", "channel", "text")
"""Attributes of a segment that have the same form in JSON and in a table."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording, and what is known about it.

    Raises a `ValueError` unless it ends after it starts.

    Attributes:
        start_s: Start in the recording.
        end_s: End in the recording.
        speaker: Name of the speaker.
        channel: Channel of the recording, from 0; None for their mix.
        text: What is said.
        prediction: Its emotions, with times inside the segment; None where it has not been, or
            cannot be, analysed.
        warnings: Faults of the segment, or the reason why it cannot be analysed.
    """

    start_s: float
    end_s: float
    speaker: str | None = None
    channel: int | None = None
    text: str | None = None
    prediction: Prediction | None = None
    warnings: tuple[QualityWarning, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.start_s < self.end_s:  # NaN fails this, too
            raise ValueError(f"a segment from {self.start_s:g} s to {self.end_s:g} s has no sound")

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Build a segment from the result of `to_dict`; all but the times may be missing.

        Raises:
            KeyError: A time is missing.
            ValueError: The times contradict each other.
        """
        prediction = stored.get("prediction")
        return cls(
            float(stored["start_s"]),
            float(stored["end_s"]),
            speaker=stored.get("speaker"),
            channel=stored.get("channel"),
            text=stored.get("text"),
            prediction=None if prediction is None else Prediction.from_dict(prediction),
            warnings=tuple(QualityWarning(**warning) for warning in stored.get("warnings", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores the segment."""
        stored = {name: getattr(self, name) for name in PLAIN}
        if prediction := self.prediction:
            calibration = ("weights", "certain_from", "temperature")
            rest = {name: getattr(prediction, name) for name in calibration}
            stored["prediction"] = prediction.to_dict() | rest
        else:
            stored["prediction"] = None
        return stored | {
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings]
        }

    def to_row(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return one flat row of a table, with a column for the probability of each label."""
        row = {name: getattr(self, name) for name in PLAIN}
        for name in ("emotion", "confidence", "certain"):
            row[name] = self.prediction and getattr(self.prediction, name)
        probabilities = dict(self.prediction.ranked()) if self.prediction else {}
        row |= {column_of(label): probabilities.get(label) for label in labels}
        return row | {"warnings": " ".join(warning.code for warning in self.warnings)}
