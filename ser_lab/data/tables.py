"""Tables beside recordings: one's own clips, and CREMA-D's votes and actors."""

import csv
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import pandas as pd

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.corpora import CORPORA, CREMA_D, Clip, Sex
from ser_core.corpora.base import UNKNOWN_SPEAKER
from ser_core.errors import AudioError, CorpusError
from ser_core.label_studio import read_tasks
from ser_core.labels import LABELS, comparable_name, is_emotion_name, plain_name

logger = logging.getLogger(__name__)

EXPORT = ".json"
"""Suffix of a table that Label Studio exported."""
_NEEDED = ("path", "label", "speaker")
_SEXES: dict[str, Sex] = {"": "unknown", "female": "female", "male": "male", "unknown": "unknown"}
_N_SHOWN = 10
"""Most faults in a message."""
_MAX_SHOWN = 80
"""Most characters of a cell in a message."""
_REST = ""
"""Key of the cells that have no column."""
_HOMES = ("crema_d", "CREMA-D")
_VOTES = {"A": "angry", "D": "disgust", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad"}
"""Columns of the publisher's tabulatedVotes.csv."""
_SOUND_ALONE = 1
"""The publisher's code for clips that were played without video."""
_MISNAMED = {"1040_ITH_SAD_XX": "1040_ITH_SAD_X"}
"""Names in the table of votes that differ from the file names."""


def corpus_of(csv_path: Path) -> str:
    """Return a table's name as a corpus, with its suffix where a published corpus has the name."""
    return f"{csv_path.stem}.csv" if csv_path.stem in CORPORA else csv_path.stem


def clips_from_csv(csv_path: Path, *, needs_speaker: bool = True) -> list[Clip]:
    """Read a table of recordings.

    Labels and speakers are brought into normal form C with single spaces. Speakers that differ
    only in case or by invisible characters are one, under the spelling that comes first, so that
    no one is in two splits; the log says which.

    Args:
        csv_path: UTF-8, the first line naming the columns: `path`, absolute or relative
            to the table; `label`, one of `LABELS` or any other name; `speaker`,
            any name; and, where known, `sex`, female or male. Other columns are ignored. Or an
            export of Label Studio, see `read_tasks`.
        needs_speaker: Whether each row must have a speaker, as for training; where it is not
            given, it is `UNKNOWN_SPEAKER`.

    Returns:
        The clips in the table's order; see `corpus_of` for their corpus.

    Raises:
        CorpusError: The table cannot be read, lacks a column or has no row; or some
            rows have no valid label, no speaker, a file that does not exist, or one that is
            listed before: the message names them by line.
    """
    corpus = corpus_of(csv_path)
    clips: list[Clip] = []
    faults: list[str] = []
    listed: set[Path] = set()
    spellings: dict[str, dict[str, None]] = {}  # of each speaker, in order
    needed = _NEEDED if needs_speaker else _NEEDED[:2]
    for line, row in read_rows(csv_path, needed):
        path = csv_path.parent / row["path"]
        if not (row["speaker"] or needs_speaker):
            row["speaker"] = UNKNOWN_SPEAKER
        found = _faults(row, is_file=os.path.isfile(path), is_repeated=path in listed)  # noqa: PTH113
        place = "task" if is_export(csv_path) else "line"
        faults += [f"{place} {line}: {fault}" for fault in found]
        listed.add(path)
        if not found:
            same = spellings.setdefault(comparable_name(row["speaker"]), {})
            same[row["speaker"]] = None
            clips.append(_clip(row | {"speaker": plain_name(next(iter(same)))}, path, corpus))
    for same in spellings.values():
        if len(same) > 1:
            _warn_once(f"{csv_path}: {' and '.join(map(repr, same))} are taken as one speaker.")
    if faults:
        more = f"; and {len(faults) - _N_SHOWN} more" if len(faults) > _N_SHOWN else ""
        raise CorpusError(
            f"{csv_path}: {'; '.join(faults[:_N_SHOWN])}{more}. "
            f"Each row needs a file, {'a speaker, ' if needs_speaker else ''}and a label of "
            "letters, digits, spaces and hyphens, 40 at most."
        )
    if not clips:
        raise CorpusError(f"{csv_path} has no rows; expected one row per recording.")
    return clips


def readable_clips(clips: Sequence[Clip], config: AudioConfig) -> list[Clip]:
    """Return the clips whose files can be decoded; the log lists the others with the reason.

    Raises:
        CorpusError: There are none.
    """
    paths = [clip.path for clip in clips]
    with ThreadPoolExecutor() as pool:
        reasons = [*pool.map(partial(why_unreadable, config=config), paths)]
    for path, reason in zip(paths, reasons, strict=True):
        if reason:
            logger.warning("%s is left out: %s", path, reason)
    readable = [clip for clip, reason in zip(clips, reasons, strict=True) if not reason]
    if not readable:
        raise CorpusError(f"None of {len(clips)} recordings can be read; the first: {reasons[0]}")
    return readable


def why_unreadable(path: Path, config: AudioConfig) -> str:
    """Return why a file cannot be decoded; empty if it can."""
    try:
        load_audio(path, config)
    except AudioError as error:
        return str(error)
    return ""


@cache
def _warn_once(message: str) -> None:
    """Log a warning about a table, which a training reads several times."""
    logger.warning("%s", message)


def read_rows(
    csv_path: Path, needed: Sequence[str], *, renamed: Mapping[str, str] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row of a table with the number of its first line, or of its task.

    Args:
        csv_path: UTF-8, the first line naming the columns; or an export of Label Studio.
        needed: Columns that must be there, once.
        renamed: Names of this module for columns with other names.

    Yields:
        Cells by column, stripped and absent ones empty, those of `path`, `label` and `speaker` also
        where the table has no such column; the label in normal form C with single spaces.

    Raises:
        CorpusError: The table cannot be read, or a column is missing.
    """
    if is_export(csv_path):
        for number, task in read_tasks(csv_path):
            yield number, _row([*task], [cell.strip() for cell in task.values()])
        return
    line, renamed = 0, renamed or {}
    try:
        with csv_path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [cell.strip() for cell in next(reader, ())]
            columns = [renamed.get(name, name) for name in header]
            _check_columns(csv_path, columns, needed)
            line = reader.line_num + 1
            for cells in reader:
                if cells:  # not an empty line
                    yield line, _row(columns, [cell.strip() for cell in cells])
                line = reader.line_num + 1
    except csv.Error as error:
        raise CorpusError(
            f"{csv_path}, line {max(1, line)}: {error}. Is there a stray quote? A quote inside a "
            "cell is written twice, and the cell has quotes around it."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{csv_path} cannot be read as a table in UTF-8: {error}. "
            f"A CSV with the columns {', '.join(needed)} is needed."
        ) from error


def is_export(table: Path) -> bool:
    """Return whether a table is an export of Label Studio."""
    return table.suffix.lower() == EXPORT


def _check_columns(csv_path: Path, columns: Sequence[str], needed: Sequence[str]) -> None:
    if wrong := [column for column in needed if columns.count(column) != 1]:
        raise CorpusError(
            f"{csv_path} has the columns {', '.join(columns) or 'none'}; "
            f"{', '.join(wrong)} must be among them once, separated by commas."
        )


def _row(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    row = dict.fromkeys((*_NEEDED, *columns), "") | dict(zip(columns, cells, strict=False))
    return row | {"label": plain_name(row["label"]), _REST: ",".join(cells[len(columns) :])}


def _faults(row: dict[str, str], *, is_file: bool, is_repeated: bool) -> list[str]:
    faults = []
    if any("\n" in row[column] or "\r" in row[column] for column in _NEEDED):
        return ["a quote begins a cell that goes on over several lines"]
    if row[_REST].strip(","):
        return [f"no column for {row[_REST]!r}; a cell with a comma needs quotes around it"]
    if not is_file:
        faults.append(f"no file {_shortened(row['path'])!r}")
    if is_repeated:
        faults.append(f"{_shortened(row['path'])!r} is listed again")
    if not is_emotion_name(row["label"]):
        faults.append(f"no fit label {_shortened(row['label'])!r}" if row["label"] else "no label")
    if not row["speaker"]:
        faults.append("no speaker")
    if row.get("sex", "") not in _SEXES:
        faults.append(f"sex {row['sex']!r} is neither female nor male nor empty")
    return faults


def _shortened(cell: str) -> str:
    return cell if len(cell) <= _MAX_SHOWN else f"{cell[:_MAX_SHOWN]}…"


def _clip(row: dict[str, str], path: Path, corpus: str) -> Clip:
    return Clip(
        path=path,
        corpus=corpus,
        speaker=f"{corpus}/{row['speaker']}",
        sex=_SEXES[row.get("sex", "")],
        emotion=row["label"],
        intensity="",
        statement="",
    )


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
