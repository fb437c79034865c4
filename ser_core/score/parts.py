"""A folder of answers: Parquet parts that appear whole or not at all, and what they say is done."""

import hashlib
import io
import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import pyarrow as pa
from pyarrow import parquet

from ser_core.prediction import Analysis
from ser_core.score.sources import ScoreError, reach

Rows = Literal["clips", "windows"]
CLIP = "clip"
"""The column with a clip's name, by which it is known whether it is done."""


def schema_of(rows: Rows, labels: Sequence[str]) -> pa.Schema:
    """The columns of every part.

    Args:
        rows: One row a clip, or one a window.
        labels: The model's emotions; each is a column of probabilities.
    """
    number, text = pa.float32(), pa.string()
    answer = [("emotion", text), ("confidence", number), *[(label, number) for label in labels]]
    tail = [("model", text), ("error", text)]
    if rows == "windows":
        return pa.schema([(CLIP, text), ("start_s", number), ("end_s", number), *answer, *tail])
    told = [("duration_s", number), ("speech_start_s", number), ("speech_end_s", number)]
    warnings = [("certain", pa.bool_()), ("warnings", pa.list_(text))]
    return pa.schema([(CLIP, text), *answer, *told, *warnings, *tail])


def rows_of(name: str, analysis: Analysis, rows: Rows) -> list[dict[str, Any]]:
    """What was heard in one clip.

    Args:
        name: What rows call it.
        analysis: The answer.
        rows: One row a clip, or one a window.
    """
    heard = analysis.prediction
    told: dict[str, Any] = {CLIP: name, "model": heard.model}
    if rows == "windows":
        return [
            told
            | {"start_s": window.start_s, "end_s": window.end_s}
            | _answer(heard.labels, window.probabilities)
            for window in analysis.windows
        ]
    return [
        told
        | _answer(heard.labels, heard.probabilities)
        | {
            "duration_s": heard.duration_s,
            "speech_start_s": heard.speech_start_s,
            "speech_end_s": heard.speech_end_s,
            "certain": heard.certain,
            "warnings": [warning.code for warning in heard.warnings],
        }
    ]


def refused(name: str, reason: str) -> list[dict[str, Any]]:
    """The row of a clip that cannot be judged: its name and the reason, and nothing else."""
    return [{CLIP: name, "error": reason}]


def _answer(labels: Sequence[str], probabilities: Sequence[float]) -> dict[str, Any]:
    shares = dict(zip(labels, probabilities, strict=True))
    emotion = max(shares, key=shares.__getitem__)
    return {"emotion": emotion, "confidence": shares[emotion]} | shares


logger = logging.getLogger(__name__)

SETTINGS = "_moodmirror.json"
"""What the parts were made with, and which run may write now; readers of Parquet pass it by."""
FINISHED = "_finished"
"""A file here for each shard that was read to its end."""
UNFINISHED = "_unfinished-"
"""How the name of a part begins while it is being written."""


class SupersededError(ScoreError):
    """Another run has taken over the folder."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where answers go. It is sent to the workers, and so holds no open file.

    Attributes:
        address: A folder, or an address that fsspec knows.
        rows: One row a clip, or one a window.
        labels: The model's emotions.
        run: The run that may write; a later one takes over.
    """

    address: str
    rows: Rows
    labels: tuple[str, ...]
    run: str

    @classmethod
    def begin(cls, address: str, settings: dict[str, Any]) -> Self:
        """Take a folder over, and clear away what a killed run had begun.

        Args:
            address: A folder, new or with parts of the same settings.
            settings: What makes answers what they are; `rows` and `labels` among them.

        Raises:
            ScoreError: The folder holds something else, or parts of other settings.
        """
        system, folder = reach(address)
        place = f"{folder}/{SETTINGS}"
        try:
            if system.exists(place):
                _check_settings(address, json.loads(system.cat_file(place))["settings"], settings)
            elif _names(system, folder):
                raise ScoreError(
                    f"{address} contains files that this command did not write. Use another folder."
                )
            system.makedirs(f"{folder}/{FINISHED}", exist_ok=True)
            run = uuid.uuid4().hex
            told = {"settings": settings, "run": run}
            _write_whole(system, folder, SETTINGS, json.dumps(told, indent=1).encode())
            for name in _names(system, folder):
                if name.startswith(UNFINISHED):
                    system.rm_file(f"{folder}/{name}")
        except OSError as error:
            raise ScoreError(f"{address} cannot be written: {error}. Check the address.") from error
        return cls(address, settings["rows"], tuple(settings["labels"]), run)

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write one part. Its name tells its clips, so that the same clips make the same file.

        Args:
            rows: Of some clips, all rows of each.

        Raises:
            SupersededError: Another run has taken over.
        """
        table = pa.Table.from_pylist(list(rows), schema_of(self.rows, self.labels))
        sink = io.BytesIO()
        parquet.write_table(table, sink, compression="zstd")
        names = "\n".join(dict.fromkeys(row[CLIP] for row in rows))
        system, folder = reach(self.address)
        self._check_run(system, folder)
        try:
            _write_whole(system, folder, f"part-{_digest(names)}.parquet", sink.getvalue())
        except FileNotFoundError:  # a run that takes over clears away what others had begun
            self._check_run(system, folder)
            raise

    def finish(self, shard: str) -> None:
        """Note that a shard was read to its end.

        Args:
            shard: Its name.
        """
        system, folder = reach(self.address)
        system.pipe_file(f"{folder}/{FINISHED}/{_digest(shard)}", shard.encode())

    def finished(self, shards: Sequence[str]) -> set[str]:
        """Those shards that were read to their end.

        Args:
            shards: Their names.
        """
        system, folder = reach(self.address)
        noted = _names(system, f"{folder}/{FINISHED}")
        return {shard for shard in shards if _digest(shard) in noted}

    def written(self) -> frozenset[str]:
        """Names of the clips that have their rows, read back from the parts."""
        system, folder = reach(self.address)
        clips: set[str] = set()
        for name in _names(system, folder):
            if not name.endswith(".parquet"):
                continue
            try:
                with system.open(f"{folder}/{name}", "rb") as file:
                    column = parquet.read_table(file, columns=[CLIP])[CLIP]
            except pa.ArrowInvalid:
                logger.warning(
                    "%s is damaged; it is removed and its clips are analysed again.", name
                )
                system.rm_file(f"{folder}/{name}")
                continue
            clips.update(column.to_pylist())
        return frozenset(clips)

    def _check_run(self, system: Any, folder: str) -> None:
        run = json.loads(system.cat_file(f"{folder}/{SETTINGS}"))["run"]
        if run != self.run:
            raise SupersededError(
                f"Another run is writing to {self.address}. Let it continue; this one stops."
            )


def _names(system: Any, folder: str) -> set[str]:
    """The files in a folder, asked for anew: what another process wrote counts, too."""
    system.invalidate_cache()
    try:
        found = system.ls(folder, detail=True)
    except FileNotFoundError:
        return set()
    return {told["name"].rsplit("/", 1)[-1] for told in found if told["type"] == "file"}


def _write_whole(system: Any, folder: str, name: str, content: bytes) -> None:
    """A file under its name only when it is whole, though the process be killed."""
    begun = f"{folder}/{UNFINISHED}{uuid.uuid4().hex}"
    system.pipe_file(begun, content)
    system.mv(begun, f"{folder}/{name}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _check_settings(address: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    if differing:
        told = ", ".join(f"{key} {found.get(key)!r}, not {wanted[key]!r}" for key in differing)
        raise ScoreError(
            f"{address} was started with {told}. Use the same settings or another folder."
        )
