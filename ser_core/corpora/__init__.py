"""The corpora by name, one module each."""

from collections.abc import Iterator
from pathlib import Path

from ser_core.corpora.ased import ASED
from ser_core.corpora.base import AUDIO_SUFFIXES, Archive, Clip, Corpus, NameParts, Sex
from ser_core.corpora.crema_d import CREMA_D
from ser_core.corpora.emo_db import EMO_DB
from ser_core.corpora.emospeech import EMOSPEECH
from ser_core.corpora.jl_corpus import JL_CORPUS
from ser_core.corpora.korean import KOREAN
from ser_core.corpora.nemo import NEMO
from ser_core.corpora.ravdess import RAVDESS, RAVDESS_SONG
from ser_core.corpora.savee import SAVEE
from ser_core.corpora.tess import TESS
from ser_core.corpora.turev import TUREV

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        RAVDESS, RAVDESS_SONG, TESS, CREMA_D, NEMO, ASED, TUREV, KOREAN, EMOSPEECH,
        SAVEE, JL_CORPUS, EMO_DB,
    )
}  # fmt: skip


def read_emotion(path: Path) -> str | None:
    """Return the emotion in a file name that follows any of the corpora.

    Args:
        path: File name, with the folder above it, which is the speaker in SAVEE.

    Returns:
        One of `ser_core.labels.LABELS`; None for any other name or emotion.
    """
    return next(_emotions_in(path), (None, None))[0]


def read_speaker(path: Path) -> str | None:
    """Return the speaker in such a file name, see `read_emotion`; None for any other."""
    return next(_emotions_in(path), (None, None))[1]


def _emotions_in(path: Path) -> Iterator[tuple[str, str]]:
    """Yield emotion and speaker for each corpus whose names a file name follows."""
    for corpus in CORPORA.values():
        parts = corpus.parse(corpus.clip_name(path))
        if parts is not None and parts.emotion_code in corpus.emotions:
            yield corpus.emotions[parts.emotion_code], parts.speaker


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
    "read_speaker",
]
