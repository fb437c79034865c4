"""Recipes by name, and recipes for a table of recordings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser_core.errors import CorpusError, SerError
from ser_core.labels import comparable_name, order_labels
from ser_lab.data.splits import SpeakerSplit
from ser_lab.data.tables import clips_from_csv, corpus_of, readable_clips
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.base import Recipe
from ser_lab.train.recipes.compact import CompactRecipe
from ser_lab.train.recipes.lstm import LstmRecipe

HELD_OUT_SHARE = 0.2
"""Share of the speakers held out for the test, and as many again to choose and calibrate."""
FEWEST_SPEAKERS = 3

_RECIPES: tuple[Recipe, ...] = (LstmRecipe(), AccurateRecipe(), CompactRecipe())
RECIPES = {recipe.name: recipe for recipe in _RECIPES}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        SerError: There is none of that name.
    """
    if name not in RECIPES:
        raise SerError(f"{name!r} is not a recipe; known: {', '.join(RECIPES)}.")
    return RECIPES[name]


def restrict_corpora(recipe: Recipe, corpora: Sequence[str]) -> Recipe:
    """Return a recipe that is trained on these of its corpora alone.

    Raises:
        CorpusError: One is no training corpus of the recipe, or none has test speakers.
    """
    if unknown := sorted({*corpora} - {*recipe.corpora}):
        raise CorpusError(
            f"{', '.join(unknown)} is not among the training corpora of {recipe.name}: "
            f"{', '.join(recipe.corpora)}."
        )
    chosen = recipe.of_corpora([name for name in recipe.corpora if name in corpora])
    if not chosen.split.test:
        raise CorpusError("Name ravdess or crema-d, too: the test speakers are theirs.")
    return chosen


def custom_recipe(recipe: Recipe, table: Path) -> Recipe:
    """Return a recipe for a table alone, with its labels and some of its speakers held out.

    Recordings that cannot be decoded are left out before anything is counted.

    Args:
        recipe: Network and schedule.
        table: See `clips_from_csv`.

    Raises:
        CorpusError: The table cannot be read; or there are too few speakers or labels to
            train on some and test on others.
    """
    clips = readable_clips(clips_from_csv(table), recipe.pipeline.audio)
    labels = order_labels([clip.emotion for clip in clips])
    if len(labels) < 2:
        raise CorpusError(f"{table} has only the label {labels[0]}; at least two are needed.")
    if len(set(map(comparable_name, labels))) < len(labels):
        raise CorpusError(
            f"{table}: labels differ only by case or invisible characters among "
            f"{', '.join(labels)}. Spell each in one way."
        )
    split = split_speakers([clip.speaker for clip in clips], table)
    held_out = {*split.test, *split.development}
    trained = {clip.emotion for clip in clips if clip.speaker not in held_out}
    if absent := [label for label in labels if label not in trained]:
        raise CorpusError(
            f"No training speaker has {', '.join(absent)}; held out are "
            f"{', '.join(sorted(held_out))}. Record these labels with more speakers."
        )
    return recipe.on_corpus(corpus_of(table), split, labels)


def split_speakers(speakers: list[str], table: Path) -> SpeakerSplit:
    """Hold out a fifth of the speakers for the test, and another fifth to choose and calibrate.

    Raises:
        CorpusError: There are fewer than three; the message names their table.
    """
    names = sorted(set(speakers))
    if len(names) < FEWEST_SPEAKERS:
        raise CorpusError(
            f"{table} has {len(names)} speakers; at least {FEWEST_SPEAKERS} are needed: for "
            "training, validation and testing on an unseen voice."
        )
    shuffled = np.random.default_rng(0).permutation(names).tolist()
    n_held_out = max(1, round(HELD_OUT_SHARE * len(names)))
    return SpeakerSplit(
        test=tuple(sorted(shuffled[:n_held_out])),
        development=tuple(sorted(shuffled[n_held_out : 2 * n_held_out])),
    )
