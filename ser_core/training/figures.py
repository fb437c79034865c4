"""Pictures of a training: curves and confusion matrices, as PNG files."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

mpl.use("Agg")

DPI = 120


def plot_curves(history: pd.DataFrame, path: Path) -> None:
    """Draw loss and accuracy by epoch, training beside development speakers.

    Args:
        history: One row an epoch: loss, accuracy, val_loss, val_accuracy.
        path: Where the PNG goes.
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
    figure.savefig(path, dpi=DPI)


def plot_confusion(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], title: str, path: Path
) -> None:
    """Draw a confusion matrix: counts, and row shares as colour.

    Args:
        confusion: Counts, actual emotions down, predicted across.
        labels: Emotions in that order.
        title: What was tested.
        path: Where the PNG goes.
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
    axes.set(xlabel="heard by the model", ylabel="acted", title=title)
    figure.colorbar(image, label="share of the row", shrink=0.8)
    figure.savefig(path, dpi=DPI)
