"""Recipes: whatever can be trained on a fold and answer for its test clips."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.errors import SerError
from ser_core.training.accurate import AccurateRecipe
from ser_core.training.baseline import LstmRecipe
from ser_core.training.compact import CompactRecipe
from ser_core.training.protocols import Fold


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
