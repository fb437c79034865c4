"""The corpora by name, each in a module of its own."""

from ser_core.training.corpora.base import AUDIO_SUFFIXES, Clip, Corpus, NameParts
from ser_core.training.corpora.ravdess import RAVDESS
from ser_core.training.corpora.tess import TESS

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in (RAVDESS, TESS)}

__all__ = ["AUDIO_SUFFIXES", "CORPORA", "Clip", "Corpus", "NameParts"]
