"""Sampled batches: which stretches of which clips, and of which changed copies, are trained on."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.features import Features
from ser_lab.data.augment import Augmentation, Changes
from ser_lab.data.feature_store import Clips, Frames, load_by_corpus
from ser_lab.train.architectures import HeadConfig, NetworkPlan

Inputs = tuple[Features, npt.NDArray[np.int32]]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampledTraining:
    """Networks and schedule of a training on sampled batches.

    Attributes:
        networks: Members of the ensemble, each trained from its own seed.
        steps: Updates of each network.
        batch_size: Clips in a batch.
        crop: Frames of a clip in a batch, a random stretch.
        learning_rate: Highest learning rate of AdamW, after warm-up and before cosine decay.
        weight_decay: Of AdamW.
        mixup: Both parameters of the beta distribution that mixes pairs of clips; 0 mixes none.
        label_smoothing: Share of the target that is spread over all labels.
        changed_share: Share of the samples that take a changed copy of the clip, if any.
        time_mask: Largest share of a stretch that is masked, in one run.
        ema_momentum: Momentum of the moving average over the weights.
        known_only: Whether the loss of a clip covers the emotions of its corpus alone.
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
    time_mask: float = 0.2
    ema_momentum: float = 0.99
    known_only: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class DistillationTargets:
    """Teacher's vectors that a student predicts beside the emotions, one for each step.

    Attributes:
        clips: For the clips as recorded and each changed copy of them, in their order,
            (n_steps, n_columns) float16 a clip; None where there is no such copy.
        stride: Frames of the input a step.
        weight: Weight of their loss beside that of the emotions.
    """

    clips: Sequence[Sequence[Frames | None]]
    stride: int
    weight: float = 1.0

    @property
    def n_columns(self) -> int:
        """Width of the vectors."""
        return int(next(clip.shape[1] for clip in self.clips[0] if clip is not None))


@dataclass(frozen=True, slots=True, eq=False)
class TrainingClips:
    """Clips and their targets.

    Attributes:
        copies: The clips as recorded, then each changed copy of them, in their order,
            (n_vectors, n_columns) a clip; None where there is no such copy.
        targets: (n_clips, n_labels), each row a distribution.
        weights: (n_clips,) chances of a clip to be sampled, in any scale.
        distillation: None without a teacher.
        known: (n_clips, n_labels) float32, 1 where the clip's corpus has the emotion: the loss is
            taken over these. None where every corpus has all.
    """

    copies: Sequence[Sequence[Frames | None]]
    targets: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]
    distillation: DistillationTargets | None = None
    known: npt.NDArray[np.float32] | None = None

    @property
    def recorded(self) -> list[Frames]:
        """The clips as recorded."""
        return [clip for clip in self.copies[0] if clip is not None]


class SampledBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Clips and copies sampled by weight, cropped, masked in time, and mixed in pairs."""

    def __init__(
        self, clips: TrainingClips, config: SampledTraining, *, mean: Sequence[float], seed: int
    ) -> None:
        """Prepare the sampling; `mean` of each column replaces masked vectors."""
        super().__init__(workers=2)  # threads
        exists = np.array([[clip is not None for clip in copy] for copy in clips.copies])
        places = np.cumsum(exists).reshape(exists.shape) - 1  # among the concatenated clips
        # Of each clip the copies that exist come first, then the clip as recorded.
        order = np.argsort(~np.roll(exists, -1, axis=0), axis=0, kind="stable")
        self._copies = np.take_along_axis(np.roll(places, -1, axis=0), order, axis=0).T
        self._n_copies = np.maximum(1, exists.sum(axis=0) - 1)
        self._vectors, self._lengths, self._starts = _concatenate(clips.copies)
        self._stride = 1
        if clips.distillation is not None:
            self._hints, _, self._hint_starts = _concatenate(clips.distillation.clips)
            self._stride = clips.distillation.stride
        self._distils = clips.distillation is not None
        self._targets = clips.targets
        if clips.known is not None:  # a mixed pair knows what either does
            self._targets = np.concatenate([clips.targets, clips.known], axis=1)
        self._chances = np.cumsum(clips.weights) / np.sum(clips.weights)
        self._config = config
        self._seed = seed
        self._fill = np.asarray(mean, dtype=np.float32)

    def seeded(self, seed: int) -> Self:
        """Return batches of the same clips with another seed."""
        other = copy(self)
        other._seed = seed
        return other

    def release(self) -> None:
        """Release the clips, since TensorFlow keeps every data set that it has read."""
        del self._vectors
        if self._distils:
            del self._hints

    def __len__(self) -> int:
        """Return the number of batches, one a step."""
        return self._config.steps

    def __getitem__(self, index: int) -> tuple[Inputs, Any]:
        """Sample a batch.

        Returns:
            (batch_size, crop, n_columns) vectors with their lengths; and the targets, next to
            `known` where that is given, with distillation followed by (batch_size, n_steps,
            n_columns + 1) vectors of the teacher whose last column is 0 past the clip's end.
        """
        sample = self._sample(np.random.default_rng([self._seed, index]))
        targets = sample.mix(self._targets[sample.rows])
        return self._inputs(sample), (targets, self._hint(sample)) if self._distils else targets

    def _sample(self, random: np.random.Generator) -> "_Sample":
        config = self._config
        rows = np.searchsorted(self._chances, random.random(config.batch_size))
        changed = random.random(len(rows)) < config.changed_share
        copies = self._copies[rows, random.integers(self._n_copies[rows])]
        clips = np.where(changed, copies, rows)
        n_vectors = np.minimum(self._lengths[clips], config.crop)
        n_starts = (self._lengths[clips] - n_vectors) // self._stride + 1
        first = random.integers(n_starts) * self._stride
        n_masked = random.integers((config.time_mask * n_vectors).astype(int) + 1)
        masked_from = random.integers(n_vectors - n_masked + 1)
        share = None
        if config.mixup:
            drawn = random.beta(config.mixup, config.mixup, size=len(rows))
            share = np.maximum(drawn, 1.0 - drawn).astype(np.float32)  # the clip outweighs
        return _Sample(
            rows=rows,
            clips=clips,
            first=first,
            n_vectors=n_vectors,
            mask=(masked_from, masked_from + n_masked),
            share=share,
            partner=random.permutation(len(rows)),
        )

    def _inputs(self, sample: "_Sample") -> Inputs:
        step = np.arange(self._config.crop)
        real = step < sample.n_vectors[:, None]
        begin, end = (edge[:, None] for edge in sample.mask)
        masked = (step >= begin) & (step < end)
        first = self._starts[sample.clips] + sample.first
        vectors = self._vectors[np.where(real, first[:, None] + step, 0)].astype(np.float32)
        # Past a clip's end, too, since the clip may be mixed with a longer one.
        vectors[masked | ~real] = self._fill
        return sample.mix(vectors), sample.n_vectors.astype(np.int32)

    def _hint(self, sample: "_Sample") -> Features:
        step = np.arange(self._config.crop // self._stride)
        real = step * self._stride < sample.n_vectors[:, None]
        first = self._hint_starts[sample.clips] + sample.first // self._stride
        hints = self._hints[np.where(real, first[:, None] + step, 0)].astype(np.float32)
        return np.concatenate([sample.mix(hints), real[..., None].astype(np.float32)], axis=-1)


def _concatenate(copies: Sequence[Sequence[Frames | None]]) -> tuple[Frames, Places, Places]:
    """Return the vectors of all clips, copies last, with the length and the start of each."""
    clips = [clip for changed in copies for clip in changed if clip is not None]
    lengths = np.array([len(clip) for clip in clips])
    return np.concatenate(clips), lengths, np.cumsum(lengths) - lengths


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Random choices of a batch, (batch_size,) each.

    Attributes:
        rows: Places of the clips.
        clips: Places of the clips or their copies, which are counted after the clips.
        first: Where in the clip the stretch begins.
        n_vectors: Length of the stretch.
        mask: Where in the stretch the mask begins and ends.
        share: Weight of the clip against its partner; None where none is mixed.
        partner: Place in the batch of the clip that it is mixed with.
    """

    rows: Places
    clips: Places
    first: Places
    n_vectors: Places
    mask: tuple[Places, Places]
    share: Features | None
    partner: Places

    def mix(self, values: Features) -> Features:
        """Mix (batch_size, ...) in pairs, in place: that saves a third of a batch's time."""
        if self.share is None:
            return values
        share = self.share.reshape(-1, *[1] * (values.ndim - 1))
        other = values[self.partner]
        values *= share
        other *= 1.0 - share
        values += other
        return values


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """A changed copy of the training clips, made of some corpora; of all where empty."""

    settings: Augmentation
    corpora: tuple[str, ...] = ()


def load_copies(
    table: pd.DataFrame, plans: Sequence[CopyPlan], data: Path, load: Callable[..., Clips]
) -> list[Clips]:
    """Load each row of a table as recorded, then each copy of it.

    Args:
        table: Clips, with `path` and `corpus`.
        plans: The copies.
        data: Folder of the corpora, with that of the noise.
        load: From paths and `changes`, None for clips as recorded, to one array a path or
            None where there is no speech.

    Returns:
        1 + n_plans lists of n_rows clips, None where there is no such copy.
    """
    copies: list[Clips] = [load_by_corpus(table, partial(load, changes=None))]
    for plan in plans:
        changed = partial(load, changes=Changes(plan.settings, data))
        copies.append(load_by_corpus(table, changed, corpora=plan.corpora))
    return copies
