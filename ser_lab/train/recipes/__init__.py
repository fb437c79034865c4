"""A recipe turned to somebody's own recordings: a table of paths, labels and speakers."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.errors import CorpusError, SerError
from ser_core.labels import order_labels
from ser_lab.data.csv_corpus import clips_from_csv, corpus_of
from ser_lab.data.protocols import Fold
from ser_lab.data.splits import SpeakerSplit
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.compact import CompactRecipe
from ser_lab.train.recipes.lstm import LstmRecipe
from ser_lab.train.sampling import CopyPlan


class TrainingRecipe(Protocol):
    """What a protocol needs of a system that is trained anew in each fold."""

    @property
    def name(self) -> str:
        """Short name, part of a file name."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is learned, as JSON; a change means training again."""

    @property
    def corpora(self) -> tuple[str, ...]:
        """Corpora that it would learn from, beside those that a protocol needs."""

    def fit_predict(
        self, table: pd.DataFrame, fold: Fold, *, data: Path, seed: int, run_folder: Path
    ) -> npt.NDArray[np.floating[Any]]:
        """Learn from a fold's training rows, calibrate on its development rows, and answer.

        Args:
            table: Clips as `list_clips` gives them.
            fold: Which rows of it stand on which side.
            data: Folder that holds a folder for each corpus.
            seed: Seed of everything that is drawn.
            run_folder: Where logs and checkpoints go; it need not exist.

        Returns:
            (n_test, n_labels), rows as in `fold.test`, columns as in `LABELS`.
        """


Recipe = LstmRecipe | AccurateRecipe | CompactRecipe
"""What can be shipped, too."""

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe for recipe in (LstmRecipe(), AccurateRecipe(), CompactRecipe())
}
"""Every recipe by its name."""


def find_recipe(name: str) -> Recipe:
    """Look a recipe up.

    Raises:
        SerError: There is none of that name.
    """
    if name not in RECIPES:
        raise SerError(f"{name!r} is not a recipe; known: {', '.join(RECIPES)}.")
    return RECIPES[name]


HELD_OUT_SHARE = 0.2
"""Share of the speakers that the test has, and as many again to choose and calibrate."""
FEWEST_SPEAKERS = 3


def custom_recipe(recipe: Recipe, table: Path) -> Recipe:
    """A recipe that learns from a table alone, its labels and some of its speakers.

    Args:
        recipe: What is trained.
        table: See `clips_from_csv`.

    Raises:
        CorpusError: The table cannot be read; or there are too few speakers or labels to
            learn from some and test on others.
    """
    clips = clips_from_csv(table)
    labels = order_labels([clip.emotion for clip in clips])
    if len(labels) < 2:
        raise CorpusError(f"{table} has only the label {labels[0]}; at least two are needed.")
    if len({label.casefold() for label in labels}) < len(labels):
        raise CorpusError(f"{table}: labels differ only by case among {', '.join(labels)}.")
    split = split_speakers([clip.speaker for clip in clips], table)
    held_out = {*split.test, *split.development}
    learned = {clip.emotion for clip in clips if clip.speaker not in held_out}
    if absent := [label for label in labels if label not in learned]:
        raise CorpusError(
            f"No training speaker has {', '.join(absent)}; held out are "
            f"{', '.join(sorted(held_out))}. Record these labels with more speakers."
        )
    corpus = corpus_of(table)
    if isinstance(recipe, LstmRecipe):
        return replace(recipe, corpora=(corpus,), split=split, labels=labels)
    teacher = recipe.teacher if isinstance(recipe, CompactRecipe) else recipe
    turned = replace(
        teacher,
        shares=((corpus, 1.0),),
        copies=tuple(CopyPlan(plan.settings) for plan in teacher.copies),
        split=split,
        labels=labels,
    )
    return replace(recipe, teacher=turned) if isinstance(recipe, CompactRecipe) else turned


def split_speakers(speakers: list[str], table: Path) -> SpeakerSplit:
    """Hold out a fifth of the speakers for the test, and another fifth to choose and calibrate.

    Args:
        speakers: Speaker of each clip.
        table: Where they are from, for the message.

    Raises:
        CorpusError: There are fewer than three.
    """
    names = sorted(set(speakers))
    if len(names) < FEWEST_SPEAKERS:
        raise CorpusError(
            f"{table} has {len(names)} speakers; at least {FEWEST_SPEAKERS} are needed: for "
            "training, validation and testing on an unseen voice."
        )
    drawn = np.random.default_rng(0).permutation(names).tolist()
    n_held_out = max(1, round(HELD_OUT_SHARE * len(names)))
    return SpeakerSplit(
        test=tuple(sorted(drawn[:n_held_out])),
        development=tuple(sorted(drawn[n_held_out : 2 * n_held_out])),
    )
