"""Charts of trainings and of their figures, as PNG files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ser_core.paths import replacing

mpl.use("Agg")

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
    """Plot loss and accuracy by epoch, of training and of development speakers.

    Args:
        history: One row an epoch: loss, accuracy, val_loss, val_accuracy.
        path: The PNG to write.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    epochs = np.arange(1, len(history) + 1)
    best = int(history["val_accuracy"].argmax()) + 1
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, history[name], label="training", color="#3f78c9")
        axes.plot(epochs, history[f"val_{name}"], label="development speakers", color="#d1453b")
        axes.axvline(best, color="0.6", linestyle=":", label=f"kept: epoch {best}")
        axes.set(xlabel="epoch", title=name.capitalize())
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
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]}\n{share:.0%}" if counts[row, column] else "·"
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="acted", title=title)
    figure.colorbar(image, label="share of the row", shrink=0.8)
    save_chart(figure, path)


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


def save_chart(figure: Figure, path: Path) -> None:
    """Write a figure as PNG and create its folders; it replaces nothing but a chart."""
    with replacing(path, lambda found: b"Matplotlib" in found.read_bytes()[:500]) as draft:
        figure.savefig(draft, dpi=DPI, format="png")
