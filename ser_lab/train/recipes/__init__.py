"""Recipes by name, and recipes for a table of recordings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ser_core.corpora import Clip
from ser_core.errors import CorpusError, SerError
from ser_core.labels import comparable_name, order_labels
from ser_core.model.emotion_model import EmotionModel
from ser_lab.data.splits import SpeakerSplit
from ser_lab.data.tables import clips_from_csv, corpus_of, readable_clips
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.base import Recipe
from ser_lab.train.recipes.compact import CompactRecipe
from ser_lab.train.recipes.finetune import FineTuneRecipe
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
    clips, labels = _read_clips(recipe, table)
    split = split_speakers([clip.speaker for clip in clips], table)
    _check_trained(clips, labels, {*split.test, *split.development})
    return recipe.on_corpus(corpus_of(table), split, labels)


def finetune_recipe(model: EmotionModel, table: Path, *, own_labels: bool = False) -> Recipe:
    """Return a recipe that fine-tunes a model on a table, with some of its speakers held out.

    Args:
        model: The model to start from.
        table: See `clips_from_csv`.
        own_labels: Whether the new model has the table's labels, not those of the model.

    Raises:
        CorpusError: As in `custom_recipe`, or a label is none of the model's.
    """
    recipe: Recipe = FineTuneRecipe(model.folder, model.manifest)
    clips, labels = _read_clips(recipe, table)
    known = labels if own_labels else model.manifest.labels
    if unknown := [label for label in labels if label not in known]:
        raise CorpusError(
            f"{table} has the labels {', '.join(unknown)}, and the model's are "
            f"{', '.join(known)}. Spell them as the model does, or replace its labels by the "
            "table's with --own-labels."
        )
    split = split_speakers([clip.speaker for clip in clips], table, development=False)
    _check_trained(clips, labels, {*split.test})
    return recipe.on_corpus(corpus_of(table), split, known)


def _read_clips(recipe: Recipe, table: Path) -> tuple[list[Clip], tuple[str, ...]]:
    """Return the readable clips of a table, and their labels in order."""
    clips = readable_clips(clips_from_csv(table), recipe.pipeline.audio)
    labels = order_labels([clip.emotion for clip in clips])
    if len(labels) < 2:
        raise CorpusError(f"{table} has only the label {labels[0]}; at least two are needed.")
    if len(set(map(comparable_name, labels))) < len(labels):
        raise CorpusError(
            f"{table}: labels differ only by case or invisible characters among "
            f"{', '.join(labels)}. Spell each in one way."
        )
    return clips, labels


def _check_trained(clips: Sequence[Clip], labels: Sequence[str], held_out: set[str]) -> None:
    trained = {clip.emotion for clip in clips if clip.speaker not in held_out}
    if absent := [label for label in labels if label not in trained]:
        raise CorpusError(
            f"No training speaker has {', '.join(absent)}; held out are "
            f"{', '.join(sorted(held_out))}. Record these labels with more speakers."
        )


def split_speakers(speakers: list[str], table: Path, *, development: bool = True) -> SpeakerSplit:
    """Hold out a fifth of the speakers for the test, and another fifth to choose and calibrate.

    Args:
        speakers: The speaker of each clip.
        table: Their table, for the message.
        development: Whether to hold out that other fifth.

    Raises:
        CorpusError: There are fewer than three, or two without development speakers.
    """
    names = sorted(set(speakers))
    fewest = FEWEST_SPEAKERS if development else FEWEST_SPEAKERS - 1
    if len(names) < fewest:
        uses = "training, validation and testing" if development else "training and testing"
        raise CorpusError(
            f"{table} has {len(names)} speaker{'s' * (len(names) != 1)}; at least {fewest} are "
            f"needed: for {uses} on an unseen voice."
        )
    shuffled = np.random.default_rng(0).permutation(names).tolist()
    n_held_out = max(1, round(HELD_OUT_SHARE * len(names)))
    following = shuffled[n_held_out : 2 * n_held_out] if development else []
    return SpeakerSplit(
        test=tuple(sorted(shuffled[:n_held_out])), development=tuple(sorted(following))
    )
