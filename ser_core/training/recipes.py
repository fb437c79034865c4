"""Recipes: whatever can be trained on a fold and answer for its test clips."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import PipelineConfig
from ser_core.errors import SerError
from ser_core.training.accurate import AccurateRecipe
from ser_core.training.compact import CompactRecipe
from ser_core.training.drawn import answer_rows
from ser_core.training.examples import pick_examples
from ser_core.training.fit import TrainConfig, train_network
from ser_core.training.protocols import Fold
from ser_core.training.store import load_by_corpus, load_features

Probabilities = npt.NDArray[np.floating[Any]]


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
    ) -> Probabilities:
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


@dataclass(frozen=True, slots=True)
class LstmRecipe:
    """The baseline: stacked LSTM layers over the papers' columns.

    Attributes:
        pipeline: Settings of the path from file to features.
        training: Network and schedule.
        name: Short name.
        corpora: Corpora that it learns from.
    """

    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    name: str = "lstm"
    corpora: tuple[str, ...] = ("ravdess", "tess")

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the features, the network and the schedule."""
        return {"pipeline": self.pipeline.to_dict(), "training": asdict(self.training)}

    def fit_predict(
        self,
        table: pd.DataFrame,
        fold: Fold,
        *,
        data: Path,  # noqa: ARG002
        seed: int,
        run_folder: Path,
    ) -> Probabilities:
        """See `TrainingRecipe`; a test clip without speech is answered evenly."""
        features = load_by_corpus(table, lambda paths: load_features(paths, self.pipeline))
        sides = {
            "train": pick_examples(table, features, fold.train),
            "development": pick_examples(table, features, fold.development),
        }
        trained = train_network(sides, self.training, seed=seed, run_folder=run_folder)
        return answer_rows(trained.network, trained.calibration, features, fold.test)


RECIPES: dict[str, TrainingRecipe] = {
    recipe.name: recipe for recipe in (LstmRecipe(), AccurateRecipe(), CompactRecipe())
}
"""Every recipe by its name."""


def find_recipe(name: str) -> TrainingRecipe:
    """Look a recipe up.

    Raises:
        SerError: There is none of that name.
    """
    if name not in RECIPES:
        raise SerError(f"{name!r} is no recipe; known: {', '.join(RECIPES)}.")
    return RECIPES[name]
