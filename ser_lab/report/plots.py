"""Charts of trainings and of their figures, as PNG files."""

import logging
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ser_core.paths import replacing

if TYPE_CHECKING:
    import keras

mpl.use("Agg")
# Fonts of other scripts often have a single weight, which it would warn of.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

DPI = 120


@dataclass(frozen=True, slots=True)
class System:
    """One system's headline figure in a protocol.

    Attributes:
        name: Its name on the chart.
        value: The figure, a share between 0 and 1.
        interval: Its 95% interval, where known.
        ours: Whether this project measured it.
    """

    name: str
    value: float
    interval: tuple[float, float] | None = None
    ours: bool = False


def plot_curves(history: pd.DataFrame, path: Path) -> None:
    """Plot loss and accuracy by epoch, of the training and of the development split.

    Args:
        history: One row an epoch: loss, accuracy, val_loss, val_accuracy.
        path: The PNG to write.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    best = int(history["val_accuracy"].argmax()) + 1
    marker = "o" if len(history) == 1 else ""  # a line needs two epochs
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for column, label, colour in (
            (name, "training", "#3f78c9"),
            (f"val_{name}", "development", "#d1453b"),
        ):
            axes.plot(epochs, history[column], marker=marker, label=label, color=colour)
        axes.axvline(best, color="0.6", linestyle=":", label=f"kept: epoch {best}")
        axes.set(xlabel="epoch", title=name.capitalize())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    save_chart(figure, path)


def plot_confusion(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], title: str, path: Path
) -> None:
    """Plot a confusion matrix: counts, and row shares as colour.

    Args:
        confusion: Counts, actual emotions down, predicted across.
        labels: Emotions in that order.
        title: Title of the chart.
        path: The PNG to write.
    """
    names, fonts = chart_labels(labels)
    if names != list(labels):
        title = f"{title}\nNumbers: the emotions in the order of manifest.json"
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]}\n{share:.0%}" if counts[row, column] else "·"
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontfamily=fonts)
    axes.set_yticks(range(len(names)), names, fontfamily=fonts)
    axes.set(xlabel="predicted", ylabel="acted", title=title)
    figure.colorbar(image, label="share of the row", shrink=0.8)
    save_chart(figure, path)


def chart_labels(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Choose fonts of this machine that have the characters of labels, in any script.

    Returns:
        The labels, or their numbers from 1 where no font has all characters, and font families.
    """
    families = [font_manager.FontProperties().get_name()]
    characters = {ord(c) for label in labels for c in label if unicodedata.category(c) != "Cf"}
    missing = characters - _characters_of(font_manager.findfont(families[0]))
    for path in sorted(font_manager.findSystemFonts()) if missing else ():
        if found := missing & _characters_of(path):
            font_manager.fontManager.addfont(path)
            families.append(font_manager.FontProperties(fname=path).get_name())
            missing -= found
    names = [str(i + 1) for i in range(len(labels))] if missing else list(labels)
    return names, families


def _characters_of(path: str) -> set[int]:
    """Return the code points that a font has; none where it cannot be read."""
    try:
        return set(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return set()


def plot_systems(systems: Sequence[System], title: str, path: Path) -> None:
    """Plot a bar for each system, the best on top, ours in colour with its interval.

    Args:
        systems: The systems, in any order.
        title: Title of the chart.
        path: The PNG to write.
    """
    ranked = sorted(systems, key=lambda system: system.value)
    figure = Figure(figsize=(8, 1.2 + 0.34 * len(ranked)), layout="constrained")
    axes = figure.subplots()
    for row, system in enumerate(ranked):
        low, high = system.interval or (system.value, system.value)
        colour = "#3f78c9" if system.ours else "0.75"
        axes.barh(row, system.value, color=colour, height=0.7)
        if system.interval:
            axes.plot((low, high), (row, row), color="black", linewidth=1.5)
        axes.text(high + 0.01, row, f"{system.value:.1%}", va="center", fontsize=8)
    axes.set_yticks(range(len(ranked)), [system.name for system in ranked])
    axes.set(xlim=(0.0, 1.05), title=title)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.25)
    save_chart(figure, path)


def plot_calibration(
    curves: Mapping[str, Sequence[Mapping[str, float]]], title: str, path: Path
) -> None:
    """Plot accuracy over confidence, a line for each system.

    Args:
        curves: By system, bins with the fields of `CalibrationBin`.
        title: Title of the chart.
        path: The PNG to write.
    """
    figure = Figure(figsize=(4.8, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color="0.6", linestyle=":", label="calibrated")
    for name, bins in curves.items():
        confidence, accuracy = ([b[key] for b in bins] for key in ("confidence", "accuracy"))
        (line,) = axes.plot(confidence, accuracy, linewidth=1, label=name)
        most = max(b["n_clips"] for b in bins)
        sizes = [60 * b["n_clips"] / most for b in bins]
        axes.scatter(confidence, accuracy, s=sizes, color=line.get_color())
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy", title=title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize="small")
    save_chart(figure, path)


def draw_network(network: "keras.Model", path: Path) -> None:
    """Draw a network from its inputs to its logits: a box for each layer.

    A box has the layer's name, its class, the shape of its output without the batch, and its
    number of weights. Where layers are networks themselves, as in an ensemble, each is drawn.

    Args:
        network: A functional model.
        path: The PNG to write.
    """
    parts = [layer for layer in network.layers if hasattr(layer, "operations")] or [network]
    levels = [_levels(part.operations) for part in parts]
    widths = [max(map(len, rows)) for rows in levels]
    figure = Figure(
        figsize=(2.8 * sum(widths), 0.75 * max(map(len, levels)) + 0.4), layout="constrained"
    )
    row = figure.subplots(1, len(parts), squeeze=False, width_ratios=widths)[0]
    for axes, part, rows, width in zip(row, parts, levels, widths, strict=True):
        _draw_part(axes, rows)
        axes.set(xlim=(-width / 2, width / 2), ylim=(0.5 - len(rows), 0.5), title=part.name)
        axes.axis("off")
    save_chart(figure, path)


def write_summary(network: "keras.Model", path: Path) -> None:
    """Write Keras's summary of a network and of the networks in it: layers, shapes, weights."""
    lines: list[str] = []
    network.summary(print_fn=lines.append, line_length=80, expand_nested=True)
    path.write_text("\n".join(lines), encoding="utf-8")


def _levels(operations: Sequence[Any]) -> list[list[Any]]:
    """Group the operations of a model by the longest way from an input."""
    depths: dict[int, int] = {}  # by output tensor
    levels: list[list[Any]] = []
    for operation in operations:  # in the order of computation
        before = [depths[t] for t in _tensors(operation.input) if t in depths]
        depth = max(before, default=-1) + 1
        depths |= dict.fromkeys(_tensors(operation.output), depth)
        levels += [[] for _ in range(depth + 1 - len(levels))]
        levels[depth].append(operation)
    return levels


def _draw_part(axes: Any, levels: Sequence[Sequence[Any]]) -> None:
    """Draw boxes a level below the other, and an arrow from each to those that take its output."""
    places: dict[int, tuple[float, float]] = {}  # by output tensor
    box = {"boxstyle": "round", "facecolor": "#eef3fb", "edgecolor": "#3f78c9"}
    arrow: dict[str, Any] = {
        "arrowstyle": "->",
        "color": "0.5",
        "shrinkA": 16,
        "shrinkB": 16,
        "zorder": 1,
    }
    for depth, level in enumerate(levels):
        for i, operation in enumerate(level):
            x, y = i - (len(level) - 1) / 2, -depth
            for start in {places[t] for t in _tensors(operation.input) if t in places}:
                around = x == start[0] and start[1] - y > 1  # not through the boxes between
                arrow["connectionstyle"] = f"arc3,rad={0.3 if around else 0}"
                axes.annotate("", (x, y), start, arrowprops=arrow)
            places |= dict.fromkeys(_tensors(operation.output), (x, y))
            weights = sum(int(np.prod(w.shape)) for w in getattr(operation, "weights", ()))
            shape = " × ".join(str(n or "n") for n in _shape(operation))
            facts = [type(operation).__name__, shape, f"{weights:,} weights" if weights else ""]
            text = f"{operation.name}\n{', '.join(filter(None, facts))}"
            axes.text(x, y, text, ha="center", va="center", fontsize=7, bbox=box, zorder=2)


def _tensors(structure: Any) -> list[int]:
    """Return identities of the tensors in an operation's input or output."""
    import keras  # slow to load, and the other charts do without

    return [id(tensor) for tensor in keras.tree.flatten(structure)]


def _shape(operation: Any) -> tuple[int | None, ...]:
    import keras

    return tuple(keras.tree.flatten(operation.output)[0].shape[1:])


def save_chart(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and create its folders; it replaces nothing but a chart."""
    with replacing(path, lambda found: b"Matplotlib" in found.read_bytes()[:500]) as draft:
        figure.savefig(draft, dpi=DPI, format="png")
