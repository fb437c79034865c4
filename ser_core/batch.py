"""Many recordings at once: one row each, and how often a batch was right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ser_core.collect import BatchFile, collect_files
from ser_core.errors import SerError
from ser_core.labels import order_labels
from ser_core.prediction import Prediction
from ser_core.predictor import Judge


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
        rows: What `judge_files` gave.
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


def judge_files(files: Sequence[BatchFile], judge: Judge) -> Iterator[BatchRow]:
    """Judge file after file; one that cannot be judged is a row with its reason.

    Args:
        files: What `collect_files` gave.
        judge: Who answers.
    """
    for file in files:
        if file.path is None:
            yield BatchRow(file.name, None, file.error, file.actual)
            continue
        try:
            yield BatchRow(file.name, judge.predict(file.path), actual=file.actual)
        except SerError as error:
            # A member lies under a number: its own name is what the visitor knows.
            reason = str(error).replace(file.path.name, file.name)
            yield BatchRow(file.name, None, reason, file.actual)


def judge_paths(paths: Sequence[Path], judge: Judge) -> list[BatchRow]:
    """Collect files and judge them all, in a folder that is gone with the last row.

    Args:
        paths: Recordings and zip archives.
        judge: Who answers.

    Raises:
        BatchError: As in `collect_files`.
    """
    with TemporaryDirectory() as folder:
        return list(judge_files(collect_files(paths, Path(folder)), judge))


def batch_to_dict(rows: Sequence[BatchRow]) -> dict[str, Any]:
    """A whole batch in plain JSON types: `files`, and `scores` where names tell the emotions."""
    scores = score_rows(rows)
    return {
        "files": [row.to_dict() for row in rows],
        "scores": None if scores is None else scores.to_dict(),
    }
