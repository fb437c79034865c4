"""Corpora downloaded from their publishers and installed in the data folder."""

from ser_lab.fetch.place import CorpusState, check_corpora, fetch_corpus, place_corpus
from ser_lab.fetch.sources import SOURCES, Source, find_source

__all__ = [
    "SOURCES",
    "CorpusState",
    "Source",
    "check_corpora",
    "fetch_corpus",
    "find_source",
    "place_corpus",
]
