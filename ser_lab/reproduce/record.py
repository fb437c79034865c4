"""The runs of one recipe, by both splits."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from ser_core.errors import SerError
from ser_lab.evaluate.records import FORMAT, read_json, write_text
from ser_lab.reproduce.recipes import REPRODUCTIONS

FOLDER = "reproduction"
"""Folder of these records among all run records."""
DIGITS = 5
"""Decimals of the figures in a record."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one training of one recipe gave.

    Attributes:
        family: The system.
        variant: Its variant; may be empty.
        split: `random` or `speaker`.
        seed: Seed of draw and training.
        settings: The recipe.
        commit: Commit of the code that trained.
        machine: What it ran on.
        corpora: Names under `present`, `missing` and `unseen_missing`.
        n_clips: Clips and copies on each side.
        n_parameters: Trainable weights.
        epochs: How many were `run`, which one was `kept`, how many were `allowed`; 0 where
            there are none.
        train_s: How long the training took, features apart.
        history: By name, one figure an epoch.
        development: Figures as `Scores` has them.
        test: The same, on the test clips.
        by_corpus: UAR, WAR and clips of each tested corpus.
        unseen: The same of corpora that were never learned from.
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
        """Where it belongs among all runs, without suffix."""
        return Path(self.name, self.split, f"seed-{self.seed}")

    def write(self, runs_folder: Path) -> Path:
        """Write the record to its place among all run records."""
        path = (runs_folder / FOLDER / self.place).with_suffix(".json")
        stored = {"format": FORMAT} | _rounded(asdict(self)) | {"settings": self.settings}
        write_text(path, _compact(stored) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            SerError: The file is no such record of this version.
        """
        stored = read_json(path)
        names = {field.name for field in fields(cls)}
        if missing := names - set(stored):
            raise SerError(f"{path} lacks {sorted(missing)}. Delete it and reproduce again.")
        return cls(**{name: stored[name] for name in names})


def read_records(runs_folder: Path) -> Iterator[Record]:
    """Every record of a reproduction, by path."""
    for path in sorted((runs_folder / FOLDER).glob("*/*/seed-*.json")):
        yield Record.read(path)


def _compact(stored: dict[str, Any]) -> str:
    """A line for each entry, so that a change shows in a diff and arrays stay short."""
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in stored.items())
    return "{\n" + ",\n".join(lines) + "\n}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class Pair:
    """All runs of one recipe.

    Attributes:
        name: Of the recipe.
        shared: Runs by the paper's split, seed by seed; may be empty.
        unseen: Runs on unseen speakers, seed by seed; may be empty.
    """

    name: str
    shared: tuple[Record, ...]
    unseen: tuple[Record, ...]

    @property
    def runs(self) -> tuple[Record, ...]:
        """Those of both splits."""
        return self.shared + self.unseen

    @property
    def gap(self) -> float | None:
        """Accuracy lost on unseen speakers; None where a split was not run."""
        if not self.shared or not self.unseen:
            return None
        return mean_of(self.shared, "war") - mean_of(self.unseen, "war")

    @property
    def like_for_like(self) -> float | None:
        """The same on RAVDESS's clips alone, which both splits test."""
        shared, unseen = (share_of(runs, "ravdess") for runs in (self.shared, self.unseen))
        return None if shared is None or unseen is None else shared - unseen


def pair_records(records: Iterable[Record]) -> list[Pair]:
    """Bring the runs of each recipe together, recipes in the order of `REPRODUCTIONS`."""
    known = list(records)
    names = [recipe.name for variants in REPRODUCTIONS.values() for recipe in variants]
    pairs = []
    for name in names:
        shared, unseen = (
            tuple(r for r in known if r.name == name and r.split == split)
            for split in ("random", "speaker")
        )
        if shared or unseen:
            pairs.append(Pair(name, shared, unseen))
    return pairs


def mean_of(runs: Sequence[Record], figure: str) -> float:
    """Mean over seeds of a test figure."""
    return float(np.mean([run.test[figure] for run in runs]))


def share_of(runs: Sequence[Record], corpus: str) -> float | None:
    """Mean over seeds of the accuracy on one tested corpus; None where it was not tested."""
    shares = [run.by_corpus[corpus]["war"] for run in runs if corpus in run.by_corpus]
    return float(np.mean(shares)) if shares else None
