"""What recipes that train on draws share: which clips are heard, how often, and the answers."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from keras import ops
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ser_core.features import Features, pad_features
from ser_core.labels import LABELS
from ser_core.model.emotion_model import in_batches
from ser_lab.data.encoder_store import Clips, Vectors
from ser_lab.data.feature_store import Examples
from ser_lab.data.protocols import Rows
from ser_lab.metrics import Scores, score, unweighted_recall
from ser_lab.train.architectures import STEPS, LstmConfig, frame_statistics, join_members
from ser_lab.train.calibration import Calibration, calibrate
from ser_lab.train.sampling import (
    DistillationBatches,
    DistillationTargets,
    SampledTraining,
    VectorBatches,
)

POOL_BATCHES = 8
"""Batches drawn at random together and then sorted by length among themselves."""

Batch = tuple[dict[str, npt.NDArray[np.generic]], Features]


class LengthBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Random batches, each padded to its own longest clip.

    Clips are shuffled, cut into pools of a few batches, and sorted by length within a
    pool: each batch mixes clips of the whole set and still wastes little.
    """

    def __init__(
        self,
        clips: Sequence[Features],
        targets: Features,
        *,
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        """Cut clips into batches.

        Args:
            clips: One (n_frames, n_features) array a clip.
            targets: (n_clips, n_labels) float32.
            batch_size: Clips a batch.
            seed: Seed of the order, new in each epoch; None keeps it.
        """
        super().__init__()
        self._clips = clips
        self._targets = targets
        self._batch_size = batch_size
        self._random = None if seed is None else np.random.default_rng(seed)
        by_length = np.argsort([len(clip) for clip in clips], kind="stable")
        batches = self._cut(by_length)
        # Keras takes the dimensions in which the first two batches differ as free ones.
        self._batches = [batches[-1], *batches[:-1]]

    def __len__(self) -> int:
        """How many batches."""
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        """One batch, padded: `features` with `n_frames`, and targets."""
        rows = self._batches[index]
        features, n_frames = pad_features([self._clips[row] for row in rows])
        return {"features": features, "n_frames": n_frames}, self._targets[rows]

    def on_epoch_end(self) -> None:
        """Draw a new order."""
        if self._random is None:
            return
        order = self._random.permutation(len(self._clips))
        lengths = np.array([len(clip) for clip in self._clips])
        pool = POOL_BATCHES * self._batch_size
        pools = [order[start : start + pool] for start in range(0, len(order), pool)]
        batches = [batch for p in pools for batch in self._cut(p[np.argsort(lengths[p])])]
        self._batches = [batches[i] for i in self._random.permutation(len(batches))]

    def _cut(self, rows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        return [rows[i : i + self._batch_size] for i in range(0, len(rows), self._batch_size)]


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


def soft_targets(
    truth: npt.NDArray[np.int64], smoothing: float, *, n_labels: int = len(LABELS)
) -> npt.NDArray[np.float32]:
    """Targets between the acted emotion and indifference.

    Args:
        truth: (n_clips,) indices into the labels.
        smoothing: Share of the target that all labels share.
        n_labels: How many labels there are.

    Returns:
        (n_clips, n_labels), each row a distribution.
    """
    targets = (1.0 - smoothing) * np.eye(n_labels)[truth] + smoothing / n_labels
    return np.asarray(targets, dtype=np.float32)


def train_ensemble(
    vectors: Sequence[Vectors],
    targets: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    config: SampledTraining,
    *,
    seed: int,
    copies: Sequence[Sequence[Vectors | None]] = (),
    lessons: DistillationTargets | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Train each of `config.networks` and join them to one.

    Args:
        vectors: One (n_vectors, n_columns) array a training clip.
        targets: (n_clips, n_labels), as `soft_targets` makes them.
        weights: (n_clips,) chances of a clip to be drawn.
        config: Networks, schedule, and how clips are changed.
        seed: Seeds weights, dropout and draws.
        copies: Changed copies of the clips, as `VectorBatches` takes them.
        lessons: What the networks learn beside the targets, each in its layer `STEPS`.
        callbacks: Keras callbacks, for progress.

    Returns:
        The network; it gives the mean of the members' logits.
    """
    mean, variance = frame_statistics(vectors)
    clips = (vectors, targets, weights, config)
    options: dict[str, Any] = {"mean": mean, "seed": seed, "copies": copies}
    batches = (
        VectorBatches(*clips, **options)
        if lessons is None
        else DistillationBatches(*clips, lessons=lessons, **options)
    )
    members = []
    for i, plan in enumerate(config.networks):
        member_seed = len(config.networks) * seed + i
        keras.utils.set_random_seed(member_seed)
        network = plan.build(mean=mean, variance=variance, n_labels=targets.shape[1])
        trainee = network if lessons is None else _with_lessons(network, lessons.n_columns)
        weight = None if lessons is None else lessons.weight
        drawn = batches.seeded(member_seed)
        train_member(trainee, drawn, config, lesson_weight=weight, callbacks=callbacks)
        drawn.forget()
        # A model of its own, so that no state of the optimiser is saved with it.
        members.append(keras.Model(network.inputs, network.output, name=network.name))
    return join_members(members)


def train_member(
    network: keras.Model,
    batches: VectorBatches,
    config: SampledTraining,
    *,
    lesson_weight: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train a network for a fixed number of updates and average its last weights.

    Args:
        network: Gives logits, and lessons where the batches hold some; it is changed.
        batches: What it learns from.
        config: Schedule.
        lesson_weight: How much the lessons count beside the targets; None without lessons.
        callbacks: Keras callbacks, for progress.
    """
    losses: list[Any] = [keras.losses.CategoricalCrossentropy(from_logits=True)]
    loss_weights = [1.0]
    if lesson_weight is not None:
        losses.append(_lesson_loss)
        loss_weights.append(lesson_weight)
    warmup = config.steps // 12
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 100,
        config.steps - warmup,
        alpha=0.01,
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
    )
    network.compile(
        optimizer=keras.optimizers.AdamW(
            rate,
            weight_decay=config.weight_decay,
            global_clipnorm=1.0,
            use_ema=True,
            ema_momentum=config.averaging,
        ),
        loss=losses,
        loss_weights=loss_weights,
    )
    network.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=list(callbacks))


def _with_lessons(network: keras.Model, n_columns: int) -> keras.Model:
    """A network that foretells lessons, too, from what its layer `STEPS` gives."""
    foretold = keras.layers.Dense(n_columns)(network.get_layer(STEPS).output)
    return keras.Model(network.inputs, [network.output, foretold])


def _lesson_loss(lessons: Any, foretold: Any) -> Any:
    """Mean square error of the steps that lie within their clip."""
    real = lessons[..., -1]
    error = ops.mean(ops.square(lessons[..., :-1] - foretold), axis=-1)
    return ops.sum(error * real) / ops.sum(real)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network and how sure it may be.

    Attributes:
        network: Gives logits.
        calibration: Of its logits, by the development rows.
        development_uar: Mean recall on the development rows.
        labels: The emotions, in the order of its logits.
    """

    network: keras.Model
    calibration: Calibration
    development_uar: float
    labels: tuple[str, ...] = LABELS

    @classmethod
    def on(
        cls,
        network: keras.Model,
        table: pd.DataFrame,
        clips: Clips,
        rows: Rows,
        labels: tuple[str, ...] = LABELS,
    ) -> Self:
        """Calibrate and judge a network on development rows."""
        rows = speech_rows(clips, rows)
        truth = truth_of(table, rows, labels)
        logits = predict_logits(network, spoken(clips, rows), n_labels=len(labels))
        uar = unweighted_recall(truth, logits.argmax(axis=1) == truth)
        return cls(network, calibrate(logits, truth), uar, labels)

    def answer(self, clips: Clips, rows: Rows) -> npt.NDArray[np.floating[Any]]:
        """See `answer_rows`."""
        return answer_rows(self.network, self.calibration, clips, rows, n_labels=len(self.labels))

    def score(self, table: pd.DataFrame, clips: Clips, rows: Rows) -> Scores:
        """Figures on some rows."""
        return score(truth_of(table, rows, self.labels), self.answer(clips, rows), self.labels)


def fit_rows(
    table: pd.DataFrame,
    copies: Sequence[Clips],
    heard: Rows,
    development: Rows,
    *,
    targets: npt.NDArray[np.float32],
    shares: Mapping[str, float],
    training: SampledTraining,
    seed: int,
    lessons: DistillationTargets | None = None,
    labels: tuple[str, ...] = LABELS,
) -> Fitted:
    """Train on some rows and calibrate on others.

    Args:
        table: Clips.
        copies: The clips as recorded, then changed copies of them.
        heard: Rows to learn from, in all of which somebody speaks.
        development: Rows to calibrate on.
        targets: (n_heard, n_labels), each row a distribution.
        shares: Share of each corpus.
        training: Networks and schedule.
        seed: Seed of everything that is drawn.
        lessons: What is learned beside the targets, for the heard rows.
        labels: The emotions, in the order of the targets.
    """
    network = train_ensemble(
        spoken(copies[0], heard),
        targets,
        draw_weights(table.iloc[heard], shares),
        training,
        seed=seed,
        copies=[[copy[row] for row in heard] for copy in copies[1:]],
        lessons=lessons,
        callbacks=[TrainingProgress(training.steps, f"Seed {seed}", by_step=True)],
    )
    return Fitted.on(network, table, copies[0], development, labels)


def answer_rows(
    network: keras.Model,
    calibration: Calibration,
    clips: Clips,
    rows: Rows,
    *,
    n_labels: int = len(LABELS),
) -> npt.NDArray[np.floating[Any]]:
    """Probabilities (n_rows, n_labels); a clip without speech is answered evenly."""
    probabilities = np.full((len(rows), n_labels), 1.0 / n_labels)
    heard = [i for i, row in enumerate(rows) if clips[row] is not None]
    logits = predict_logits(network, spoken(clips, rows), n_labels=n_labels)
    probabilities[heard] = calibration.probabilities(logits)
    return probabilities


def speech_rows(clips: Clips, rows: Rows) -> Rows:
    """Those of some rows in which somebody speaks."""
    return np.array([row for row in rows if clips[row] is not None], dtype=np.intp)


def spoken(clips: Clips, rows: Rows) -> list[Vectors]:
    """The clips of some rows, those without speech left out."""
    return [clip for row in rows if (clip := clips[row]) is not None]


def truth_of(
    table: pd.DataFrame, rows: Rows, labels: Sequence[str] = LABELS
) -> npt.NDArray[np.int64]:
    """Indices of the acted emotions."""
    return np.array([labels.index(emotion) for emotion in table["emotion"].iloc[rows]])


def targets_of(
    table: pd.DataFrame, rows: Rows, labels: Sequence[str], smoothing: float
) -> npt.NDArray[np.float32]:
    """What a network learns to answer for some rows; see `soft_targets`."""
    return soft_targets(truth_of(table, rows, labels), smoothing, n_labels=len(labels))


def draw_weights(table: pd.DataFrame, shares: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Chance of each clip so that corpora are drawn by share, and emotions of a corpus alike.

    Args:
        table: The training clips.
        shares: Share of each corpus.
    """
    n_clips = table.groupby(["corpus", "emotion"])["path"].transform("size")
    n_emotions = table.groupby("corpus")["emotion"].transform("nunique")
    weights = table["corpus"].map(shares) / (n_clips * n_emotions)
    return weights.to_numpy(dtype=np.float64)
