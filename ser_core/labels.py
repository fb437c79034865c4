"""The eight emotions: their order, names, colours and signs.

The order is that of RAVDESS (codes 01 to 08) and of the columns of the bundled models' output. A
model trained on other recordings may have other emotions.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Emotion:
    """One emotion, by the model's name and with the page's sign and colour.

    Attributes:
        name: Lower-case English name, the key in every table and JSON answer.
        sign: An emoji, so that colour is never the only cue.
        colour: A CSS colour that reads on light and on dark ground.
    """

    name: str
    sign: str
    colour: str


EMOTIONS: tuple[Emotion, ...] = (
    Emotion("neutral", "😐", "#7c8797"),
    Emotion("calm", "😌", "#2f9e8f"),
    Emotion("happy", "😄", "#d99a00"),
    Emotion("sad", "😢", "#3f78c9"),
    Emotion("angry", "😠", "#d1453b"),
    Emotion("fearful", "😨", "#8a5cc7"),
    Emotion("disgust", "🤢", "#6f8f2d"),
    Emotion("surprised", "😲", "#d65f9c"),
)

LABELS: tuple[str, ...] = tuple(emotion.name for emotion in EMOTIONS)
"""Names in column order."""

BY_NAME: dict[str, Emotion] = {emotion.name: emotion for emotion in EMOTIONS}
"""Emotion by name."""

_NAME = re.compile(r"\w[\w -]{0,39}")
"""Names that an emotion may have: letters, digits, spaces and hyphens, at most 40."""


def find_emotion(name: str) -> Emotion:
    """Return an emotion by its name, with a sign and a colour also where it is not of the eight."""
    return BY_NAME.get(name) or Emotion(
        name, "🔹", f"hsl({zlib.crc32(name.encode()) % 360} 45% 50%)"
    )


def is_emotion_name(name: str) -> bool:
    """Return whether an emotion may have this name, on the page, in tables and in files."""
    return _NAME.fullmatch(name) is not None


def order_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Return each name once, the eight first in their order, then the others alphabetically."""
    others = sorted(set(names) - set(LABELS))
    return (*(label for label in LABELS if label in names), *others)
