"""The corpora by name."""

from pathlib import Path

from ser_core.corpora.base import AUDIO_SUFFIXES, Archive, Clip, Corpus, NameParts, Sex
from ser_core.corpora.published import CORPORA, CREMA_D


def read_emotion(path: Path) -> str | None:
    """Return the emotion in a file name that follows any of the corpora.

    Args:
        path: File name, with the folder above it, which is the speaker in SAVEE.

    Returns:
        One of `ser_core.labels.LABELS`; None for any other name or emotion.
    """
    for corpus in CORPORA.values():
        parts = corpus.parse(corpus.clip_name(path))
        if parts is not None and parts.emotion in corpus.emotions:
            return corpus.emotions[parts.emotion]
    return None


__all__ = [
    "AUDIO_SUFFIXES",
    "CORPORA",
    "CREMA_D",
    "Archive",
    "Clip",
    "Corpus",
    "NameParts",
    "Sex",
    "read_emotion",
]
