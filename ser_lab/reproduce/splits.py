"""Which clips, and which of their copies, a reproduction learns from and is tested on."""

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
from ser_lab.data.splits import CREMA_D_SPLIT, RAVDESS_FOLDS, list_clips, ravdess_speakers
from ser_lab.reproduce.recipes import COPIES, RandomSplit, Reproduction

Split = Literal["random", "speaker"]
SPLITS: tuple[Split, ...] = ("random", "speaker")
"""The papers' split, speakers on both sides; and speakers never heard."""
SIDES = ("train", "development", "test")
DEVELOPMENT_FOLDS_ON = 2
"""How many of RAVDESS's folds the development actors come after the test actors."""


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
        """(n_rows,) indices into some labels."""
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
    """Clips of a recipe's emotions with their features and, where it has any, their copies.

    Args:
        recipe: Says which emotions, how clips become frames, and whether copies are made.
        corpora: Which corpora.
        data: Folder that holds a folder for each corpus.
    """
    clips = list_clips(data, corpora)
    makers = [None, *(COPIES if recipe.copies != "none" else ())]
    tables, features = [], []
    for maker in makers:
        kind = "" if maker is None else maker.settings.kind
        loaded = load_by_corpus(
            clips, partial(load_features, config=recipe.pipeline, changes=maker)
        )
        known = clips["emotion"].isin(recipe.labels).to_numpy()
        heard = np.array([clip is not None for clip in loaded])
        rows = np.flatnonzero(known & heard)
        tables.append(clips.iloc[rows].assign(copy=kind))
        features += [clip for i in rows if (clip := loaded[i]) is not None]
    return Examples(pd.concat(tables, ignore_index=True), features)


def draw_sides(recipe: Reproduction, table: pd.DataFrame, split: Split, seed: int) -> list[Rows]:
    """Rows to learn from, to develop on and to test on.

    Args:
        recipe: Says how many clips are drawn, and when copies are made.
        table: Of `Examples`.
        split: `random` as the paper did, or `speaker`.
        seed: Seed of the draw; another seed tests other RAVDESS actors.

    Raises:
        CorpusError: A side would be empty.
    """
    random = np.random.default_rng(seed)
    drawn = np.flatnonzero((table["copy"] == "") | (recipe.copies == "before"))
    if recipe.balanced:
        drawn = _balance(table, drawn, random)
    if split == "random":
        drawn = random.permutation(drawn)[: recipe.random.most]
        sides = _cut(table, drawn, recipe.random, seed)
    else:
        side = table["speaker"].map(held_out_speakers(table, seed)).fillna("train").to_numpy()
        sides = [drawn[side[drawn] == name] for name in SIDES]
    if recipe.copies == "after":
        paths = table["path"].astype(str)
        sides[0] = np.flatnonzero(paths.isin(paths.iloc[sides[0]]))
    if empty := [name for name, rows in zip(SIDES, sides, strict=True) if not len(rows)]:
        raise CorpusError(
            f"{recipe.name} by {split}: no clip for {' and '.join(empty)}. "
            "Download the complete corpora."
        )
    return [np.sort(rows) for rows in sides]


def held_out_speakers(table: pd.DataFrame, seed: int) -> Mapping[str, str]:
    """Speakers that are not learned from, with the side that they stand on.

    RAVDESS actors by EmoBox's folds, the first seed as the shipped models hold them out;
    CREMA-D's as everywhere here. TESS's two women and SAVEE's four men are learned from: too
    few to hold out.
    """
    n_folds = len(RAVDESS_FOLDS)
    test = ravdess_speakers(RAVDESS_FOLDS[seed % n_folds])
    development = ravdess_speakers(RAVDESS_FOLDS[(seed + DEVELOPMENT_FOLDS_ON) % n_folds])
    sides = dict.fromkeys((*development, *CREMA_D_SPLIT.development), "development")
    sides |= dict.fromkeys((*test, *CREMA_D_SPLIT.test), "test")
    here = set(table["speaker"])
    return {speaker: side for speaker, side in sides.items() if speaker in here}


def _balance(table: pd.DataFrame, rows: Rows, random: np.random.Generator) -> Rows:
    """As many clips of each emotion as of the rarest, drawn at random."""
    emotions = table["emotion"].to_numpy()[rows]
    names, counts = np.unique(emotions, return_counts=True)
    kept = [random.permutation(rows[emotions == name])[: counts.min()] for name in names]
    return np.concatenate(kept)


def _cut(table: pd.DataFrame, rows: Rows, split: RandomSplit, seed: int) -> list[Rows]:
    """Cut drawn rows into three sides by shares."""
    total = sum(split.shares)
    n_develop, n_test = (round(len(rows) * share / total) for share in split.shares[1:])
    sides: list[Rows] = []
    for size in (n_test, n_develop):
        emotions = table["emotion"].iloc[rows] if split.stratified else None
        rows, side = train_test_split(rows, test_size=size, random_state=seed, stratify=emotions)
        sides.append(side)
    test, development = sides
    return [rows, development, test]
