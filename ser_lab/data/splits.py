"""Tables of clips, and the speakers of each split."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from ser_core.corpora import CORPORA, Clip
from ser_core.errors import CorpusError
from ser_lab.data.tables import EXPORT, clips_from_csv, corpus_of

COLUMNS = (
    "path", "corpus", "speaker", "sex", "emotion", "intensity", "statement",
    "repetition", "modality", "channel", "split",
)  # fmt: skip
"""Columns of a table of clips; `split` is `train`, `development` or `test`."""
SUBSET_COLUMNS = COLUMNS[1:-1]
"""Columns by which `choose_subset` chooses clips."""


@dataclass(frozen=True, slots=True)
class SpeakerSplit:
    """Speakers held out from training.

    Attributes:
        test: Test speakers, as `corpus/speaker`.
        development: Speakers whose clips choose the epoch and the temperature.
    """

    test: tuple[str, ...]
    development: tuple[str, ...]


def speakers_of(corpus: str, names: Iterable[str | int]) -> tuple[str, ...]:
    """Return speakers as tables name them, `corpus/speaker`; those of song are RAVDESS's."""
    return tuple(f"{corpus}/{name}" for name in names)


RAVDESS_FOLDS: tuple[tuple[str, ...], ...] = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)
"""The six actor folds of RAVDESS speech. Source: Ma et al. 2024, EmoBox."""

RAVDESS_5FOLDS: tuple[tuple[str, ...], ...] = (
    ("02", "05", "14", "15", "16"),
    ("03", "06", "07", "13", "18"),
    ("10", "11", "12", "19", "20"),
    ("08", "17", "21", "23", "24"),
    ("01", "04", "09", "22"),
)
"""Five actor folds of RAVDESS speech. Source: Krasnoproshin and Vashkevich 2026, ResLSTM-SA."""

CREMA_D_SPLIT = SpeakerSplit(
    test=speakers_of(
        "crema-d",
        (1004, 1006, 1007, 1011, 1016, 1018, 1029, 1045, 1049, 1050,
         1055, 1056, 1058, 1061, 1066, 1070, 1074, 1077, 1091),
    ),
    development=speakers_of(
        "crema-d",
        (1005, 1009, 1013, 1026, 1030, 1032, 1036, 1038, 1041, 1048,
         1051, 1052, 1069, 1088, 1089),
    ),
)  # fmt: skip
"""Actors of CREMA-D held out from every model of this project."""

SHIPPED_SPLIT = SpeakerSplit(
    test=speakers_of("ravdess", RAVDESS_FOLDS[0]),
    development=speakers_of("ravdess", RAVDESS_FOLDS[2]),
)
"""Held out from every shipped model that is trained on RAVDESS."""


READING = "librispeech"
"""Folder of recordings of reading aloud, beside the corpora: one clip a reader, no emotions."""


def split_readings(data: Path) -> tuple[list[Path], list[Path]]:
    """Return the readings to train on and those to test on, every other reader; none may be there.

    Args:
        data: Folder that holds a folder for each corpus, or a table of recordings.
    """
    folder = data / READING
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return paths[::2], paths[1::2]


def shipped_split(corpora: Sequence[str]) -> SpeakerSplit:
    """Return the speakers held out from a shipped model that is trained on some corpora."""
    test: tuple[str, ...] = ()
    development: tuple[str, ...] = ()
    for corpus, split in {"ravdess": SHIPPED_SPLIT, "crema-d": CREMA_D_SPLIT}.items():
        if corpus in corpora:
            test, development = (*test, *split.test), (*development, *split.development)
    return SpeakerSplit(test, development)


def is_table(data: Path) -> bool:
    """Return whether data are a table of recordings, not a folder of corpora.

    Raises:
        CorpusError: They are another kind of file.
    """
    if data.suffix.lower() in (".csv", EXPORT):
        return True
    if data.is_file():
        raise CorpusError(
            f"{data} is neither a folder of corpora nor a .csv table nor Label Studio's .json. "
            "Save a table as CSV in UTF-8, with commas between the cells."
        )
    return False


def list_clips(data: Path, corpora: Iterable[str]) -> pd.DataFrame:
    """List the clips of some corpora.

    Args:
        data: Folder that holds a folder for each corpus; or a table of recordings, which is
            one corpus, see `clips_from_csv` and `corpus_of`.
        corpora: Names of corpora.

    Returns:
        A table with `COLUMNS` but for `split`, in the order of corpora and file names.

    Raises:
        CorpusError: A corpus is unknown or not there.
    """
    clips: list[Clip] = []
    for name in corpora:
        if is_table(data) and name == corpus_of(data):
            clips += clips_from_csv(data)
        elif name in CORPORA and not is_table(data):
            clips += CORPORA[name].find_clips(data)
        else:
            raise CorpusError(_not_there(name, data))
    return pd.DataFrame([asdict(clip) for clip in clips], columns=list(COLUMNS[:-1]))


def choose_subset(table: pd.DataFrame, subset: Mapping[str, str]) -> pd.DataFrame:
    """Return the clips of a table that have some values.

    Args:
        table: As from `list_clips`.
        subset: Value by column, such as `{"repetition": "first"}`; all must hold.

    Raises:
        CorpusError: A column is unknown, or no clip has these values.
    """
    for column, value in subset.items():
        if column not in SUBSET_COLUMNS:
            raise CorpusError(
                f"{column!r} is not a column of clips; known: {', '.join(SUBSET_COLUMNS)}."
            )
        rows = table[table[column] == value]
        if rows.empty:
            known = ", ".join(sorted(filter(None, table[column].unique()))) or "none"
            raise CorpusError(f"No clip has the {column} {value!r}; there are: {known}.")
        table = rows
    return table


def _not_there(name: str, data: Path) -> str:
    table = name if name.endswith(".csv") else f"{name}.csv"
    if not is_table(data):
        return (
            f"{name!r} is not a corpus; known: {', '.join(CORPORA)}. If it is a table of your own, "
            f"such as a model was trained on, name {table} with --data."
        )
    expected = f"the folder that contains {name}" if name in CORPORA else table
    return (
        f"The clips of {name} are needed, and {data} is a table of other recordings. Name "
        f"{expected} with --data; a table that was renamed needs its name back."
    )


def tabulate_clips(data: Path, corpora: Sequence[str], split: SpeakerSplit) -> pd.DataFrame:
    """List the clips of some corpora with their splits: `list_clips` with all `COLUMNS`.

    Raises:
        CorpusError: A corpus is unknown or not there, or a speaker to be held out has
            no clip.
    """
    table = list_clips(data, corpora)
    if absent := set(split.test + split.development) - set(table["speaker"]):
        raise CorpusError(
            f"No clip of {sorted(absent)} in {data}; the split needs them for testing."
        )
    held_out = dict.fromkeys(split.development, "development") | dict.fromkeys(split.test, "test")
    table["split"] = table["speaker"].map(held_out).fillna("train")
    return table[list(COLUMNS)]
