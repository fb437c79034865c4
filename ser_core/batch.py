"""Batches: recordings and zip archives in, one row for each file out."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np

from ser_core.corpora import read_emotion
from ser_core.errors import SerError
from ser_core.labels import order_labels
from ser_core.prediction import Prediction
from ser_core.predictor import PredictorLike
from ser_core.reference import adapt_together
from ser_core.zips import UNREADABLE, is_clutter, is_zip, open_zip

MAX_FILES = 200
MAX_UNPACKED_BYTES = 500_000_000
"""Bytes of all members of all archives together."""
MAX_NAME = 120
"""Longest name that is shown, in characters."""
BLOCK_BYTES = 1 << 20


class BatchError(SerError):
    """A batch is larger than allowed, or empty."""


@dataclass(frozen=True, slots=True)
class BatchFile:
    """One file of a batch.

    Attributes:
        name: Its name, of a member with the folders above it; unique in the batch, and safe to be
            shown.
        path: Its place on the disk; None where it cannot be unpacked.
        error: Why it cannot be unpacked.
        actual: The emotion in its name, where that follows a corpus.
    """

    name: str
    path: Path | None
    error: str = ""
    actual: str | None = None


@dataclass(frozen=True, slots=True)
class BatchRow:
    """Result of one file.

    Attributes:
        name: Its name.
        prediction: Its emotions; None where it cannot be analysed.
        error: Why it cannot be analysed.
        actual: The emotion in its name, where that follows a corpus.
    """

    name: str
    prediction: Prediction | None
    error: str = ""
    actual: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        row = {"file": self.name} | ({} if self.actual is None else {"actual": self.actual})
        return row | (self.prediction.to_dict() if self.prediction else {"error": self.error})


@dataclass(frozen=True, slots=True)
class BatchMetrics:
    """Accuracy of a batch, where file names contain the emotion.

    Attributes:
        n_files: Files that were analysed and whose name contains the emotion.
        accuracy: Share of correct predictions.
        uar: Unweighted average recall, over the actual emotions.
        emotions: Actual and predicted emotions, in label order.
        confusion: Counts, actual emotions down, predicted across.
    """

    n_files: int
    accuracy: float
    uar: float
    emotions: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]


def predict_paths(
    paths: Sequence[Path], predictor: PredictorLike, *, one_voice: bool = False
) -> list[BatchRow]:
    """Analyse recordings and the members of zip archives, which are unpacked for that time.

    Args:
        paths: Recordings and zip archives.
        predictor: Predictor of each recording.
        one_voice: Whether to adapt all rows to their common speaker, see `adapt_rows`.

    Raises:
        BatchError: As in `collect_files`.
    """
    with TemporaryDirectory() as folder:
        rows = list(predict_files(collect_files(paths, Path(folder)), predictor))
    return adapt_rows(rows) if one_voice else rows


def adapt_rows(rows: Sequence[BatchRow]) -> list[BatchRow]:
    """Adapt each row by all others, as recordings of one voice; see `ser_core.reference`."""
    adapted = iter(adapt_together([row.prediction for row in rows if row.prediction]))
    return [replace(row, prediction=next(adapted)) if row.prediction else row for row in rows]


def predict_files(files: Sequence[BatchFile], predictor: PredictorLike) -> Iterator[BatchRow]:
    """Analyse one file after another; files that fail yield a row with the reason.

    Args:
        files: Result of `collect_files`.
        predictor: Predictor of each recording.
    """
    for file in files:
        if file.path is None:
            yield BatchRow(file.name, None, file.error, file.actual)
            continue
        try:
            yield BatchRow(file.name, predictor.predict(file.path), actual=file.actual)
        except SerError as error:
            # A member is stored under a number; its own name is the one that users know.
            reason = str(error).replace(file.path.name, file.name)
            yield BatchRow(file.name, None, reason, file.actual)


def collect_files(paths: Sequence[Path], folder: Path) -> list[BatchFile]:
    """List the files of a batch, and unpack its zip archives.

    Members are written under numbers, so that no name can lead out of the folder. The sizes in an
    archive's directory are not trusted: bytes are counted while they are written.

    Args:
        paths: Recordings and zip archives.
        folder: An empty folder for the members, which the caller deletes.

    Raises:
        BatchError: There are no files or too many, or archives hold too much.
    """
    files: list[BatchFile] = []
    names: set[str] = set()
    for file in _list_files(paths, folder):
        numbered = chain([file.name], (f"{file.name} ({n})" for n in count(2)))
        name = next(name for name in numbered if name not in names)
        names.add(name)
        files.append(replace(file, name=name))
        if len(files) > MAX_FILES:
            raise BatchError(
                f"There are more than {MAX_FILES} files, the maximum at a time. Upload fewer."
            )
    if not files:
        raise BatchError(
            "There is nothing to analyse. Add recordings, or a zip that contains some."
        )
    return files


def shown_name(name: str) -> str:
    """Return a file's name without folders, control and direction marks, cut to `MAX_NAME`."""
    last = PurePosixPath(name.replace("\\", "/")).name
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return kept[:MAX_NAME] or "unnamed"


def _shown_path(name: str) -> str:
    """Return a member's name with the folders above it, cut to the last `MAX_NAME` characters."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    shown = "/".join(shown_name(part) for part in parts if not part.endswith(":")) or "unnamed"
    return shown if len(shown) <= MAX_NAME else f"…{shown[1 - MAX_NAME :]}"


def measure_rows(rows: Sequence[BatchRow]) -> BatchMetrics | None:
    """Compare predictions with the emotions in file names; None where no name contains one."""
    pairs = [
        (row.actual, row.prediction.emotion)
        for row in rows
        if row.actual is not None and row.prediction is not None
    ]
    if not pairs:
        return None
    emotions = order_labels([label for pair in pairs for label in pair])
    counts = np.zeros((len(emotions), len(emotions)), dtype=np.int64)
    for actual, predicted in pairs:
        counts[emotions.index(actual), emotions.index(predicted)] += 1
    support = counts.sum(axis=1)
    recalls = counts.diagonal()[support > 0] / support[support > 0]
    return BatchMetrics(
        n_files=len(pairs),
        accuracy=float(counts.trace() / len(pairs)),
        uar=float(recalls.mean()),
        emotions=emotions,
        confusion=tuple(tuple(row) for row in counts.tolist()),
    )


def batch_to_dict(rows: Sequence[BatchRow]) -> dict[str, Any]:
    """Return a batch in plain JSON types: `files`, and `scores` where names contain emotions."""
    metrics = measure_rows(rows)
    return {
        "files": [row.to_dict() for row in rows],
        "scores": None if metrics is None else asdict(metrics),
    }


def _list_files(paths: Sequence[Path], folder: Path) -> Iterator[BatchFile]:
    budget, n_members = MAX_UNPACKED_BYTES, 0
    several = sum(map(is_zip, paths)) > 1
    for path in paths:
        if not is_zip(path):
            yield BatchFile(shown_name(path.name), path, actual=read_emotion(path))
            continue
        name = shown_name(path.name)
        try:
            with open_zip(path) as archive:
                for member in archive.infolist():
                    if member.filename.endswith("/") or is_clutter(member.filename):
                        continue
                    target = folder / f"{n_members:04d}"
                    n_members += 1
                    error = ""
                    try:
                        with archive.open(member) as source:
                            budget -= _write(source, target, budget, name)
                    except UNREADABLE as reason:
                        target.unlink(missing_ok=True)
                        error = f"{shown_name(member.filename)} cannot be unpacked: {reason}."
                    shown = f"{path.name}/{member.filename}" if several else member.filename
                    actual = read_emotion(Path(member.filename.replace("\\", "/")))
                    yield BatchFile(_shown_path(shown), None if error else target, error, actual)
        except UNREADABLE as error:
            yield BatchFile(name, None, f"{name} is a damaged zip: {error}. Create it again.")


def _write(source: IO[bytes], target: Path, budget: int, archive: str) -> int:
    """Copy a member, and return its size in bytes."""
    n_bytes = 0
    with target.open("xb") as sink:
        while block := source.read(BLOCK_BYTES):
            n_bytes += len(block)
            if n_bytes > budget:
                raise BatchError(
                    f"{archive} is larger than {MAX_UNPACKED_BYTES // 1_000_000} MB "
                    "when unpacked. Split it into smaller archives."
                )
            sink.write(block)
    return n_bytes
