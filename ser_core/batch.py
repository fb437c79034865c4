"""Many recordings at once: one row each, and how often a batch was right."""

import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np

from ser_core.corpora import read_emotion
from ser_core.errors import SerError
from ser_core.labels import order_labels
from ser_core.prediction import Prediction
from ser_core.predictor import PredictorLike
from ser_core.zips import UNREADABLE, is_clutter

MAX_FILES = 200
MAX_UNPACKED_BYTES = 500_000_000
"""Bytes of all members of all archives together."""
MAX_NAME = 120
"""Characters of a name that are shown."""
BLOCK_BYTES = 1 << 20


class BatchError(SerError):
    """A batch is larger than allowed, or holds nothing to predictor."""


@dataclass(frozen=True, slots=True)
class BatchFile:
    """One file to be judged.

    Attributes:
        name: What the visitor calls it, fit to be shown.
        path: Where it lies; None for one that could not be had.
        error: Why it could not be had.
        actual: The emotion that its name tells, where that follows a corpus.
    """

    name: str
    path: Path | None
    error: str = ""
    actual: str | None = None


def collect_files(paths: Sequence[Path], folder: Path) -> list[BatchFile]:
    """List what is to be judged, zip archives taken apart.

    Members are written under numbers, never under their own names, so that no name can
    lead out of the folder; what an archive says about sizes is not believed, the bytes are
    counted while they are written.

    Args:
        paths: Recordings and zip archives.
        folder: An empty folder for the members, which the caller deletes.

    Raises:
        BatchError: There are no files or too many, or archives hold too much.
    """
    files: list[BatchFile] = []
    budget = MAX_UNPACKED_BYTES
    for path in paths:
        if zipfile.is_zipfile(path):
            for file, n_bytes in _unpack(path, folder, len(files), budget):
                files.append(file)
                budget -= n_bytes
                _check_count(files)
        else:
            files.append(_file(path.name, path))
            _check_count(files)
    if not files:
        raise BatchError(
            "There is nothing to analyse. Add recordings, or a zip that contains some."
        )
    return files


def shown_name(name: str) -> str:
    """A file's name without folders, control and direction marks, at most `MAX_NAME` long."""
    last = PurePosixPath(name.replace("\\", "/")).name
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return kept[:MAX_NAME] or "unnamed"


def _file(name: str, path: Path | None, error: str = "") -> BatchFile:
    """A file under the name that a visitor or an archive gives it."""
    actual = read_emotion(Path(name.replace("\\", "/")))
    return BatchFile(shown_name(name), path, error, actual)


def _check_count(files: Sequence[BatchFile]) -> None:
    if len(files) > MAX_FILES:
        raise BatchError(
            f"There are more than {MAX_FILES} files, the maximum at a time. Upload fewer."
        )


def _unpack(
    archive: Path, folder: Path, first: int, budget: int
) -> Iterator[tuple[BatchFile, int]]:
    """The members of an archive, and how many bytes each took."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.is_dir() and not is_clutter(m)]
            for i, member in enumerate(members, first):
                name, target = shown_name(member.filename), folder / f"{i:04d}"
                try:
                    with opened.open(member) as source:
                        n_bytes = _write(source, target, budget, archive.name)
                except UNREADABLE as error:
                    target.unlink(missing_ok=True)
                    reason = f"{name} cannot be unpacked: {error}."
                    yield _file(member.filename, None, reason), 0
                    continue
                budget -= n_bytes
                yield _file(member.filename, target), n_bytes
    except zipfile.BadZipFile as error:
        name = shown_name(archive.name)
        yield BatchFile(name, None, f"{name} is a damaged zip: {error}. Create it again."), 0


def _write(source: IO[bytes], target: Path, budget: int, archive: str) -> int:
    n_bytes = 0
    with target.open("xb") as sink:
        while block := source.read(BLOCK_BYTES):
            n_bytes += len(block)
            if n_bytes > budget:
                raise BatchError(
                    f"{shown_name(archive)} is larger than {MAX_UNPACKED_BYTES // 1_000_000} MB "
                    "when unpacked. Split it into smaller archives."
                )
            sink.write(block)
    return n_bytes


@dataclass(frozen=True, slots=True)
class BatchRow:
    """What became of one file.

    Attributes:
        name: Its name.
        prediction: What was heard; None where it could not be judged.
        error: Why it could not be judged.
        actual: The emotion that its name tells, where that follows a corpus.
    """

    name: str
    prediction: Prediction | None
    error: str = ""
    actual: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, alike for every row of a batch that could be judged."""
        told = {"file": self.name} | ({} if self.actual is None else {"actual": self.actual})
        if self.prediction is None:
            return told | {"error": self.error}
        return told | self.prediction.to_dict()


@dataclass(frozen=True, slots=True)
class BatchScores:
    """How often a batch was right, where file names tell the emotion.

    Attributes:
        emotions: Those that occur among the actual or the predicted ones, in label order.
        confusion: Counts, actual emotions down, predicted across.
        n_files: Files that were judged and whose name tells the emotion.
        accuracy: Share of them that is right.
        uar: Mean over the actual emotions of the share of their files that is right.
    """

    emotions: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    n_files: int
    accuracy: float
    uar: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "n_files": self.n_files,
            "accuracy": self.accuracy,
            "uar": self.uar,
            "emotions": list(self.emotions),
            "confusion": [list(row) for row in self.confusion],
        }


def score_rows(rows: Sequence[BatchRow]) -> BatchScores | None:
    """Compare what was heard with what the names tell; None where no name tells anything.

    Args:
        rows: What `predict_files` gave.
    """
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
    return BatchScores(
        emotions=emotions,
        confusion=tuple(tuple(int(count) for count in row) for row in counts),
        n_files=len(pairs),
        accuracy=float(counts.trace() / len(pairs)),
        uar=float(recalls.mean()),
    )


def predict_files(files: Sequence[BatchFile], predictor: PredictorLike) -> Iterator[BatchRow]:
    """PredictorLike file after file; one that cannot be judged is a row with its reason.

    Args:
        files: What `collect_files` gave.
        predictor: Who answers.
    """
    for file in files:
        if file.path is None:
            yield BatchRow(file.name, None, file.error, file.actual)
            continue
        try:
            yield BatchRow(file.name, predictor.predict(file.path), actual=file.actual)
        except SerError as error:
            # A member lies under a number: its own name is what the visitor knows.
            reason = str(error).replace(file.path.name, file.name)
            yield BatchRow(file.name, None, reason, file.actual)


def predict_paths(paths: Sequence[Path], predictor: PredictorLike) -> list[BatchRow]:
    """Collect files and judge them all, in a folder that is gone with the last row.

    Args:
        paths: Recordings and zip archives.
        predictor: Who answers.

    Raises:
        BatchError: As in `collect_files`.
    """
    with TemporaryDirectory() as folder:
        return list(predict_files(collect_files(paths, Path(folder)), predictor))


def batch_to_dict(rows: Sequence[BatchRow]) -> dict[str, Any]:
    """A whole batch in plain JSON types: `files`, and `scores` where names tell the emotions."""
    scores = score_rows(rows)
    return {
        "files": [row.to_dict() for row in rows],
        "scores": None if scores is None else scores.to_dict(),
    }
