"""Tables of clips, and who is trained on, developed on and tested on."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from ser_core.errors import CorpusError
from ser_core.training.corpora import CORPORA, Clip

COLUMNS = ("path", "corpus", "speaker", "sex", "emotion", "intensity", "statement", "split")
"""Columns of a table of clips; `split` is `train`, `development` or `test`."""


@dataclass(frozen=True, slots=True)
class SpeakerSplit:
    """Speakers held out from training.

    Attributes:
        test: Speakers of the test, as `corpus/speaker`.
        development: Speakers that choose the epoch and the temperature.
    """

    test: tuple[str, ...]
    development: tuple[str, ...]


RAVDESS_FOLDS: tuple[tuple[str, ...], ...] = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)
"""The six actor folds of RAVDESS speech. Source: Ma et al. 2024, EmoBox."""


def ravdess_speakers(actors: Iterable[str]) -> tuple[str, ...]:
    """Speaker names of RAVDESS actors."""
    return tuple(f"ravdess/{actor}" for actor in actors)


SHIPPED_SPLIT = SpeakerSplit(
    test=ravdess_speakers(RAVDESS_FOLDS[0]), development=ravdess_speakers(RAVDESS_FOLDS[2])
)
"""Held out from every model that this project ships."""


def tabulate_clips(data: Path, corpora: Sequence[str], split: SpeakerSplit) -> pd.DataFrame:
    """List the clips of some corpora and say which side each is on.

    Args:
        data: Folder that holds a folder for each corpus.
        corpora: Names of corpora.
        split: Speakers held out; everyone else is trained on.

    Returns:
        A table with `COLUMNS`, in the order of corpora and file names.

    Raises:
        CorpusError: A corpus is unknown or not there, or a speaker to be held out has
            no clip.
    """
    clips: list[Clip] = []
    for name in corpora:
        if name not in CORPORA:
            raise CorpusError(f"{name!r} is no corpus; known: {', '.join(CORPORA)}.")
        clips += CORPORA[name].find_clips(data)
    table = pd.DataFrame([asdict(clip) for clip in clips])
    if absent := set(split.test + split.development) - set(table["speaker"]):
        raise CorpusError(f"No clip of {sorted(absent)} in {data}; the split holds them out.")
    side = dict.fromkeys(split.development, "development") | dict.fromkeys(split.test, "test")
    table["split"] = [side.get(speaker, "train") for speaker in table["speaker"]]
    return table[list(COLUMNS)]
