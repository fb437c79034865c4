"""The output folder of an archive: Parquet parts, each written whole or not at all."""

import hashlib
import io
import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa
from pyarrow import parquet

from ser_core.model.manifest import Manifest
from ser_core.prediction import Analysis
from ser_core.predictor import AT_ONCE
from ser_core.score.sources import ScoreError, reach

logger = logging.getLogger(__name__)

Rows = Literal["clips", "windows"]
CLIP = "clip"
"""Column with the clip's name, by which finished clips are found."""
SETTINGS = "_moodmirror.json"
"""Settings of the parts and the run that may write; Parquet readers skip names with `_`."""
FINISHED = "_finished"
"""Folder with one file for each shard that was read to its end."""
UNFINISHED = "_unfinished-"
"""Prefix of a part that is being written."""


class SupersededError(ScoreError):
    """Another run has taken over the output folder."""


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """Settings of an archive job.

    Attributes:
        rows: One row per clip, or one per window.
        denoise: Whether to reduce background noise first.
        clips_per_part: Maximum number of clips per part, which a killed worker has to repeat.
        batch_windows: Windows per call of the model.
    """

    rows: Rows = "clips"
    denoise: bool = False
    clips_per_part: int = 500
    batch_windows: int = AT_ONCE


@dataclass(frozen=True, slots=True)
class Output:
    """An output folder. It is sent to the workers, and so holds no open file.

    Attributes:
        address: A folder, or an address that fsspec supports.
        rows: One row per clip, or one per window.
        labels: The model's emotions.
        run: Id of the run that may write; a later run replaces it.
    """

    address: str
    rows: Rows
    labels: tuple[str, ...]
    run: str

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write all rows of some clips as one part; a hash of the clips is its name.

        Raises:
            SupersededError: Another run has taken over.
        """
        table = pa.Table.from_pylist(list(rows), self._schema())
        sink = io.BytesIO()
        parquet.write_table(table, sink, compression="zstd")
        names = "\n".join(dict.fromkeys(row[CLIP] for row in rows))
        system, folder = reach(self.address)
        self._check_run(system, folder)
        try:
            _write_whole(system, folder, f"part-{_digest(names)}.parquet", sink.getvalue())
        except FileNotFoundError:  # a run that takes over removes the unfinished parts of others
            self._check_run(system, folder)
            raise

    def finish(self, shard: str) -> None:
        """Record that the shard of this name was read to its end."""
        system, folder = reach(self.address)
        system.pipe_file(f"{folder}/{FINISHED}/{_digest(shard)}", shard.encode())

    def finished(self, shards: Sequence[str]) -> set[str]:
        """Return the names among `shards` of those that were read to their end."""
        system, folder = reach(self.address)
        digests = _file_names(system, f"{folder}/{FINISHED}")
        return {shard for shard in shards if _digest(shard) in digests}

    def written(self) -> frozenset[str]:
        """Return the names of all clips in the parts; damaged parts are removed."""
        system, folder = reach(self.address)
        clips: set[str] = set()
        for name in _file_names(system, folder):
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

    def _schema(self) -> pa.Schema:
        number, text = pa.float32(), pa.string()
        answer = [("emotion", text), ("confidence", number)]
        answer += [(label, number) for label in self.labels]
        tail = [("model", text), ("error", text)]
        if self.rows == "windows":
            return pa.schema([(CLIP, text), ("start_s", number), ("end_s", number), *answer, *tail])
        times = [(name, number) for name in ("duration_s", "speech_start_s", "speech_end_s")]
        warnings = [("certain", pa.bool_()), ("warnings", pa.list_(text))]
        return pa.schema([(CLIP, text), *answer, *times, *warnings, *tail])

    def _check_run(self, system: Any, folder: str) -> None:
        if json.loads(system.cat_file(f"{folder}/{SETTINGS}"))["run"] != self.run:
            raise SupersededError(
                f"Another run is writing to {self.address}. Let it continue; this one stops."
            )


def open_output(address: str, manifest: Manifest, config: ScoreConfig) -> Output:
    """Take over an output folder, and remove unfinished parts of a killed run.

    Raises:
        ScoreError: The folder contains other files, or parts of another model or other settings,
            or cannot be written.
    """
    files = json.dumps(sorted(manifest.files.items())) + repr(manifest.encoder)
    settings = {
        "model": f"{manifest.name} {manifest.version}",
        "weights": hashlib.sha256(files.encode()).hexdigest(),
        "pipeline": json.loads(json.dumps(asdict(manifest.pipeline))),
        "labels": list(manifest.labels),
        "rows": config.rows,
        "denoise": config.denoise,
    }
    system, folder = reach(address)
    run = uuid.uuid4().hex
    try:
        if system.exists(f"{folder}/{SETTINGS}"):
            found = json.loads(system.cat_file(f"{folder}/{SETTINGS}"))["settings"]
            _check_settings(address, found, settings)
        elif _file_names(system, folder):
            raise ScoreError(
                f"{address} contains files that this command did not write. Use another folder."
            )
        system.makedirs(f"{folder}/{FINISHED}", exist_ok=True)
        content = json.dumps({"settings": settings, "run": run}, indent=1)
        _write_whole(system, folder, SETTINGS, content.encode())
        for name in _file_names(system, folder):
            if name.startswith(UNFINISHED):
                system.rm_file(f"{folder}/{name}")
    except OSError as error:
        raise ScoreError(f"{address} cannot be written: {error}. Check the address.") from error
    return Output(address, config.rows, manifest.labels, run)


def rows_of(name: str, analysis: Analysis, rows: Rows) -> list[dict[str, Any]]:
    """Return the rows of an analysed clip: one, or one per window."""
    prediction = analysis.prediction
    row: dict[str, Any] = {CLIP: name, "model": prediction.model}
    if rows == "windows":
        return [
            row
            | {"start_s": window.start_s, "end_s": window.end_s}
            | _answer(prediction.labels, window.probabilities)
            for window in analysis.windows
        ]
    return [
        row
        | _answer(prediction.labels, prediction.probabilities)
        | {
            "duration_s": prediction.duration_s,
            "speech_start_s": prediction.speech_start_s,
            "speech_end_s": prediction.speech_end_s,
            "certain": prediction.certain,
            "warnings": [warning.code for warning in prediction.warnings],
        }
    ]


def error_row(name: str, reason: str) -> dict[str, Any]:
    """Return the row of a clip that cannot be analysed: its name and the reason."""
    return {CLIP: name, "error": reason}


def _answer(labels: Sequence[str], probabilities: Sequence[float]) -> dict[str, Any]:
    by_label = dict(zip(labels, probabilities, strict=True))
    emotion = max(by_label, key=by_label.__getitem__)
    return {"emotion": emotion, "confidence": by_label[emotion]} | by_label


def _check_settings(address: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    if differing := [
        f"{key} {found.get(key)!r}, not {value!r}"
        for key, value in expected.items()
        if found.get(key) != value
    ]:
        raise ScoreError(
            f"{address} was started with {', '.join(differing)}. Use the same settings or another "
            "folder."
        )


def _file_names(system: Any, folder: str) -> set[str]:
    """Return the names of a folder's files, including those that other processes just wrote."""
    system.invalidate_cache()
    try:
        found = system.ls(folder, detail=True)
    except FileNotFoundError:
        return set()
    return {info["name"].rsplit("/", 1)[-1] for info in found if info["type"] == "file"}


def _write_whole(system: Any, folder: str, name: str, content: bytes) -> None:
    """Write a file that gets its name only when it is complete."""
    unfinished = f"{folder}/{UNFINISHED}{uuid.uuid4().hex}"
    system.pipe_file(unfinished, content)
    system.mv(unfinished, f"{folder}/{name}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
