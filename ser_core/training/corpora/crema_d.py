"""CREMA-D: 91 actors of many ages and origins, twelve sentences, six emotions, 7,442 clips.

Its publisher also asked listeners what they heard, and says who the actors are:
`read_votes` and `read_actors`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ser_core.errors import CorpusError
from ser_core.labels import LABELS
from ser_core.training.corpora.base import Corpus, NameParts

_NAME = re.compile(
    r"(?P<actor>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<intensity>LO|MD|HI|XX?)"
)
_INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "X": "", "XX": ""}
# fmt: off
_WOMEN = frozenset({
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025,
    1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060,
    1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
})
# fmt: on
"""Actresses, from the publisher's VideoDemographics.csv."""

_HOMES = ("crema_d", "CREMA-D")
_VOTES = {"A": "angry", "D": "disgust", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad"}
"""Columns of the publisher's tabulatedVotes.csv."""
_SOUND_ALONE = 1
"""The publisher's code for clips that were heard and not seen."""
_MISNAMED = {"1040_ITH_SAD_XX": "1040_ITH_SAD_X"}
"""Where the publisher's table of votes and his file names disagree."""


def parse_name(stem: str) -> NameParts | None:
    """Read a name such as `1001_DFA_ANG_XX`.

    Args:
        stem: File name without its suffix.

    Returns:
        Its parts; None for any other file.
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        return None
    return NameParts(
        speaker=match["actor"],
        sex="female" if int(match["actor"]) in _WOMEN else "male",
        emotion_code=match["emotion"],
        intensity=_INTENSITIES[match["intensity"]],
        statement=match["sentence"],
    )


CREMA_D = Corpus(
    name="crema-d",
    title="Crowd-sourced Emotional Multimodal Actors Dataset",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    licence="ODbL-1.0",
    citation=(
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: "
        "Crowd-sourced Emotional Multimodal Actors Dataset. IEEE Transactions on Affective "
        "Computing 5(4): 377-390."
    ),
    # AudioWAV before the rest: the same clips lie beside it as MP3.
    folders=("crema_d/AudioWAV", "crema_d", "CREMA-D/AudioWAV", "CREMA-D", "AudioWAV"),
    emotions={
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fearful",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    },
    parse=parse_name,
)


def read_votes(data: Path) -> pd.DataFrame:
    """Count what listeners heard in each clip, from its sound alone.

    Args:
        data: Folder that holds a folder for each corpus. Read is the publisher's
            `processedResults/tabulatedVotes.csv`, or `clips.csv` with a column
            `votes_EMOTION` for each emotion.

    Returns:
        (n_clips, n_labels) int64, a row for each clip that was judged, by clip name, a
        column for each of `LABELS`; nobody was offered calm or surprised.

    Raises:
        CorpusError: The table is not there or has other columns.
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
    """Who the actors are, as they told the publisher.

    Args:
        data: Folder that holds a folder for each corpus. Read is the publisher's
            `VideoDemographics.csv`, or the same as `actors.csv`.

    Returns:
        A row for each speaker, by name as in `Clip.speaker`; columns `age` in years,
        `sex` as in `Clip.sex`, `race` and `ethnicity` in the publisher's words.

    Raises:
        CorpusError: The table is not there or has other columns.
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
        f"Fetch it from {CREMA_D.source}."
    )


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read as a table: {error}") from error
    if missing := [column for column in columns if column not in table]:
        raise CorpusError(
            f"{path} has no column {', '.join(missing)}. Fetch it anew from {CREMA_D.source}."
        )
    return table
