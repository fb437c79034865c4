"""Clips for each emotion made alike: the emotions that every corpus has, then the rarest's size."""

import pandas as pd

from ser_core.labels import LABELS

SEED = 0
"""Seed of the draw that `cut_to_rarest` makes."""


def common_emotions(table: pd.DataFrame) -> tuple[str, ...]:
    """The emotions that every corpus of a table has, in label order.

    Args:
        table: Clips, with `corpus` and `emotion`.
    """
    corpora = [set(rows["emotion"]) for _, rows in table.groupby("corpus")]
    return tuple(label for label in LABELS if all(label in emotions for emotions in corpora))


def cut_to_rarest(table: pd.DataFrame) -> pd.DataFrame:
    """Draw clips until every emotion has as many as the rarest one.

    Args:
        table: Clips, with `emotion`.

    Returns:
        Its rows that were drawn, without replacement, in their order.
    """
    if table.empty:
        return table
    fewest = int(table["emotion"].value_counts().min())
    return table.groupby("emotion").sample(n=fewest, random_state=SEED).sort_index()
