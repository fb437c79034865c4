"""Training, development and test clips of a reproduction, and their augmented copies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import train_test_split

from ser_core.corpora import CORPORA
from ser_core.errors import CorpusError
from ser_core.features import Features
from ser_lab.data.feature_store import load_by_corpus, load_features
from ser_lab.data.protocols import Rows
from ser_lab.data.splits import (
    CREMA_D_SPLIT,
    RAVDESS_FOLDS,
    choose_subset,
    list_clips,
    speakers_of,
)
from ser_lab.reproduce.recipes import Copy, RandomSplit, Reproduction

SplitKind = Literal["random", "speaker"]
SPLIT_KINDS: tuple[SplitKind, ...] = ("random", "speaker")
"""The papers' split, with shared speakers, and one with unseen speakers."""
SPLITS = ("train", "development", "test")
DEVELOPMENT_FOLDS_ON = 2
"""Offset in RAVDESS folds from the test actors to the development actors."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Clips and copies of one corpus collection, with features.

    Attributes:
        table: One row a clip or copy: the columns of `list_clips`, and `copy`, which is
            empty for the clip itself.
        features: One (n_frames, n_columns) array a row.
    """

    table: pd.DataFrame
    features: Sequence[Features]

    def truth(self, labels: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return (n_rows,) indices into labels."""
        return np.array([labels.index(emotion) for emotion in self.table["emotion"]])


def present_corpora(names: Sequence[str], data: Path) -> tuple[list[str], list[str]]:
    """Split names of corpora into those that are here and those that are missing.

    Raises:
        CorpusError: None is here.
    """
    present = [name for name in names if CORPORA[name].is_present(data)]
    missing = [name for name in names if name not in present]
    if not present:
        sources = ", ".join(f"{name} from {CORPORA[name].source}" for name in missing)
        raise CorpusError(
            f"{data} contains none of the corpora that this needs. Download {sources}."
        )
    return present, missing


def load_examples(recipe: Reproduction, corpora: Sequence[str], data: Path) -> Examples:
    """Load clips of a recipe's emotions, with features and any copies.

    Args:
        recipe: Emotions, pipeline, subset and copies.
        corpora: Which corpora.
        data: Folder that holds a folder for each corpus.

    Raises:
        CorpusError: No clip is in the recipe's subset.
    """
    clips = choose_subset(list_clips(data, corpora), recipe.subset)
    tables, features = [], []
    for change in recipe.changes:
        kind = change.settings.kind if isinstance(change, Copy) else ""
        loaded = load_by_corpus(
            clips, partial(load_features, config=recipe.pipeline, changes=change)
        )
        known = clips["emotion"].isin(recipe.labels).to_numpy()
        has_speech = np.array([clip is not None for clip in loaded])
        rows = np.flatnonzero(known & has_speech)
        tables.append(clips.iloc[rows].assign(copy=kind))
        features += [clip for i in rows if (clip := loaded[i]) is not None]
    return Examples(pd.concat(tables, ignore_index=True), features)


def draw_splits(
    recipe: Reproduction, table: pd.DataFrame, split: SplitKind, seed: int
) -> list[Rows]:
    """Return rows of the training, development and test clips.

    Args:
        recipe: Number of clips, and when copies are made.
        table: Of `Examples`.
        split: `random`, as in the paper, or `speaker`.
        seed: Seed of the split; another seed tests other RAVDESS actors.

    Raises:
        CorpusError: A split would be empty.
    """
    random = np.random.default_rng(seed)
    sampled = np.flatnonzero((table["copy"] == "") | (recipe.copies == "before"))
    if recipe.balanced:
        sampled = _balance(table, sampled, random)
    if split == "random":
        sampled = random.permutation(sampled)[: recipe.random.most]
        splits = _split_randomly(table, sampled, recipe.random, seed)
    else:
        names = table["speaker"].map(held_out_speakers(table, seed)).fillna("train").to_numpy()
        splits = [sampled[names[sampled] == name] for name in SPLITS]
    if recipe.copies == "after":
        paths = table["path"].astype(str)
        splits[0] = np.flatnonzero(paths.isin(paths.iloc[splits[0]]))
    if empty := [name for name, rows in zip(SPLITS, splits, strict=True) if not len(rows)]:
        raise CorpusError(
            f"{recipe.name} by {split}: no clip for {' and '.join(empty)}. "
            "Download the complete corpora."
        )
    return [np.sort(rows) for rows in splits]


def held_out_speakers(table: pd.DataFrame, seed: int) -> Mapping[str, str]:
    """Return the held-out speakers, each with its split.

    RAVDESS actors by EmoBox's folds, the first seed as for the shipped models; CREMA-D's by its
    protocol. TESS's two women and SAVEE's four men are too few to hold out.
    """
    n_folds = len(RAVDESS_FOLDS)
    test = speakers_of("ravdess", RAVDESS_FOLDS[seed % n_folds])
    development = speakers_of("ravdess", RAVDESS_FOLDS[(seed + DEVELOPMENT_FOLDS_ON) % n_folds])
    splits = dict.fromkeys((*development, *CREMA_D_SPLIT.development), "development")
    splits |= dict.fromkeys((*test, *CREMA_D_SPLIT.test), "test")
    here = set(table["speaker"])
    return {speaker: name for speaker, name in splits.items() if speaker in here}


def _balance(table: pd.DataFrame, rows: Rows, random: np.random.Generator) -> Rows:
    """Sample as many clips of each emotion as of the rarest."""
    emotions = table["emotion"].to_numpy()[rows]
    names, counts = np.unique(emotions, return_counts=True)
    kept = [random.permutation(rows[emotions == name])[: counts.min()] for name in names]
    return np.concatenate(kept)


def _split_randomly(table: pd.DataFrame, rows: Rows, split: RandomSplit, seed: int) -> list[Rows]:
    total = sum(split.shares)
    n_develop, n_test = (round(len(rows) * share / total) for share in split.shares[1:])
    splits: list[Rows] = []
    for size in (n_test, n_develop):
        emotions = table["emotion"].iloc[rows] if split.stratified else None
        rows, held_out = train_test_split(
            rows, test_size=size, random_state=seed, stratify=emotions
        )
        splits.append(held_out)
    test, development = splits
    return [rows, development, test]
