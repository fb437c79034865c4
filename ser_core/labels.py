"""The eight emotions: their order, names, colours and signs.

The order is that of RAVDESS (codes 01 to 08) and of the columns of the bundled models' output. A
model trained on other recordings may have other emotions.
"""

import unicodedata
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

_JOINERS = "\u200c\u200d"
"""Zero width: Persian, Malayalam and other scripts spell words with them."""
MAX_NAME = 40
"""Longest name of an emotion, in characters."""


def find_emotion(name: str) -> Emotion:
    """Return an emotion by its name, with a sign and a colour also where it is not of the eight."""
    return BY_NAME.get(name) or Emotion(
        name, "🔹", f"hsl({zlib.crc32(name.encode()) % 360} 45% 50%)"
    )


def is_emotion_name(name: str) -> bool:
    """Return whether an emotion may have this name, on the page, in tables and in files.

    Allowed are letters of any script with their marks, digits, spaces, hyphens and underscores, at
    most `MAX_NAME`, the first being a letter, a digit or an underscore.
    """
    return 0 < len(name) <= MAX_NAME and all(
        c == "_"
        or unicodedata.category(c)[0] in "LN"
        or (i > 0 and (c in " -" or c in _JOINERS or unicodedata.category(c)[0] == "M"))
        for i, c in enumerate(name)
    )


def plain_name(name: str) -> str:
    """Return a name in normal form C, with single spaces: what a reader cannot tell apart."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def comparable_name(name: str) -> str:
    """Return a name without case and invisible characters, to find names that mean the same."""
    seen = "".join(c for c in name if unicodedata.category(c) != "Cf")
    return plain_name(unicodedata.normalize("NFC", seen).casefold())


def column_of(label: str) -> str:
    """Return the column of an emotion's probability in tables: CSV, Parquet, rows of the live tab.

    The eight have their names. Any other gets `p_` before it, which no other column starts with, so
    that an emotion named `confidence` or `error` does not replace that column.
    """
    return label if label in BY_NAME else f"p_{label}"


def order_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Return each name once, the eight first in their order, then the others alphabetically."""
    others = sorted(set(names) - set(LABELS))
    return (*(label for label in LABELS if label in names), *others)
