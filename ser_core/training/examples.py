"""Clips ready for the network: those with speech, and what each is to be called."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import PipelineConfig
from ser_core.errors import CorpusError
from ser_core.features import Features
from ser_core.labels import LABELS
from ser_core.training.protocols import Rows
from ser_core.training.store import load_features


@dataclass(frozen=True, slots=True)
class Examples:
    """Clips ready for the network.

    Attributes:
        features: One (n_frames, n_features) array a clip.
        truth: (n_clips,) int64 indices into the labels.
    """

    features: list[Features]
    truth: npt.NDArray[np.int64]


def load_examples(
    table: pd.DataFrame,
    config: PipelineConfig,
    *,
    labels: Sequence[str] = LABELS,
    cache: Path | None = None,
) -> dict[str, Examples]:
    """Features and labels by side of the split.

    Args:
        table: Clips as `tabulate_clips` lists them.
        config: Settings of the path from file to features.
        labels: The emotions, in the order of their indices.
        cache: Folder of the feature stores.

    Returns:
        `Examples` under `train`, `development` and `test`, in the table's order;
        clips without speech are left out.

    Raises:
        CorpusError: A side has no clip left.
    """
    features = load_features([Path(path) for path in table["path"]], config, cache=cache)
    sides: dict[str, Examples] = {}
    for side in ("train", "development", "test"):
        examples = pick_examples(table, features, np.flatnonzero(table["split"] == side), labels)
        if not examples.features:
            raise CorpusError(f"No clip with speech is left for {side}; name other speakers.")
        sides[side] = examples
    return sides


def pick_examples(
    table: pd.DataFrame,
    features: Sequence[Features | None],
    rows: Rows,
    labels: Sequence[str] = LABELS,
) -> Examples:
    """The clips with speech among some rows.

    Args:
        table: Clips.
        features: Of each of its rows; None where nobody speaks.
        rows: Which rows.
        labels: The emotions, in the order of their indices.
    """
    heard = [row for row in rows if features[row] is not None]
    return Examples(
        features=[clip for row in heard if (clip := features[row]) is not None],
        truth=np.array([labels.index(emotion) for emotion in table["emotion"].iloc[heard]]),
    )
