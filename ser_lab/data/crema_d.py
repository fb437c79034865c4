"""Tables of CREMA-D beside its clips: votes of listeners, and demographics of the actors."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ser_core.corpora import CREMA_D
from ser_core.errors import CorpusError
from ser_core.labels import LABELS

_HOMES = ("crema_d", "CREMA-D")
_VOTES = {"A": "angry", "D": "disgust", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad"}
"""Columns of the publisher's tabulatedVotes.csv."""
_SOUND_ALONE = 1
"""The publisher's code for clips that were played without video."""
_MISNAMED = {"1040_ITH_SAD_XX": "1040_ITH_SAD_X"}
"""Names in the table of votes that differ from the file names."""


def read_votes(data: Path) -> pd.DataFrame:
    """Read the votes of listeners on each clip, from its sound alone.

    Args:
        data: Folder that holds a folder for each corpus. Read is the publisher's
            `processedResults/tabulatedVotes.csv`, or `clips.csv` with a column
            `votes_EMOTION` for each emotion.

    Returns:
        (n_clips, n_labels) int64, a row for each clip with votes, by clip name, a column for
        each of `LABELS`; calm and surprised were not offered.

    Raises:
        CorpusError: The table is missing or has other columns.
    """
    path = _find_table(data, "clips.csv", "processedResults/tabulatedVotes.csv")
    if path.name == "clips.csv":
        columns = {f"votes_{emotion}": emotion for emotion in _VOTES.values()}
        table = _read_table(path, ["name", *columns]).set_index("name")
    else:
        columns = _VOTES
        table = _read_table(path, ["Unnamed: 0", "fileName", *columns])
        # A row is numbered 100,000 times how it was shown, plus the clip's number.
        table = table[table["Unnamed: 0"] // 100_000 == _SOUND_ALONE].set_index("fileName")
    votes = table[list(columns)].rename(columns=columns, index=_MISNAMED)
    votes.index.name = "name"
    return votes.dropna().reindex(columns=list(LABELS), fill_value=0).astype("int64")


def read_actors(data: Path) -> pd.DataFrame:
    """Read the demographics of the actors.

    Args:
        data: Folder that holds a folder for each corpus. Read is the publisher's
            `VideoDemographics.csv`, or the same as `actors.csv`.

    Returns:
        A row for each speaker, by name as in `Clip.speaker`; columns `age` in years,
        `sex` as in `Clip.sex`, `race` and `ethnicity` in the publisher's words.

    Raises:
        CorpusError: The table is missing or has other columns.
    """
    columns = ["Age", "Sex", "Race", "Ethnicity"]
    path = _find_table(data, "actors.csv", "VideoDemographics.csv")
    table = _read_table(path, ["ActorID", *columns])
    table.index = pd.Index([f"{CREMA_D.name}/{actor}" for actor in table["ActorID"]])
    actors = table[columns].rename(columns=str.lower)
    actors["sex"] = actors["sex"].str.lower()
    return actors


def _find_table(data: Path, *names: str) -> Path:
    for path in (data / home / name for home in _HOMES for name in names):
        if path.is_file():
            return path
    raise CorpusError(
        f"Neither {' nor '.join(names)} is in {' or '.join(str(data / home) for home in _HOMES)}. "
        f"Download it from {CREMA_D.source}."
    )


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read as a table: {error}") from error
    if missing := [column for column in columns if column not in table]:
        raise CorpusError(
            f"{path} has no column {', '.join(missing)}. Download it again from {CREMA_D.source}."
        )
    return table
