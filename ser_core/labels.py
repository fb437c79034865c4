"""The eight emotions: their order, names, colours and signs.

The order is RAVDESS's own (codes 01 to 08) and is the column order of every
probability of the models that ship. A model trained on somebody's own recordings may name
other emotions.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Emotion:
    """One emotion as the model names it and the page shows it.

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
"""What an emotion may be called: letters, digits, spaces and hyphens, at most 40."""


def find_emotion(name: str) -> Emotion:
    """An emotion by its name; one that is none of ours has a sign and a colour, too."""
    return BY_NAME.get(name) or Emotion(
        name, "🔹", f"hsl({zlib.crc32(name.encode()) % 360} 45% 50%)"
    )


def is_emotion_name(name: str) -> bool:
    """Whether an emotion may be called so, on the page, in tables and in files."""
    return _NAME.fullmatch(name) is not None


def order_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Each name once, ours first in their order, then the others by the alphabet."""
    others = sorted(set(names) - set(LABELS))
    return (*(label for label in LABELS if label in names), *others)
