"""The charts of a table of clips, each as a PNG for papers and as an SVG for the page."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from ser_core.labels import BY_NAME, LABELS

DPI = 160
WIDTH_INCHES = 4.6
"""A chart is as wide as a phone, so that its text can be read there."""
ROW_INCHES = 0.27
_INK = "#010203"
"""Stands for the colour of the text until the page's own replaces it."""
PALETTE = ("#3f78c9", "#d98b00", "#2f9e8f", "#d1453b", "#8a5cc7", "#8c6d4f", "#d65f9c", "#7c8797")
"""Colours that read on light and on dark ground."""
_OWN = {label: emotion.colour for label, emotion in BY_NAME.items()} | {
    "female": "#a45fb0",
    "male": "#3d93a3",
    "low": "#e3b04b",
    "medium": "#d98b00",
    "high": "#b3591a",
    "normal": "#7fa8dd",
    "strong": "#2f5fa8",
    "not told": "#9aa0a6",
}
"""Colours of what is no corpus."""
_STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "moodmirror",
}


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        name: Its file's name, without suffix.
        title: What it shows.
        png: On white.
        svg: On no ground, its text in the colour of the text around it.
    """

    name: str
    title: str
    png: bytes
    svg: str


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name: its own where it has one, else the palette's, in order."""
    plain = [name for name in names if name not in _OWN]
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(plain)} | _OWN


def chart_counts(name: str, title: str, counts: pd.DataFrame) -> Chart:
    """Draw stacked bars, a row each, with the sum at its end.

    Args:
        name: Of the chart's file.
        title: What is counted.
        counts: Index what the rows are, columns what is stacked, values counts.
    """

    def draw(axes: Axes) -> None:
        places, left = np.arange(len(counts)), np.zeros(len(counts))
        colours = colours_of([str(column) for column in counts])
        for column in counts:
            width = counts[column].to_numpy(dtype=np.float64)
            axes.barh(places, width, left=left, color=colours[str(column)], label=str(column))
            left += width
        for place, total in zip(places, left, strict=True):
            axes.annotate(f"{total:,.0f}", (total, place), (4, 0), textcoords="offset points",
                          va="center", fontsize=7.5)  # fmt: skip
        _name_rows(axes, [str(row) for row in counts.index])
        axes.set_xlim(0.0, 1.12 * max(left.max(initial=0.0), 1.0))
        axes.set_xlabel("clips")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))

    return _chart(name, title, draw, n_rows=len(counts), n_names=len(counts.columns))


def chart_spread(name: str, title: str, unit: str, table: pd.DataFrame, column: str) -> Chart:
    """Draw, for each emotion and corpus, the median of a measure and where half the clips lie.

    Args:
        name: Of the chart's file.
        title: What is measured.
        unit: Its unit.
        table: Clips, with `emotion`, `corpus` and the column.
        column: The measure.
    """
    corpora = list(table["corpus"].unique())
    emotions = [label for label in LABELS if label in set(table["emotion"])]
    colours = colours_of(corpora)

    def draw(axes: Axes) -> None:
        for i, corpus in enumerate(corpora):
            measured = table[table["corpus"] == corpus].groupby("emotion")[column]
            quarters = measured.quantile([0.25, 0.5, 0.75]).unstack().reindex(emotions)
            low, middle, high = (quarters[q].to_numpy() for q in (0.25, 0.5, 0.75))
            places = np.arange(len(emotions)) + 0.7 * ((i + 0.5) / len(corpora) - 0.5)
            axes.hlines(places, low, high, color=colours[corpus], linewidth=2.0)
            axes.plot(middle, places, "o", color=colours[corpus], markersize=4, label=corpus)
        _name_rows(axes, emotions)
        axes.set_xlabel(unit)
        axes.grid(axis="x", alpha=0.25)

    rows = len(emotions) * max(1.0, 0.45 * len(corpora))
    return _chart(name, title, draw, n_rows=rows, n_names=len(corpora))


def chart_lengths(name: str, title: str, table: pd.DataFrame) -> Chart:
    """Draw how long the clips of each corpus are, as shares of the corpus.

    Args:
        name: Of the chart's file.
        title: What is measured.
        table: Clips, with `corpus` and `duration_s`.
    """
    corpora = list(table["corpus"].unique())
    longest = float(table["duration_s"].fillna(0.0).quantile(0.999)) or 1.0
    edges = np.linspace(0.0, longest, 61)
    colours = colours_of(corpora)

    def draw(axes: Axes) -> None:
        for corpus in corpora:
            lengths = table.loc[table["corpus"] == corpus, "duration_s"].dropna()
            shares = np.histogram(lengths, edges)[0] / max(len(lengths), 1)
            axes.stairs(100 * shares, edges, color=colours[corpus], label=corpus, linewidth=1.4)
        axes.set(xlabel="s", ylabel="% of the corpus", xlim=(0.0, longest), ylim=(0.0, None))
        axes.grid(alpha=0.25)

    return _chart(name, title, draw, n_rows=8, n_names=len(corpora))


def chart_spectra(name: str, title: str, spectra: Mapping[str, npt.NDArray[np.float64]]) -> Chart:
    """Draw the mean spectrum of each corpus.

    Args:
        name: Of the chart's file.
        title: What is shown.
        spectra: By corpus, as `mean_spectrum` gives them.
    """
    colours = colours_of(list(spectra))

    def draw(axes: Axes) -> None:
        for corpus, (frequencies_hz, level) in spectra.items():
            axes.plot(frequencies_hz / 1_000, level, color=colours[corpus], label=corpus,
                      linewidth=1.3)  # fmt: skip
        axes.set(xlabel="kHz", ylabel="dB below the strongest band", xlim=(0.0, 8.0))
        axes.grid(alpha=0.25)

    return _chart(name, title, draw, n_rows=8, n_names=len(spectra))


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Names at the rows, the first on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _chart(
    name: str, title: str, draw: Callable[[Axes], None], *, n_rows: float, n_names: int
) -> Chart:
    n_legend_rows = -(-n_names // 4)
    height = 0.75 + ROW_INCHES * max(n_rows, 2) + 0.2 * n_legend_rows
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        draw(figure.add_subplot())
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8,
                      handlelength=1.2, columnspacing=1.2)  # fmt: skip
        svg = io.StringIO()
        figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
        figure.suptitle(title)
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI, facecolor="white")
    drawing = svg.getvalue()
    return Chart(
        name=name,
        title=title,
        png=png.getvalue(),
        svg=drawing[drawing.index("<svg") :].replace(_INK, "currentColor"),
    )
