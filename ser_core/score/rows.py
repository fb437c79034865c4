"""Rows of answers: one a clip, or one a window."""

from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa

from ser_core.prediction import Analysis

Rows = Literal["clips", "windows"]
CLIP = "clip"
"""The column with a clip's name, by which it is known whether it is done."""


def schema_of(rows: Rows, labels: Sequence[str]) -> pa.Schema:
    """The columns of every part.

    Args:
        rows: One row a clip, or one a window.
        labels: The model's emotions; each is a column of probabilities.
    """
    number, text = pa.float32(), pa.string()
    answer = [("emotion", text), ("confidence", number), *[(label, number) for label in labels]]
    tail = [("model", text), ("error", text)]
    if rows == "windows":
        return pa.schema([(CLIP, text), ("start_s", number), ("end_s", number), *answer, *tail])
    told = [("duration_s", number), ("speech_start_s", number), ("speech_end_s", number)]
    warnings = [("certain", pa.bool_()), ("warnings", pa.list_(text))]
    return pa.schema([(CLIP, text), *answer, *told, *warnings, *tail])


def rows_of(name: str, analysis: Analysis, rows: Rows) -> list[dict[str, Any]]:
    """What was heard in one clip.

    Args:
        name: What rows call it.
        analysis: The answer.
        rows: One row a clip, or one a window.
    """
    heard = analysis.prediction
    told: dict[str, Any] = {CLIP: name, "model": heard.model}
    if rows == "windows":
        return [
            told
            | {"start_s": window.start_s, "end_s": window.end_s}
            | _answer(heard.labels, window.probabilities)
            for window in analysis.windows
        ]
    return [
        told
        | _answer(heard.labels, heard.probabilities)
        | {
            "duration_s": heard.duration_s,
            "speech_start_s": heard.speech_start_s,
            "speech_end_s": heard.speech_end_s,
            "certain": heard.certain,
            "warnings": [warning.code for warning in heard.warnings],
        }
    ]


def refused(name: str, reason: str) -> list[dict[str, Any]]:
    """The row of a clip that cannot be judged: its name and the reason, and nothing else."""
    return [{CLIP: name, "error": reason}]


def _answer(labels: Sequence[str], probabilities: Sequence[float]) -> dict[str, Any]:
    shares = dict(zip(labels, probabilities, strict=True))
    emotion = max(shares, key=shares.__getitem__)
    return {"emotion": emotion, "confidence": shares[emotion]} | shares
