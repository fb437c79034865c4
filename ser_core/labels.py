"""The eight emotions: their order, names, colours and signs.

The order is RAVDESS's own (codes 01 to 08) and is the column order of every
probability in this project.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Emotion:
    """One emotion as the model names it and the page shows it.

    Attributes:
        name: Lower-case English name, the key in every table and JSON answer.
        sign: An emoji, so that colour is never the only cue.
        colour: A CSS hex colour that reads on light and on dark ground.
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
