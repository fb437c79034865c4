"""Records of reproduction runs, and the two splits of one recipe side by side."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from ser_core.errors import SerError
from ser_lab.evaluate.records import FORMAT, read_json, write_text
from ser_lab.reproduce.recipes import RECIPES

FOLDER = "reproduction"
"""Folder of these records among all run records."""
DIGITS = 5
"""Decimal places of the figures in a record."""


@dataclass(frozen=True, slots=True)
class Record:
    """Result of one training run of one recipe.

    Attributes:
        family: The system.
        variant: Its variant; may be empty.
        split: `random` or `speaker`.
        seed: Seed of the split and of the training.
        settings: The recipe.
        commit: Commit of the code.
        machine: Description of the machine.
        corpora: Names under `present`, `missing` and `unseen_missing`.
        n_clips: Clips, with copies, in each split.
        n_parameters: Trainable weights.
        epochs: Number `run`, the one `kept`, and the maximum `allowed`; 0 for the SVM.
        train_s: Training time in seconds, without feature extraction.
        history: One value per epoch, by metric.
        development: `Scores` of the development split.
        test: `Scores` of the test split.
        by_corpus: UAR, WAR and number of clips of each corpus in the test split.
        unseen: The same for corpora outside the training.
    """

    family: str
    variant: str
    split: str
    seed: int
    settings: dict[str, Any]
    commit: str
    machine: dict[str, Any]
    corpora: dict[str, list[str]]
    n_clips: dict[str, int]
    n_parameters: int
    epochs: dict[str, int]
    train_s: float
    history: dict[str, list[float]]
    development: dict[str, Any]
    test: dict[str, Any]
    by_corpus: dict[str, dict[str, float]]
    unseen: dict[str, dict[str, float]]

    @property
    def name(self) -> str:
        """Family and variant."""
        return f"{self.family}-{self.variant}" if self.variant else self.family

    @property
    def place(self) -> Path:
        """Path among the reproduction records, without suffix."""
        return Path(self.name, self.split, f"seed-{self.seed}")

    def write(self, runs_folder: Path) -> Path:
        """Write the record below the folder of all run records and return its path."""
        path = (runs_folder / FOLDER / self.place).with_suffix(".json")
        rounded = json.loads(
            json.dumps(asdict(self)), parse_float=lambda digits: round(float(digits), DIGITS)
        )
        stored = {"format": FORMAT} | rounded | {"settings": self.settings}
        write_text(path, _compact(stored) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            SerError: The file is not a record of this format.
        """
        stored = read_json(path)
        names = {field.name for field in fields(cls)}
        if missing := names - set(stored):
            raise SerError(f"{path} lacks {sorted(missing)}. Delete it and reproduce again.")
        return cls(**{name: stored[name] for name in names})


def read_records(runs_folder: Path) -> Iterator[Record]:
    """Yield the records of all reproductions, sorted by path."""
    for path in sorted((runs_folder / FOLDER).glob("*/*/seed-*.json")):
        yield Record.read(path)


def _compact(stored: dict[str, Any]) -> str:
    """Return JSON with one line per entry, which keeps diffs readable and files short."""
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in stored.items())
    return "{\n" + ",\n".join(lines) + "\n}"


@dataclass(frozen=True, slots=True)
class Pair:
    """All runs of one recipe.

    Attributes:
        name: Name of the recipe.
        shared: Runs with the paper's split, one per seed; may be empty.
        unseen: Runs on unseen speakers, one per seed; may be empty.
    """

    name: str
    shared: tuple[Record, ...]
    unseen: tuple[Record, ...]

    @property
    def runs(self) -> tuple[Record, ...]:
        """Runs of both splits."""
        return self.shared + self.unseen

    @property
    def gap(self) -> float | None:
        """Accuracy lost on unseen speakers; None if a split was not run."""
        if not self.shared or not self.unseen:
            return None
        return mean_of(self.shared, "war") - mean_of(self.unseen, "war")

    @property
    def like_for_like(self) -> float | None:
        """The same gap on RAVDESS alone, which is in both test splits."""
        shared, unseen = (
            find_figures(runs, "by_corpus.ravdess.war") for runs in (self.shared, self.unseen)
        )
        return float(np.mean(shared) - np.mean(unseen)) if shared and unseen else None


def pair_records(records: Iterable[Record]) -> list[Pair]:
    """Group the runs by recipe, in the order of `RECIPES`; runs on a subset of clips last."""
    known = list(records)
    pairs = []
    for name in dict.fromkeys([*RECIPES, *(record.name for record in known)]):
        shared, unseen = (
            tuple(r for r in known if r.name == name and r.split == split)
            for split in ("random", "speaker")
        )
        if shared or unseen:
            pairs.append(Pair(name, shared, unseen))
    return pairs


def mean_of(runs: Sequence[Record], figure: str) -> float:
    """Return the mean over seeds of a test figure."""
    return float(np.mean([run.test[figure] for run in runs]))


def find_figures(runs: Iterable[Record], place: str) -> list[float]:
    """Return a figure of each run that has it.

    Args:
        runs: Some runs.
        place: Path in a record, such as `test.war`. Of a dict it is the sum; of a history,
            `history.accuracy.kept` is the value at the epoch kept, `.last` the last one, and
            `history.val_loss.least` the epoch of the least.
    """
    return [figure for run in runs if (figure := _find_figure(run, place)) is not None]


def _find_figure(run: Record, place: str) -> float | None:
    part, *keys = place.split(".")
    found: Any = getattr(run, part)
    for key in keys:
        if isinstance(found, list) and key == "least":
            found = int(np.argmin(found)) + 1
        elif isinstance(found, list):
            found = found[-1 if key == "last" else run.epochs["kept"] - 1]
        elif key in found:
            found = found[key]
        else:
            return None
    return float(sum(found.values()) if isinstance(found, dict) else found)
