"""Training one network: data in, best epoch on development speakers out."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ser_core.labels import LABELS
from ser_core.model import in_batches
from ser_core.training.architectures import LstmConfig, frame_statistics
from ser_core.training.batches import LengthBatches
from ser_core.training.calibration import Calibration, calibrate
from ser_core.training.examples import Examples

logger = logging.getLogger(__name__)

BEST = "best.keras"
"""Name of the network at its best epoch, among a run's logs."""
PREDICT_BATCH = 64
"""Clips a batch where nothing is learned; the answer does not depend on it."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How the papers' network is trained.

    Attributes:
        network: Size of the network.
        batch_size: Clips a step.
        epochs: Most passes over the training clips.
        patience: Passes without a better development accuracy before the end.
        learning_rate: Step of RMSprop.
    """

    network: LstmConfig = field(default_factory=LstmConfig)
    batch_size: int = 23
    epochs: int = 60
    patience: int = 15
    learning_rate: float = 1e-3


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A network at its best epoch.

    Attributes:
        network: Gives logits.
        history: One row an epoch: loss, accuracy, val_loss, val_accuracy.
        calibration: Of its logits, by the development speakers.
        seed: Seed of the run.
        development_accuracy: Accuracy on the development speakers at that epoch.
    """

    network: keras.Model
    history: pd.DataFrame
    calibration: Calibration
    seed: int
    development_accuracy: float


def train_network(
    sides: dict[str, Examples],
    config: TrainConfig,
    *,
    seed: int,
    run_folder: Path,
    n_labels: int = len(LABELS),
) -> TrainedNetwork:
    """Train with RMSprop and keep the epoch with the best development accuracy.

    Args:
        sides: `train` and `development` examples.
        config: Network and schedule.
        seed: Seeds weights, dropout and the order of clips.
        run_folder: Where `best.keras` and `log.csv` are written while training.
        n_labels: How many emotions it tells apart.

    Returns:
        The best network, calibrated on the development speakers.
    """
    keras.utils.set_random_seed(seed)
    run_folder.mkdir(parents=True, exist_ok=True)
    mean, variance = frame_statistics(sides["train"].features)
    network = config.network.build(mean=mean, variance=variance, n_labels=n_labels)
    network.compile(
        optimizer=keras.optimizers.RMSprop(config.learning_rate),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = network.fit(
        _batches(sides["train"], config.batch_size, n_labels, seed=seed),
        validation_data=_batches(sides["development"], PREDICT_BATCH, n_labels),
        epochs=config.epochs,
        verbose=0,
        callbacks=keep_best(
            run_folder, epochs=config.epochs, patience=config.patience, title=f"Seed {seed}"
        ),
    )
    network = keras.models.load_model(run_folder / BEST)
    logits = predict_logits(network, sides["development"].features, n_labels=n_labels)
    accuracy = float((logits.argmax(axis=1) == sides["development"].truth).mean())
    return TrainedNetwork(
        network=network,
        history=pd.DataFrame(history.history),
        calibration=calibrate(logits, sides["development"].truth),
        seed=seed,
        development_accuracy=accuracy,
    )


def _batches(
    examples: Examples, batch_size: int, n_labels: int, *, seed: int | None = None
) -> LengthBatches:
    targets = np.eye(n_labels, dtype=np.float32)[examples.truth]
    return LengthBatches(examples.features, targets, batch_size=batch_size, seed=seed)


def keep_best(
    folder: Path, *, epochs: int, patience: int, title: str
) -> list[keras.callbacks.Callback]:
    """Callbacks that keep the epoch with the best development accuracy.

    Args:
        folder: Where the network of that epoch, `BEST`, and `log.csv` go.
        epochs: Most passes over the training clips.
        patience: Passes without a better accuracy before the end.
        title: What stands before the bar.
    """
    monitor = {"monitor": "val_accuracy", "mode": "max"}
    return [
        keras.callbacks.ModelCheckpoint(folder / BEST, save_best_only=True, **monitor),
        keras.callbacks.EarlyStopping(patience=patience, **monitor),
        keras.callbacks.CSVLogger(folder / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
        TrainingProgress(epochs, title),
    ]


class TrainingProgress(keras.callbacks.Callback):  # type: ignore[misc]
    """One bar over all epochs, or over all updates where there is one epoch."""

    def __init__(self, total: int, title: str, *, by_step: bool = False) -> None:
        """Prepare a bar.

        Args:
            total: Epochs, or updates.
            title: What stands before the bar.
            by_step: Whether it counts updates.
        """
        super().__init__()
        self._by_step = by_step
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        )  # fmt: skip
        self._task = self._bar.add_task(title, total=total, note="")

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Show the bar."""
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the bar on by an update."""
        if self._by_step:
            note = f"loss {(logs or {}).get('loss', float('nan')):.3f}"
            self._bar.update(self._task, completed=batch + 1, note=note)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Move the bar on by an epoch."""
        logger.info("epoch %d: %s", epoch + 1, logs)
        if not self._by_step:
            note = f"development accuracy {(logs or {}).get('val_accuracy', float('nan')):.1%}"
            self._bar.update(self._task, completed=epoch + 1, note=note)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Leave the bar as it stands."""
        self._bar.stop()


def predict_logits(
    network: Callable[..., object],
    clips: Sequence[npt.NDArray[np.floating[Any]]],
    *,
    n_labels: int = len(LABELS),
) -> npt.NDArray[np.float32]:
    """Logits of many clips that nothing is learned from; see `in_batches`.

    Args:
        network: Takes frames and their counts, as `architectures` makes it.
        clips: One (n_frames, n_features) array a clip.
        n_labels: How many emotions it tells apart.

    Returns:
        (n_clips, n_labels) float32 in the order given.
    """

    def ask(*batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.asarray(keras.ops.convert_to_numpy(network([*batch], training=False)))

    return in_batches(ask, clips, n_labels=n_labels, at_once=PREDICT_BATCH)
