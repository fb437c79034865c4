"""The runs of one recipe, by both splits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ser_core.training.reproduce.recipes import REPRODUCTIONS
from ser_core.training.reproduce.record import Record


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
