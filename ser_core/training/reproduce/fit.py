"""Training the part of a reproduction that learns."""

import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.svm import LinearSVC

from ser_core.training.fit import BEST, keep_best
from ser_core.training.metrics import Floats
from ser_core.training.reproduce.networks import build_core
from ser_core.training.reproduce.recipes import Reproduction

ANSWER_BATCH = 256
"""Clips a batch where nothing is learned."""
SVM_ITERATIONS = 20_000

Side = tuple[Floats, npt.NDArray[np.int64]]
"""Prepared clips, and (n_clips,) indices into the recipe's labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A core at its best epoch.

    Attributes:
        core: From prepared clips to logits.
        history: One row an epoch: loss, accuracy, val_loss, val_accuracy; empty without any.
        train_s: How long it took.
    """

    core: keras.Model
    history: pd.DataFrame
    train_s: float

    @property
    def best_epoch(self) -> int:
        """Which epoch was kept, counted from 1; 0 where there are none."""
        return 0 if self.history.empty else int(self.history["val_accuracy"].argmax()) + 1


def fit(
    recipe: Reproduction, train: Side, development: Side, *, seed: int, epochs: int, folder: Path
) -> Trained:
    """Train a core and keep the epoch with the best development accuracy.

    Args:
        recipe: Network and schedule.
        train: What is learned from.
        development: What chooses the epoch.
        seed: Seed of weights, dropout and the order of clips.
        epochs: Most passes over the training clips.
        folder: Where `BEST` and `log.csv` go; it need not exist.
    """
    keras.utils.set_random_seed(seed)
    core = build_core(
        recipe.plan, train[0], n_labels=len(recipe.labels), standardise=recipe.standardise
    )
    start = time.perf_counter()
    if recipe.schedule is None:
        _fit_planes(core, train, seed)
        return Trained(core, pd.DataFrame(), time.perf_counter() - start)
    core.compile(
        optimizer=recipe.schedule.optimiser,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    folder.mkdir(parents=True, exist_ok=True)
    patience = recipe.schedule.patience or epochs
    history = core.fit(
        *train,
        validation_data=development,
        batch_size=recipe.schedule.batch_size,
        validation_batch_size=ANSWER_BATCH,
        epochs=epochs,
        verbose=0,
        callbacks=keep_best(folder, epochs=epochs, patience=patience, title=recipe.name),
    )
    core = keras.models.load_model(folder / BEST)
    return Trained(core, pd.DataFrame(history.history), time.perf_counter() - start)


def answer(core: keras.Model, prepared: Floats) -> Floats:
    """Logits (n_clips, n_labels) of prepared clips."""
    return np.asarray(core.predict(prepared, batch_size=ANSWER_BATCH, verbose=0))


def _fit_planes(core: keras.Model, train: Side, seed: int) -> None:
    """Find an SVM's planes and lay them into the last layer.

    Source: scikit-learn, `LinearSVC`, one plane an emotion against all others.
    """
    inputs = keras.Model(core.inputs, core.get_layer("logits").input)
    svm = LinearSVC(max_iter=SVM_ITERATIONS, random_state=seed)
    svm.fit(answer(inputs, train[0]), train[1])
    core.get_layer("logits").set_weights([svm.coef_.T, svm.intercept_])
