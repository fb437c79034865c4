"""Heads and low-rank changes of the encoder, trained on frames that change at each draw.

First the heads alone, then all together in small steps: the encoder is never far from the
published one.

Source: Hu et al. 2021, LoRA: low-rank adaptation of large language models.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from ser_core.features import Features, pad_features
from ser_core.model.assemble import Deltas
from ser_core.whisper.encoder import EncoderBlock, PoolVectors, WhisperEncoder, layers_of
from ser_core.whisper.spec import N_MELS, EncoderConfig
from ser_core.whisper.weights import Tensors
from ser_lab.data.feature_store import Frames
from ser_lab.data.spectral import SpectralChanges, change_frames
from ser_lab.train.architectures import HeadConfig, frame_statistics, join_ensemble
from ser_lab.train.loop import TrainingProgress, known_loss

ENCODER = "encoder"
"""Layer of the adapted encoder in a network."""
STATISTICS_BATCHES = 40
"""Batches whose vectors standardise the heads' columns."""


@dataclass(frozen=True, slots=True)
class EncoderTraining:
    """Heads and schedule.

    Attributes:
        networks: Heads on the encoder's vectors; their logits are averaged.
        rank: Rank of the change of each kernel.
        scale: Factor of the changes, which makes their steps small beside those of the heads.
        head_steps: Updates of the heads alone, on the published encoder.
        head_rate: Highest learning rate of these.
        steps: Updates of both.
        rate: Highest learning rate of these.
        batch_size: Clips in a batch.
        crop: Frames of a clip in a batch, a random stretch.
        weight_decay: Of AdamW.
        label_smoothing: Share of the target that is spread over the emotions of the corpus.
        ema_momentum: Momentum of the moving average over the weights.
        changes: How the frames change.
    """

    networks: tuple[HeadConfig, ...] = (HeadConfig(),)
    rank: int = 16
    scale: float = 0.3
    head_steps: int = 500
    head_rate: float = 2e-3
    steps: int = 5_000
    rate: float = 2e-4
    batch_size: int = 16
    crop: int = 320
    weight_decay: float = 1e-2
    label_smoothing: float = 0.1
    ema_momentum: float = 0.99
    changes: SpectralChanges = field(default_factory=SpectralChanges)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnClips:
    """Clips to draw from.

    Attributes:
        frames: (n_frames, 80) of each clip.
        targets: (n_clips, n_labels), each row a distribution.
        known: (n_clips, n_labels), as in `TrainingClips`.
        weights: (n_clips,) chances of a clip to be drawn, in any scale.
        noises: As in `change_frames`.
    """

    frames: Sequence[Frames]
    targets: npt.NDArray[np.float32]
    known: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]
    noises: Sequence[Features] = ()


class DrawnBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Clips drawn by weight, each changed anew."""

    def __init__(
        self, clips: DrawnClips, config: EncoderTraining, *, n_batches: int, seed: int
    ) -> None:
        """Prepare the draws of `n_batches`."""
        super().__init__(workers=2)  # threads
        self._clips, self._config = clips, config
        self._chances = np.cumsum(clips.weights) / np.sum(clips.weights)
        self._n_batches, self._seed = n_batches, seed

    def again(self, n_batches: int, seed: int) -> Self:
        """Return other draws of the same clips."""
        other = copy(self)
        other._n_batches, other._seed = n_batches, seed
        return other

    def __len__(self) -> int:
        """Return the number of batches, one a step."""
        return self._n_batches

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Draw a batch.

        Returns:
            (batch_size, crop, 80) frames with their lengths; for each head the targets with
            `known` behind them.
        """
        config, random = self._config, np.random.default_rng([self._seed, index])
        rows = np.searchsorted(self._chances, random.random(config.batch_size))
        frames, n_frames = pad_features([self._draw(row, random) for row in rows])
        missing = config.crop - frames.shape[1]  # one length, so that nothing is compiled twice
        frames = np.pad(frames, ((0, 0), (0, missing), (0, 0)))
        targets = np.concatenate([self._clips.targets[rows], self._clips.known[rows]], axis=1)
        return (frames, n_frames), tuple([targets] * len(config.networks))

    def _draw(self, row: int, random: np.random.Generator) -> Features:
        clips, config = self._clips, self._config
        frames = change_frames(clips.frames[row], config.changes, random, noises=clips.noises)
        first = random.integers(max(0, len(frames) - config.crop) + 1)
        return frames[first : first + config.crop]


def train_encoder(
    clips: DrawnClips,
    config: EncoderTraining,
    encoder: EncoderConfig,
    tensors: Tensors,
    *,
    seed: int,
) -> keras.Model:
    """Train heads and low-rank changes of the encoder.

    Args:
        clips: The clips.
        config: Heads and schedule.
        encoder: Blocks whose outputs the heads take, and how they are pooled.
        tensors: Whisper's tensors.
        seed: Seed of weights, dropout and draws.

    Returns:
        From (n_clips, n_frames, 80) frames and their counts to the mean of the heads' logits;
        `split_network` takes it apart.
    """
    keras.utils.set_random_seed(seed)
    batches = DrawnBatches(clips, config, n_batches=STATISTICS_BATCHES, seed=seed)
    inputs, vectors = _connect_encoder(encoder, tensors)
    mean, variance = _vector_statistics(keras.Model(inputs, vectors), batches)
    n_labels = clips.targets.shape[1]
    heads = [
        plan.build(mean=mean, variance=variance, n_labels=n_labels) for plan in config.networks
    ]
    for i, head in enumerate(heads):
        head.name = f"head_{i}"
    network = keras.Model(inputs, [head(list(vectors)) for head in heads])
    adapted = network.get_layer(ENCODER)
    adapted.trainable = False
    _fit(network, batches.again(config.head_steps, seed + 1), config, config.head_rate, "Heads")
    adapted.trainable = True
    add_low_rank(adapted, rank=config.rank, scale=config.scale)
    _fit(network, batches.again(config.steps, seed + 2), config, config.rate, "Encoder and heads")
    logits = network.outputs
    return keras.Model(inputs, layers.Average()(logits) if len(logits) > 1 else logits[0])


def _connect_encoder(encoder: EncoderConfig, tensors: Tensors) -> tuple[list[Any], tuple[Any, Any]]:
    """Return the inputs of a network, and the vectors with their counts that its heads take."""
    frames = keras.Input((None, N_MELS), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    adapted = WhisperEncoder.of(encoder, name=ENCODER)
    adapted.set_tensors(tensors)
    outputs = adapted(frames, n_frames)
    blocks = [outputs[block - 1] for block in encoder.blocks]
    joined = layers.Concatenate()(blocks) if len(blocks) > 1 else blocks[0]
    return [frames, n_frames], PoolVectors(encoder.pool)(joined, (n_frames + 1) // 2)


def _vector_statistics(
    encode: keras.Model, batches: DrawnBatches
) -> tuple[list[float], list[float]]:
    clips = []
    for i in range(len(batches)):
        (frames, n_frames), _ = batches[i]
        vectors, n_vectors = map(keras.ops.convert_to_numpy, encode([frames, n_frames]))
        clips += [clip[:n] for clip, n in zip(vectors, n_vectors, strict=True)]
    return frame_statistics(clips)


def _fit(
    network: keras.Model, batches: DrawnBatches, config: EncoderTraining, rate: float, title: str
) -> None:
    """Train what is trainable, in place; keep the average of its weights."""
    steps = len(batches)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 100,
        steps - steps // 12,
        alpha=0.01,
        warmup_target=rate,
        warmup_steps=steps // 12,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=config.ema_momentum,
    )
    network.compile(optimizer=optimizer, loss=[known_loss] * len(config.networks))
    callbacks = [TrainingProgress(steps, title, by_step=True)]
    network.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=callbacks)


def add_low_rank(encoder: WhisperEncoder, *, rank: int, scale: float) -> None:
    """Make low-rank changes of a published encoder's kernels the only thing that is trained."""
    encoder.freeze()
    for block in encoder.blocks:
        for layer in kernels_of(block).values():
            layer.enable_lora(rank, lora_alpha=scale * rank)


def kernels_of(block: EncoderBlock) -> dict[str, layers.Dense]:
    """Return the dense layers of a block by their names in a Whisper file."""
    return {
        name: layer for name, layer in layers_of(block).items() if isinstance(layer, layers.Dense)
    }


def split_network(network: keras.Model) -> tuple[keras.Model, Deltas]:
    """Return the head of a trained network, and the changes of its encoder.

    Args:
        network: As `train_encoder` returns it.

    Returns:
        From vectors and their counts to logits; and the products that `add_deltas` adds.
    """
    encoder = network.get_layer(ENCODER)
    deltas = {}
    for i, block in enumerate(encoder.blocks):
        for name, layer in kernels_of(block).items():
            scale = layer.lora_alpha / layer.lora_rank
            for part, weight in (("A", layer.lora_kernel_a), ("B", scale * layer.lora_kernel_b)):
                values = keras.ops.convert_to_numpy(weight)
                deltas[f"layers.{i}.{name}.{part}"] = values.astype(np.float16)
    heads = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    return join_ensemble(heads), deltas
