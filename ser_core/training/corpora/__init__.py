"""The corpora by name, each in a module of its own."""

from ser_core.training.corpora.base import AUDIO_SUFFIXES, Archive, Clip, Corpus, NameParts
from ser_core.training.corpora.crema_d import CREMA_D, read_actors, read_votes
from ser_core.training.corpora.emo_db import EMO_DB
from ser_core.training.corpora.jl_corpus import JL_CORPUS
from ser_core.training.corpora.ravdess import RAVDESS
from ser_core.training.corpora.ravdess_song import RAVDESS_SONG
from ser_core.training.corpora.savee import SAVEE
from ser_core.training.corpora.table_corpus import clips_from_csv
from ser_core.training.corpora.tess import TESS

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (RAVDESS, RAVDESS_SONG, TESS, CREMA_D, SAVEE, JL_CORPUS, EMO_DB)
}

__all__ = [
    "AUDIO_SUFFIXES",
    "CORPORA",
    "Archive",
    "Clip",
    "Corpus",
    "NameParts",
    "clips_from_csv",
    "read_actors",
    "read_votes",
]
