"""Gain of references without labels (`ser_core.reference`), from committed records alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ser_core.labels import LABELS
from ser_core.reference import Reference
from ser_lab.evaluate.records import FoldRecord
from ser_lab.evaluate.strangers import merge_calm
from ser_lab.metrics import narrow, unweighted_recall

Rows = npt.NDArray[np.int64]
Random = np.random.Generator

N_CLIPS = (5, 10, 20, 50)
"""Clips of a reference."""
MOST_TESTED = 500
"""Clips of a fold that are tested, drawn at random."""


@dataclass(frozen=True, slots=True)
class AdaptedScore:
    """UAR with references of one kind, the mean over the folds.

    Attributes:
        kind: Which clips of the speaker form the reference, a key of `KINDS`.
        n_clips: Number of them, at most.
        uar: By fold.
        without: UAR of the same clips without a reference, by fold.
    """

    kind: str
    n_clips: int
    uar: dict[str, float]
    without: dict[str, float]

    @property
    def gain(self) -> float:
        """Mean difference that references make."""
        return float(np.mean([self.uar[fold] - self.without[fold] for fold in self.uar]))


def _balanced(emotions: Rows, tested: int, n: int, random: Random) -> Rows:  # noqa: ARG001
    kinds = random.permutation(np.unique(emotions))
    rows = random.permutation(len(emotions))
    by_emotion = [rows[emotions[rows] == kind] for kind in kinds]
    order = [group[i] for i in range(n) for group in by_emotion if i < len(group)]
    return np.array(order[:n], np.int64)


def _as_they_come(emotions: Rows, tested: int, n: int, random: Random) -> Rows:  # noqa: ARG001
    return random.permutation(len(emotions))[:n]


def _one_emotion(emotions: Rows, tested: int, n: int, random: Random) -> Rows:  # noqa: ARG001
    kind = random.permutation(np.unique(emotions))[:1]  # none of a speaker with one clip
    return random.permutation(np.flatnonzero(np.isin(emotions, kind)))[:n]


def _same_emotion(emotions: Rows, tested: int, n: int, random: Random) -> Rows:
    return random.permutation(np.flatnonzero(emotions == tested))[:n]


KINDS: dict[str, Callable[[Rows, int, int, Random], Rows]] = {
    "balanced": _balanced,
    "as they come": _as_they_come,
    "one emotion": _one_emotion,
    "the same emotion": _same_emotion,
}
"""How the clips of a reference are drawn from a speaker's others; the last is the worst case."""


def measure_adapted(records: Sequence[FoldRecord]) -> list[AdaptedScore]:
    """Measure UAR with references from other clips of the same speaker.

    A clip is never part of its own reference, and no label is used but to draw the clips.

    Args:
        records: Folds of one seed, each a corpus or a fold of one.

    Returns:
        A score for each of `KINDS` and `N_CLIPS`.
    """
    folds = [_Fold.of(record) for record in records]
    without = {fold.name: fold.uar(fold.as_answered) for fold in folds}
    scores = []
    for kind, draw in KINDS.items():
        for n in N_CLIPS:
            uar = {fold.name: fold.uar(partial(fold.adapted, draw, n)) for fold in folds}
            scores.append(AdaptedScore(kind, n, uar, without))
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """Answers of a fold: (n_clips, n_labels) probabilities, (n_clips,) truth and speakers."""

    name: str
    probabilities: npt.NDArray[np.float64]
    truth: Rows
    speakers: npt.NDArray[np.str_]
    classes: tuple[str, ...]
    tested: Rows

    @classmethod
    def of(cls, record: FoldRecord) -> "_Fold":
        answers = record.answers
        truth = np.array([LABELS.index(emotion) for emotion in answers["truth"]])
        tested = np.random.default_rng(0).permutation(len(answers))[:MOST_TESTED]
        return cls(
            record.fold,
            answers[list(LABELS)].to_numpy(np.float64),
            truth,
            answers["speaker"].to_numpy(str),
            record.classes,
            np.sort(tested),
        )

    def uar(self, answer: Callable[[], Iterator[Sequence[float]]]) -> float:
        """Return the UAR of the tested clips, with calm and neutral as the page decides."""
        merged = merge_calm(np.array(list(answer())), self.classes)
        columns = np.array([LABELS.index(name) for name in self.classes])
        predicted = columns[narrow(merged, LABELS, self.classes).argmax(axis=1)]
        truth = self.truth[self.tested]
        return unweighted_recall(truth, predicted == truth)

    def as_answered(self) -> Iterator[Sequence[float]]:
        """Yield the probabilities of the tested clips."""
        yield from self.probabilities[self.tested]

    def adapted(
        self, draw: Callable[[Rows, int, int, Random], Rows], n: int
    ) -> Iterator[Sequence[float]]:
        """Yield them adapted to each clip's speaker."""
        random = np.random.default_rng(0)
        for row in self.tested:
            others = np.flatnonzero(self.speakers == self.speakers[row])
            others = others[others != row]
            drawn = others[draw(self.truth[others], int(self.truth[row]), n, random)]
            yield Reference.of(self.probabilities[drawn]).adapt(self.probabilities[row])
