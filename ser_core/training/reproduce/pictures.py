"""The chart of the papers' figures beside ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ser_core.training.figures import DPI

PRINTED, SHARED, UNSEEN = "0.45", "#d99a00", "#3f78c9"


@dataclass(frozen=True, slots=True)
class Gap:
    """One system's accuracies, shares between 0 and 1.

    Attributes:
        name: The system.
        printed: What its papers print.
        shared: Ours, speakers shared; None where that was not run.
        unseen: Ours, unseen speakers; None where that was not run.
    """

    name: str
    printed: tuple[float, ...]
    shared: float | None
    unseen: float | None


def plot_gaps(gaps: Sequence[Gap], path: Path) -> None:
    """Draw a line for each system, from unseen speakers to shared ones, and the papers' marks.

    Args:
        gaps: The systems, the first on top.
        path: Where the PNG goes.
    """
    figure = Figure(figsize=(8, 1.6 + 0.42 * len(gaps)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(gaps) - 1, -1, -1)
    for row, gap in zip(rows, gaps, strict=True):
        if gap.shared is not None and gap.unseen is not None:
            axes.plot((gap.unseen, gap.shared), (row, row), color="0.8", linewidth=3, zorder=1)
    ours = [(row, gap) for row, gap in zip(rows, gaps, strict=True)]
    printed = [(share, row) for row, gap in ours for share in gap.printed]
    shared = [(gap.shared, row) for row, gap in ours if gap.shared is not None]
    unseen = [(gap.unseen, row) for row, gap in ours if gap.unseen is not None]
    for points, label, colour, marker in (
        (printed, "printed by the papers", PRINTED, "|"),
        (shared, "ours, speakers shared", SHARED, "o"),
        (unseen, "ours, unseen speakers", UNSEEN, "s"),
    ):
        if points:
            x, y = zip(*points, strict=True)
            size = 160 if marker == "|" else 55
            axes.scatter(x, y, size, color=colour, marker=marker, label=label, zorder=2)
    axes.set_yticks(list(rows), [gap.name for gap in gaps])
    axes.set(xlim=(0.0, 1.0), ylim=(-0.7, len(gaps) - 0.3), title="Accuracy on test clips")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, dpi=DPI)
