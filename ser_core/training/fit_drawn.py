"""Training a head or a whole network on clips, and changed copies, drawn by weight."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Self

import keras
import numpy as np
import numpy.typing as npt

from ser_core.features import Features
from ser_core.labels import LABELS
from ser_core.training.architectures import (
    HeadConfig,
    NetworkPlan,
    frame_statistics,
    join_members,
)

Vectors = npt.NDArray[np.float16]
Batch = tuple[tuple[Features, npt.NDArray[np.int32]], Features]


@dataclass(frozen=True, slots=True)
class DrawnTraining:
    """How a network is trained on draws.

    Attributes:
        networks: What is trained, each from a seed of its own; they answer together.
        steps: Updates in all.
        batch_size: Clips an update.
        crop: Vectors of a clip that one update sees, a random stretch.
        learning_rate: Highest step of AdamW; it warms up, then falls along a cosine.
        weight_decay: Of AdamW.
        mixup: Both parameters of the beta distribution that mixes pairs of clips.
        label_smoothing: Share of the target that all labels share.
        changed_share: Share of the draws that see a changed copy of the clip, if any.
        hidden_share: Most of a clip's vectors that one update hides, in one stretch.
        averaging: Momentum of the average over the weights of the last updates.
    """

    networks: tuple[NetworkPlan, ...] = (HeadConfig(),)
    steps: int = 1_000
    batch_size: int = 64
    crop: int = 18
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    mixup: float = 0.3
    label_smoothing: float = 0.1
    changed_share: float = 0.5
    hidden_share: float = 0.2
    averaging: float = 0.99


class VectorBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Clips and their copies drawn by weight, cropped, partly hidden, and mixed in pairs."""

    def __init__(
        self,
        vectors: Sequence[Vectors],
        targets: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float64],
        config: DrawnTraining,
        *,
        mean: Sequence[float],
        seed: int,
        copies: Sequence[Sequence[Vectors | None]] = (),
    ) -> None:
        """Prepare the draws.

        Args:
            vectors: One (n_vectors, n_columns) array a clip.
            targets: (n_clips, n_labels), each row a distribution.
            weights: (n_clips,) chances of a clip to be drawn, in any scale.
            config: Batch size and how clips are changed.
            mean: Mean of each column, which stands for what is hidden.
            seed: Seed of all draws.
            copies: Changed copies of the clips, each in their order, None where there
                is none.
        """
        super().__init__(workers=2)  # threads: one draws while another copies
        clips = [*vectors]
        for changed in copies:
            pairs = zip(changed, vectors, strict=True)
            clips += [clip if other is None else other for other, clip in pairs]
        self._vectors = np.concatenate(clips)
        self._lengths = np.array([len(clip) for clip in clips])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._n_copies = len(copies)
        self._targets = targets
        self._chances = np.cumsum(weights) / np.sum(weights)
        self._config = config
        self._seed = seed
        self._fill = np.asarray(mean, dtype=np.float32)

    def seeded(self, seed: int) -> Self:
        """The same clips under other draws."""
        other = copy(self)
        other._seed = seed
        return other

    def __len__(self) -> int:
        """How many batches: one a step."""
        return self._config.steps

    def __getitem__(self, index: int) -> Batch:
        """Draw one batch, always of one shape: vectors with their lengths, and targets."""
        config = self._config
        random = np.random.default_rng([self._seed, index])
        rows = np.searchsorted(self._chances, random.random(config.batch_size))
        clips = rows + len(self._targets) * self._draw_copies(random)
        vectors, n_vectors = self._crop(clips, random)
        targets = self._targets[rows]
        drawn = random.beta(config.mixup, config.mixup, size=len(rows))
        share: Features = np.maximum(drawn, 1.0 - drawn).astype(np.float32)  # the clip outweighs
        partner = random.permutation(len(rows))
        vectors = _mix(vectors, vectors[partner], share[:, None, None])
        return (vectors, n_vectors), _mix(targets, targets[partner], share[:, None])

    def _draw_copies(self, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """Which copy of each clip of a batch; 0 is the clip as recorded."""
        size = self._config.batch_size
        if self._n_copies == 0:
            return np.zeros(size, np.int64)
        changed = random.random(size) < self._config.changed_share
        return np.where(changed, random.integers(1, self._n_copies + 1, size), 0)

    def _crop(
        self, clips: npt.NDArray[np.int64], random: np.random.Generator
    ) -> tuple[Features, npt.NDArray[np.int32]]:
        """A random stretch of each clip, with a stretch of it hidden."""
        crop = self._config.crop
        n_vectors = np.minimum(self._lengths[clips], crop)
        first = self._starts[clips] + random.integers(self._lengths[clips] - n_vectors + 1)
        n_hidden = random.integers((self._config.hidden_share * n_vectors).astype(int) + 1)
        hidden_from = random.integers(n_vectors - n_hidden + 1)
        step = np.arange(crop)
        real = step < n_vectors[:, None]
        hidden = (step >= hidden_from[:, None]) & (step < (hidden_from + n_hidden)[:, None])
        vectors = self._vectors[np.where(real, first[:, None] + step, 0)].astype(np.float32)
        # Past a clip's end, too: a longer clip that it is mixed with must hear nothing there.
        vectors[hidden | ~real] = self._fill
        return vectors, n_vectors.astype(np.int32)


def _mix(own: Features, other: Features, share: Features) -> Features:
    """Mix in place, which saves a third of the time of a batch; `other` is no view of `own`."""
    own *= share
    other *= 1.0 - share
    own += other
    return own


def soft_targets(truth: npt.NDArray[np.int64], smoothing: float) -> npt.NDArray[np.float32]:
    """Targets between the acted emotion and indifference.

    Args:
        truth: (n_clips,) indices into the labels.
        smoothing: Share of the target that all labels share.

    Returns:
        (n_clips, n_labels), each row a distribution.
    """
    n_labels = len(LABELS)
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
        callbacks: Keras callbacks, for progress.

    Returns:
        The network; it gives the mean of the members' logits.
    """
    mean, variance = frame_statistics(vectors)
    batches = VectorBatches(vectors, targets, weights, config, mean=mean, seed=seed, copies=copies)
    members = []
    for i, plan in enumerate(config.networks):
        member_seed = len(config.networks) * seed + i
        keras.utils.set_random_seed(member_seed)
        network = plan.build(mean=mean, variance=variance, n_labels=targets.shape[1])
        train_member(network, batches.seeded(member_seed), config, callbacks=callbacks)
        # A model of its own, so that no state of the optimiser is saved with it.
        members.append(keras.Model(network.inputs, network.output, name=network.name))
    return join_members(members)


def train_member(
    network: keras.Model,
    batches: VectorBatches,
    config: DrawnTraining,
    *,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Train a network for a fixed number of updates and average its last weights.

    Args:
        network: Gives logits; it is changed.
        batches: What it learns from.
        config: Schedule.
        callbacks: Keras callbacks, for progress.
    """
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
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    network.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=list(callbacks))
