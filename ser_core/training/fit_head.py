"""Training the head of the accurate model on an encoder's stored vectors."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import numpy.typing as npt

from ser_core.features import Features, pad_features
from ser_core.training.architectures import HeadConfig, build_head, frame_statistics

Vectors = npt.NDArray[np.float16]
Batch = tuple[dict[str, npt.NDArray[np.generic]], Features]


@dataclass(frozen=True, slots=True)
class HeadTraining:
    """How the head is trained.

    Attributes:
        head: Size of the network.
        steps: Updates in all.
        batch_size: Clips an update.
        crop: Vectors of a clip that one update sees, a random stretch.
        learning_rate: Highest step of AdamW; it warms up, then falls along a cosine.
        weight_decay: Of AdamW.
        mixup: Both parameters of the beta distribution that mixes pairs of clips.
        label_smoothing: Share of the target that all labels share.
        vote_share: Share of the target that the listeners' votes give, where known.
        hidden_share: Most of a clip's vectors that one update hides, in one stretch.
        averaging: Momentum of the average over the weights of the last updates.
    """

    head: HeadConfig = field(default_factory=HeadConfig)
    steps: int = 800
    batch_size: int = 64
    crop: int = 36
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    mixup: float = 0.3
    label_smoothing: float = 0.1
    vote_share: float = 0.0
    hidden_share: float = 0.2
    averaging: float = 0.99


class VectorBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Clips drawn by weight, cropped, partly hidden, and mixed in pairs."""

    def __init__(
        self,
        vectors: Sequence[Vectors],
        targets: npt.NDArray[np.float32],
        weights: npt.NDArray[np.float64],
        config: HeadTraining,
        *,
        mean: Sequence[float],
        seed: int,
    ) -> None:
        """Prepare the draws.

        Args:
            vectors: One (n_vectors, n_columns) array a clip.
            targets: (n_clips, n_labels), each row a distribution.
            weights: (n_clips,) chances of a clip to be drawn, in any scale.
            config: Batch size and how clips are changed.
            mean: Mean of each column, which stands for what is hidden.
            seed: Seed of all draws.
        """
        super().__init__()
        self._vectors = vectors
        self._targets = targets
        self._chances = np.cumsum(weights) / np.sum(weights)
        self._config = config
        self._seed = seed
        self._fill = np.asarray(mean, dtype=np.float32)

    def __len__(self) -> int:
        """How many batches: one a step."""
        return self._config.steps

    def __getitem__(self, index: int) -> Batch:
        """Draw one batch: `vectors` with `n_vectors`, and targets."""
        config = self._config
        random = np.random.default_rng([self._seed, index])
        rows = np.searchsorted(self._chances, random.random(config.batch_size))
        crops = [self._crop(self._vectors[row], random) for row in rows]
        vectors, n_vectors = pad_features([*crops, self._frame()])
        vectors, n_vectors, targets = vectors[:-1], n_vectors[:-1], self._targets[rows]
        drawn = random.beta(config.mixup, config.mixup, size=len(rows))
        share: Features = np.maximum(drawn, 1.0 - drawn).astype(np.float32)  # the clip outweighs
        partner = random.permutation(len(rows))
        vectors = _mix(vectors, vectors[partner], share[:, None, None])
        return (
            {"vectors": vectors, "n_vectors": n_vectors},
            _mix(targets, targets[partner], share[:, None]),
        )

    def _frame(self) -> Features:
        """A clip of full length, so that every batch has one shape."""
        return np.zeros((self._config.crop, self._vectors[0].shape[1]), np.float32)

    def _crop(self, clip: Vectors, random: np.random.Generator) -> Features:
        """A random stretch of a clip with a stretch of it hidden."""
        length = min(len(clip), self._config.crop)
        start = random.integers(len(clip) - length + 1)
        cropped = clip[start : start + length].astype(np.float32)
        n_hidden = random.integers(int(self._config.hidden_share * length) + 1)
        first = random.integers(length - n_hidden + 1)
        cropped[first : first + n_hidden] = self._fill
        return cropped


def _mix(own: Features, other: Features, share: Features) -> Features:
    return share * own + (1.0 - share) * other


def soft_targets(
    truth: npt.NDArray[np.int64],
    votes: npt.NDArray[np.float64],
    config: HeadTraining,
) -> npt.NDArray[np.float32]:
    """Targets between the intended emotion, the listeners' votes and indifference.

    Args:
        truth: (n_clips,) indices into the labels.
        votes: (n_clips, n_labels) counts; a row of zeros where nobody voted.
        config: The shares.

    Returns:
        (n_clips, n_labels), each row a distribution.
    """
    n_labels = votes.shape[1]
    targets = np.eye(n_labels)[truth]
    n_votes = votes.sum(axis=1, keepdims=True)
    share = np.where(n_votes > 0, config.vote_share, 0.0)
    targets = (1.0 - share) * targets + share * votes / np.maximum(n_votes, 1.0)
    smoothing = config.label_smoothing
    return np.asarray((1.0 - smoothing) * targets + smoothing / n_labels, dtype=np.float32)


def train_head(
    vectors: Sequence[Vectors],
    targets: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    config: HeadTraining,
    *,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """Train a head for a fixed number of updates and average its last weights.

    Args:
        vectors: One (n_vectors, n_columns) array a training clip.
        targets: (n_clips, n_labels), as `soft_targets` makes them.
        weights: (n_clips,) chances of a clip to be drawn.
        config: Network and schedule.
        seed: Seeds weights, dropout and draws.
        callbacks: Keras callbacks, for progress.

    Returns:
        The head; it gives logits.
    """
    keras.utils.set_random_seed(seed)
    mean, variance = frame_statistics(vectors)
    head = build_head(config.head, mean=mean, variance=variance, n_labels=targets.shape[1])
    warmup = config.steps // 12
    rate = keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 100,
        config.steps - warmup,
        alpha=0.01,
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
    )
    head.compile(
        optimizer=keras.optimizers.AdamW(
            rate,
            weight_decay=config.weight_decay,
            global_clipnorm=1.0,
            use_ema=True,
            ema_momentum=config.averaging,
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    batches = VectorBatches(vectors, targets, weights, config, mean=mean, seed=seed)
    head.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=list(callbacks))
    return head


def head_logits(head: keras.Model, vectors: Sequence[Vectors]) -> npt.NDArray[np.float32]:
    """Logits of many clips, batch by batch.

    Args:
        head: As `train_head` returns it.
        vectors: One (n_vectors, n_columns) array a clip.

    Returns:
        (n_clips, n_labels) float32 in the order given.
    """
    logits = np.empty((len(vectors), head.output_shape[1]), np.float32)
    by_length = np.argsort([len(clip) for clip in vectors], kind="stable")
    for start in range(0, len(vectors), 128):
        rows = by_length[start : start + 128]
        batch, n_vectors = pad_features([vectors[row].astype(np.float32) for row in rows])
        answer = head({"vectors": batch, "n_vectors": n_vectors}, training=False)
        logits[rows] = keras.ops.convert_to_numpy(answer)
    return logits
