"""Corpora from their publishers into the data folder, and a check of what lies there."""

from ser_core.training.fetch.check import CorpusState, check_corpora
from ser_core.training.fetch.place import fetch_corpus, place_corpus
from ser_core.training.fetch.sources import SOURCES, Source, find_source

__all__ = [
    "SOURCES",
    "CorpusState",
    "Source",
    "check_corpora",
    "fetch_corpus",
    "find_source",
    "place_corpus",
]
