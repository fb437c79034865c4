"""The output folder of an archive: Parquet parts, each written whole or not at all."""

import hashlib
import io
import json
import logging
import re
import sqlite3
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from pyarrow import parquet

from ser_core.errors import SerError
from ser_core.labels import column_of
from ser_core.model.manifest import Manifest
from ser_core.paths import writing
from ser_core.prediction import Analysis
from ser_core.predictor import AT_ONCE
from ser_core.score.sources import MEMBER, ScoreError, reach
from ser_core.segments import PLAIN, Segment

logger = logging.getLogger(__name__)

Rows = Literal["clips", "windows", "utterances"]
Row = dict[str, Any]
CLIP = "clip"
"""Column with the clip's name, by which finished clips are found."""
SOURCE = "source"
"""Column with size, time and SHA-256 of the file, and SHA-256 of the segments beside it."""
PART = re.compile(r"part-[0-9a-f]{24}\.parquet")
"""Names of parts; other files are neither read nor removed."""
PART_KEY = b"moodmirror"
"""Metadata of a part: digests of the settings and of the rows, separated by a space."""
SETTINGS = "_moodmirror.json"
"""Settings of the parts and the run that may write; Parquet readers skip names with `_`."""
FINISHED = "_finished"
"""Folder with one file for each shard that was read to its end."""
UNFINISHED = "_unfinished-"
"""Prefix of a part that is being written."""
CACHE_KB = 64_000
"""Memory of the table of written clips; the rest of it is in a temporary file."""


class SupersededError(ScoreError):
    """Another run has taken over the output folder."""


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """Settings of an archive job.

    Attributes:
        rows: One row per clip, per window, or per utterance; see `Worker`.
        denoise: Whether to reduce background noise first.
        speakers: Who speaks, as in `segment_speakers`; for rows per utterance.
        relative: Whether answers adapt to each speaker's voice within a recording.
        clips_per_part: Maximum number of clips per part, which a killed worker has to repeat.
        batch_windows: Windows per call of the model.
    """

    rows: Rows = "clips"
    denoise: bool = False
    speakers: str = "none"
    relative: bool = False
    clips_per_part: int = 500
    batch_windows: int = AT_ONCE


class WrittenClip(NamedTuple):
    """A clip in the parts.

    Attributes:
        name: Its name.
        part: Name of the part with its rows.
        source: As in `SOURCE`; empty where it is unknown.
        is_error: Whether its row is an error.
    """

    name: str
    part: str
    source: str
    is_error: bool


class Written(Set[str]):
    """Names of the clips in the parts: a table that is on disk beyond `CACHE_KB`."""

    def __init__(self) -> None:
        """Open an empty table."""
        self._table = sqlite3.connect("", isolation_level=None)  # a file that goes when closed
        self._table.execute("PRAGMA journal_mode = OFF")
        self._table.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        self._table.execute(
            "CREATE TABLE clips (name TEXT PRIMARY KEY, part TEXT, source TEXT, is_error INTEGER) "
            "WITHOUT ROWID"
        )

    def __contains__(self, name: object) -> bool:
        return bool(self.find(str(name)))

    def __iter__(self) -> Iterator[str]:
        return (name for (name,) in self._table.execute("SELECT name FROM clips"))

    def __len__(self) -> int:
        return int(self._table.execute("SELECT count(*) FROM clips").fetchone()[0])

    def add(self, part: str, rows: Iterable[Row]) -> None:
        """Add the clips of a part."""
        clips = [
            WrittenClip(row[CLIP], part, row.get(SOURCE) or "", row.get("error") is not None)
            for row in rows
        ]
        self._change("INSERT OR REPLACE INTO clips VALUES (?, ?, ?, ?)", clips)

    def discard(self, names: Iterable[str]) -> None:
        """Remove clips."""
        self._change("DELETE FROM clips WHERE name = ?", [(name,) for name in names])

    def find(self, name: str, *, with_members: bool = False) -> list[WrittenClip]:
        """Return the clip of this name, if it has rows, and those of the shard of this name."""
        first, end = name + MEMBER, name + MEMBER[:-1] + chr(ord(MEMBER[-1]) + 1)
        members = " OR (name >= ? AND name < ?)" if with_members else ""
        values = (name, first, end) if with_members else (name,)
        found = self._table.execute(f"SELECT * FROM clips WHERE name = ?{members}", values)
        return [WrittenClip(name, part, source, bool(error)) for name, part, source, error in found]

    def _change(self, command: str, values: Iterable[Sequence[Any]]) -> None:
        try:
            self._table.execute("BEGIN")  # one transaction is faster than many
            self._table.executemany(command, values)
            self._table.execute("COMMIT")
        except sqlite3.Error as error:
            raise ScoreError(
                f"The names of finished clips cannot be kept: {error}. Free some disk space for "
                "temporary files, or name another folder for them in TMPDIR."
            ) from error


@dataclass(frozen=True, slots=True)
class Output:
    """An output folder. It is sent to the workers, and so holds no open file.

    Attributes:
        address: A folder, or an address that fsspec supports.
        rows: As in `ScoreConfig`.
        labels: The model's emotions.
        run: Id of the run that may write; a later run replaces it.
        settings: Digest of the settings.
    """

    address: str
    rows: Rows
    labels: tuple[str, ...]
    run: str
    settings: str

    def write(self, rows: Sequence[Row]) -> None:
        """Write all rows of some clips as one part; a hash of the clips is its name.

        Raises:
            SupersededError: Another run has taken over.
        """
        names = "\n".join(dict.fromkeys(row[CLIP] for row in rows))
        self._write(f"part-{_digest(names)}.parquet", rows)

    def finish(self, shard: str, stamp: str) -> None:
        """Record that the shard of this name and `stamp_of` was read to its end."""
        system, folder = reach(self.address)
        with writing(self.address):
            content = f"{shard}\n{stamp}"
            system.pipe_file(f"{folder}/{FINISHED}/{_digest(content)}", content.encode())

    def finished(self, stamps: Mapping[str, str]) -> set[str]:
        """Return the names among `stamps` of shards that were read to their end as they are."""
        if not stamps:
            return set()
        system, folder = reach(self.address)
        digests = set(_entries(system, f"{folder}/{FINISHED}"))
        return {
            shard
            for shard, stamp in stamps.items()
            if {_digest(f"{shard}\n{stamp}"), _digest(shard)} & digests  # earlier: without stamp
        }

    def written(self) -> Written:
        """Return the clips in the parts. Damaged parts are removed."""
        system, folder = reach(self.address)
        clips = Written()
        for name, rows in read_parts(self.address):
            if rows is None:
                logger.warning("%s is damaged; its clips are analysed again.", name)
            if rows:
                clips.add(name, rows)
            else:
                self._check_run(system, folder)
                system.rm_file(f"{folder}/{name}")
        return clips

    def remove(self, clips: Iterable[WrittenClip], written: Written) -> None:
        """Remove the rows of some clips from their parts, and the clips from `written`.

        Raises:
            SupersededError: Another run has taken over.
        """
        system, folder = reach(self.address)
        names: dict[str, set[str]] = defaultdict(set)
        for clip in clips:
            names[clip.part].add(clip.name)
        for part, removed in names.items():
            content = system.cat_file(f"{folder}/{part}")
            rows = parquet.read_table(io.BytesIO(content)).to_pylist()
            if kept := [row for row in rows if row[CLIP] not in removed]:
                self._write(part, kept)
            else:
                self._check_run(system, folder)
                system.rm_file(f"{folder}/{part}")
            written.discard(removed)

    def _write(self, name: str, rows: Sequence[Row]) -> None:
        table = pa.Table.from_pylist(list(rows), self._schema())
        digests = f"{self.settings} {_digest_rows(table.to_pylist())}"
        sink = io.BytesIO()
        parquet.write_table(
            table.replace_schema_metadata({PART_KEY: digests}), sink, compression="zstd"
        )
        system, folder = reach(self.address)
        self._check_run(system, folder)
        with writing(self.address):
            try:
                _write_whole(system, folder, name, sink.getvalue())
            except FileNotFoundError:  # a run that takes over removes others' unfinished parts
                self._check_run(system, folder)
                raise

    def _schema(self) -> pa.Schema:
        number, text = pa.float32(), pa.string()
        answer = [("emotion", text), ("confidence", number), ("intensity", number)]
        answer += [(column_of(label), number) for label in self.labels]
        tail = [("model", text), ("error", text), (SOURCE, text)]
        span = [("start_s", number), ("end_s", number)]
        if self.rows == "windows":
            return pa.schema([(CLIP, text), *span, *answer, *tail])
        warnings = [("certain", pa.bool_()), ("warnings", pa.list_(text))]
        if self.rows == "utterances":
            known = [("speaker", text), ("channel", pa.int32()), ("text", text)]
            span = [(name, pa.float64()) for name, _ in span]  # to the millisecond after hours
            return pa.schema([(CLIP, text), *span, *known, *answer, *warnings, *tail])
        times = [(name, number) for name in ("duration_s", "speech_start_s", "speech_end_s")]
        return pa.schema([(CLIP, text), *answer, *times, *warnings, *tail])

    def _check_run(self, system: Any, folder: str) -> None:
        if _read_settings(system, folder).get("run") != self.run:
            raise SupersededError(
                f"Another run is writing to {self.address}. Let it continue; this one stops."
            )


def check_address(address: str) -> None:
    """Check before any work that an address is an output folder or empty, and can be written.

    Raises:
        ScoreError: It is a file, or contains files of others.
        OutputError: It cannot be written.
    """
    system, folder = reach(address)
    try:
        with writing(address):
            if system.isfile(folder):
                raise ScoreError(f"{address} is a file. Name a folder for the parts.")
            names = _entries(system, folder)
            if not _read_settings(system, folder) and any(not _is_ours(name) for name in names):
                raise ScoreError(
                    f"{address} contains files that this command did not write. Use another folder."
                )
            system.makedirs(f"{folder}/{FINISHED}", exist_ok=True)
            probe = f"{folder}/{UNFINISHED}{uuid.uuid4().hex}"
            system.pipe_file(probe, b"probe")
            system.rm_file(probe)
    except SerError:
        raise
    except Exception as error:  # each store raises its own errors
        raise ScoreError(
            f"{address} cannot be written: {error}. Check the address and the credentials."
        ) from error


def read_parts(address: str) -> Iterator[tuple[str, list[Row] | None]]:
    """Yield name and rows of each part; None where it is damaged."""
    system, folder = reach(address)
    for name in sorted(filter(PART.fullmatch, _entries(system, folder))):
        content = system.cat_file(f"{folder}/{name}")
        try:
            table = parquet.read_table(io.BytesIO(content))
            rows = table.to_pylist()
            stored = (table.schema.metadata or {}).get(PART_KEY)  # earlier parts have none
            is_whole = stored is None or stored.decode().split()[1] == _digest_rows(rows)
        except (pa.ArrowException, OSError, ValueError, LookupError):
            is_whole = False
        yield name, rows if is_whole else None


def open_output(address: str, manifest: Manifest, config: ScoreConfig) -> Output:
    """Take over an output folder, and remove unfinished parts of a killed run.

    Raises:
        ScoreError: The folder contains other files, or parts of another model or other settings.
        OutputError: It cannot be written.
    """
    check_address(address)
    files = json.dumps(sorted(manifest.files.items())) + repr(manifest.encoder)
    settings = {
        "model": f"{manifest.name} {manifest.version}",
        "weights": hashlib.sha256(files.encode()).hexdigest(),
        "pipeline": json.loads(json.dumps(asdict(manifest.pipeline))),
        "labels": [column_of(label) for label in manifest.labels],
        "rows": config.rows,
        "denoise": config.denoise,
        "speakers": config.speakers,
        "relative": config.relative,
    }
    system, folder = reach(address)
    run, digest = uuid.uuid4().hex, _digest(json.dumps(settings, sort_keys=True))
    with writing(address):
        if found := _read_settings(system, folder):
            _check_settings(address, found["settings"], settings)
        elif strange := [n for n, part in _settings_of_parts(system, folder) if part != digest]:
            raise ScoreError(
                f"{address}/{SETTINGS} cannot be read, and {strange[0]} has other settings or "
                "names none. Use another folder."
            )
        content = json.dumps({"settings": settings, "run": run}, indent=1)
        _write_whole(system, folder, SETTINGS, content.encode())
        for name in _entries(system, folder):
            if name.startswith(UNFINISHED):
                system.rm_file(f"{folder}/{name}")
    return Output(address, config.rows, manifest.labels, run, digest)


def rows_of(name: str, analysis: Analysis, rows: Rows) -> list[Row]:
    """Return the rows of an analysed clip: one, or one per window."""
    prediction = analysis.prediction
    row: Row = {CLIP: name, "model": prediction.model}
    if rows == "windows":
        return [
            row
            | {"start_s": window.start_s, "end_s": window.end_s}
            | _answer(prediction.labels, window.probabilities, window.intensity)
            for window in analysis.windows
        ]
    return [
        row
        | _answer(prediction.labels, prediction.probabilities, prediction.intensity)
        | {
            "duration_s": prediction.duration_s,
            "speech_start_s": prediction.speech_start_s,
            "speech_end_s": prediction.speech_end_s,
            "certain": prediction.certain,
            "warnings": [warning.code for warning in prediction.warnings],
        }
    ]


def rows_of_segments(name: str, segments: Sequence[Segment]) -> list[Row]:
    """Return a row per segment of a clip; one without an emotion has its reason as a warning."""
    rows = []
    for segment in segments:
        row: Row = {CLIP: name} | {key: getattr(segment, key) for key in PLAIN}
        row["warnings"] = [warning.code for warning in segment.warnings]
        if (p := segment.prediction) is not None:
            row |= _answer(p.labels, p.probabilities, p.intensity)
            row |= {"certain": p.certain, "model": p.model}
        rows.append(row)
    return rows


def error_row(name: str, reason: str) -> Row:
    """Return the row of a clip that cannot be analysed: its name and the reason."""
    return {CLIP: name, "error": reason}


def _answer(labels: Sequence[str], probabilities: Sequence[float], intensity: float | None) -> Row:
    by_label = dict(zip(labels, probabilities, strict=True))
    emotion = max(by_label, key=by_label.__getitem__)
    columns = {column_of(label): share for label, share in by_label.items()}
    answer = {"emotion": emotion, "confidence": by_label[emotion], "intensity": intensity}
    return answer | columns


def _check_settings(address: str, found: Row, expected: Row) -> None:
    found = {"speakers": "none", "relative": False} | found  # as runs of earlier versions had them
    if differing := [
        f"{key} {found.get(key)!r}, not {value!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]:
        raise ScoreError(
            f"{address} was started with {', '.join(differing)}. Use the same settings or another "
            "folder."
        )


def _read_settings(system: Any, folder: str) -> Row:
    """Return the content of `SETTINGS`; empty where it is missing or spoilt."""
    try:
        stored = json.loads(system.cat_file(f"{folder}/{SETTINGS}"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    is_valid = isinstance(stored, dict) and isinstance(stored.get("settings"), dict)
    return stored if is_valid else {}


def _settings_of_parts(system: Any, folder: str) -> Iterator[tuple[str, str]]:
    """Yield name and digest of the settings of each part that can be read."""
    for name in filter(PART.fullmatch, _entries(system, folder)):
        with suppress(pa.ArrowException, OSError, ValueError):
            schema = parquet.read_schema(io.BytesIO(system.cat_file(f"{folder}/{name}")))
            yield name, (schema.metadata or {}).get(PART_KEY, b"").decode().partition(" ")[0]


def _is_ours(name: str) -> bool:
    return bool(PART.fullmatch(name)) or name.startswith((UNFINISHED, FINISHED, SETTINGS))


def _entries(system: Any, folder: str) -> list[str]:
    """Return the names in a folder, including those that other processes just wrote."""
    system.invalidate_cache()
    try:
        return [name.rstrip("/").rsplit("/", 1)[-1] for name in system.ls(folder, detail=False)]
    except FileNotFoundError:
        return []


def _write_whole(system: Any, folder: str, name: str, content: bytes) -> None:
    """Write a file that gets its name only when it is complete."""
    unfinished = f"{folder}/{UNFINISHED}{uuid.uuid4().hex}"
    system.pipe_file(unfinished, content)
    if isinstance(system, LocalFileSystem):
        Path(unfinished).replace(f"{folder}/{name}")  # `mv` copies where this fails
    else:
        system.mv(unfinished, f"{folder}/{name}")


def _digest_rows(rows: Sequence[Row]) -> str:
    return _digest(json.dumps(rows))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
