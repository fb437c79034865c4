"""What of each corpus is there, counted against its publisher."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_core.corpora import CORPORA, Corpus
from ser_core.errors import CorpusError

STUB_BYTES = 200
"""Files smaller than this hold no sound: empty ones, and pointers of Git LFS."""


@dataclass(frozen=True, slots=True)
class CorpusState:
    """How much of a corpus a data folder holds.

    Attributes:
        corpus: Which.
        n_clips: Files named as its clips, each name counted once.
        n_stubs: How many of them are too small to hold sound.
    """

    corpus: Corpus
    n_clips: int
    n_stubs: int

    @property
    def whole(self) -> bool:
        """Whether every clip of the publisher's is there, and none is a stub."""
        return self.n_clips >= self.corpus.n_clips and not self.n_stubs

    def tell(self) -> str:
        """The same in words, with what to do."""
        if not self.n_clips:
            return "not found"
        if self.n_stubs:
            return f"{self.n_stubs:,} without audio: empty, or Git LFS pointers (run git lfs pull)"
        missing = self.corpus.n_clips - self.n_clips
        return "complete" if missing <= 0 else f"{missing:,} missing"


def check_corpora(data: Path, names: Sequence[str] = ()) -> list[CorpusState]:
    """Count the clips of corpora.

    Args:
        data: Folder that holds a folder for each corpus.
        names: Names of corpora; all where empty.

    Raises:
        CorpusError: A name is unknown.
    """
    if unknown := [name for name in names if name not in CORPORA]:
        raise CorpusError(f"{unknown[0]!r} is not a corpus; known: {', '.join(CORPORA)}.")
    return [check_corpus(CORPORA[name], data) for name in names or CORPORA]


def check_corpus(corpus: Corpus, data: Path) -> CorpusState:
    """Count the clips of one corpus; see `check_corpora`."""
    files = corpus.find_files(data).values()
    n_stubs = sum(path.stat().st_size < STUB_BYTES for path in files)
    return CorpusState(corpus, len(files), n_stubs)
