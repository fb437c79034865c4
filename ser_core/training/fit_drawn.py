"""Training a head or a whole network on clips, and changed copies, drawn by weight."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from ser_core.labels import LABELS
from ser_core.training.architectures import STEPS, frame_statistics, join_members
from ser_core.training.draws import DrawnTraining, LessonBatches, Lessons, VectorBatches, Vectors


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


def train_committee(
    vectors: Sequence[Vectors],
    targets: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    config: DrawnTraining,
    *,
    seed: int,
    copies: Sequence[Sequence[Vectors | None]] = (),
    lessons: Lessons | None = None,
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
        else LessonBatches(*clips, lessons=lessons, **options)
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
    config: DrawnTraining,
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
