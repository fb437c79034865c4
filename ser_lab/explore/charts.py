"""Charts of a table of clips, and plots of single clips side by side."""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.errors import AudioError
from ser_core.labels import BY_NAME, LABELS
from ser_core.plots import FigureStyle, Picture, draw_sound, share_axes
from ser_core.preprocess import Waveform

DPI = 160
WIDTH_INCHES = 4.6
"""A chart is as wide as a phone, so that its text is legible there."""
ROW_INCHES = 0.27
_INK = "#010203"
"""Placeholder for the colour of the text around an SVG."""
PALETTE = ("#3f78c9", "#d98b00", "#2f9e8f", "#d1453b", "#8a5cc7", "#8c6d4f", "#d65f9c", "#7c8797")
"""Colours that are legible on light and dark backgrounds."""
_COLOURS = {label: emotion.colour for label, emotion in BY_NAME.items()} | {
    "female": "#a45fb0",
    "male": "#3d93a3",
    "low": "#e3b04b",
    "medium": "#d98b00",
    "high": "#b3591a",
    "normal": "#7fa8dd",
    "strong": "#2f5fa8",
    "unknown": "#9aa0a6",
}
"""Fixed colours; corpora take theirs from the palette."""
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


TILE = FigureStyle(size_inches=(3.4, 1.9), dots_per_inch=140, font_points=8.0)
"""Style of the plots of single clips."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        name: File name, without suffix.
        title: Title.
        png: For papers, on white.
        svg: For the page, transparent, with text in the colour of the text around it.
    """

    name: str
    title: str
    png: bytes
    svg: str


@dataclass(frozen=True, slots=True)
class ChosenClip:
    """Plots of one clip.

    Attributes:
        emotion: The acted emotion.
        intensity: Its intensity, where the corpus states one.
        name: File name.
        pictures: One for each of `PICTURES`, on the axes of the set.
    """

    emotion: str
    intensity: str
    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class ChosenSet:
    """One sentence of one speaker, with one clip per emotion or intensity.

    Attributes:
        speaker: As `corpus/speaker`.
        corpus: Name of the corpus.
        statement: The publisher's name of the sentence.
        clips: In label order, or by intensity.
    """

    speaker: str
    corpus: str
    statement: str
    clips: tuple[ChosenClip, ...]


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each name: its fixed one, or the next of the palette."""
    plain = [name for name in names if name not in _COLOURS]
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(plain)} | _COLOURS


def chart_counts(name: str, title: str, counts: pd.DataFrame) -> Chart:
    """Plot stacked bars: a bar for each row of `counts`, a part for each column."""

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
    """Plot median and interquartile range of a column for each emotion and corpus."""
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
    """Plot a histogram of the durations for each corpus, as shares of the corpus."""
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
    """Plot the mean spectrum of each corpus; `spectra` are (2, n_bands), in Hz and dB."""
    colours = colours_of(list(spectra))

    def draw(axes: Axes) -> None:
        for corpus, (frequencies_hz, level) in spectra.items():
            axes.plot(frequencies_hz / 1_000, level, color=colours[corpus], label=corpus,
                      linewidth=1.3)  # fmt: skip
        axes.set(xlabel="kHz", ylabel="dB below the strongest band", xlim=(0.0, 8.0))
        axes.grid(alpha=0.25)

    return _chart(name, title, draw, n_rows=8, n_names=len(spectra))


def draw_set(rows: pd.DataFrame) -> ChosenSet:
    """Plot the clips of a set on common axes, without those that cannot be read."""
    config = AudioConfig()
    sounds: dict[Path, Waveform] = {}
    for path in rows["path"]:
        with suppress(AudioError):  # logged by `measure_clips`
            sounds[path] = load_audio(path, config)
    style = share_axes(list(sounds.values()), config.sample_rate_hz, TILE) if sounds else TILE
    clips = tuple(
        ChosenClip(
            emotion=emotion,
            intensity=intensity,
            name=path.name,
            pictures=draw_sound(sounds[path], config.sample_rate_hz, style=style),
        )
        for path, emotion, intensity in zip(
            rows["path"], rows["emotion"], rows["intensity"], strict=True
        )
        if path in sounds
    )
    first = rows.iloc[0]
    return ChosenSet(first["speaker"], first["corpus"], first["statement"], clips)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
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
