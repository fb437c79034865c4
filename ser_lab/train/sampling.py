"""Which changed copies of the training clips there are, and of which corpora."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.features import Features
from ser_lab.data.augment import Augmentation, Changes
from ser_lab.data.encoder_store import Clips, Vectors
from ser_lab.data.feature_store import load_by_corpus
from ser_lab.train.architectures import HeadConfig, NetworkPlan

Inputs = tuple[Features, npt.NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class SampledTraining:
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
        config: SampledTraining,
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
                is none; a clip without any is drawn as it is.
        """
        super().__init__(workers=2)  # threads: one draws while another copies
        clips = [*vectors]
        self._copies = np.repeat(np.arange(len(clips))[:, None], max(1, len(copies)), axis=1)
        n_copies = np.zeros(len(clips), np.int64)
        for changed in copies:
            for row, clip in zip(range(len(vectors)), changed, strict=True):
                if clip is not None:
                    self._copies[row, n_copies[row]] = len(clips)
                    n_copies[row] += 1
                    clips.append(clip)
        self._n_copies = np.maximum(1, n_copies)
        self._vectors = np.concatenate(clips)
        self._lengths = np.array([len(clip) for clip in clips])
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._stride = 1
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

    def forget(self) -> None:
        """Let go of the clips, since TensorFlow never lets go of what it has drawn from."""
        del self._vectors

    def __len__(self) -> int:
        """How many batches: one a step."""
        return self._config.steps

    def __getitem__(self, index: int) -> tuple[Inputs, Any]:
        """Draw one batch, always of one shape: vectors with their lengths, and targets."""
        draw = self._draw(np.random.default_rng([self._seed, index]))
        return self._inputs(draw), draw.mix(self._targets[draw.rows])

    def _draw(self, random: np.random.Generator) -> "_Draw":
        """Which stretches of which clips, and how they are mixed."""
        config = self._config
        rows = np.searchsorted(self._chances, random.random(config.batch_size))
        clips = self._draw_copies(rows, random)
        n_vectors = np.minimum(self._lengths[clips], config.crop)
        n_starts = (self._lengths[clips] - n_vectors) // self._stride + 1
        first = random.integers(n_starts) * self._stride
        n_hidden = random.integers((config.hidden_share * n_vectors).astype(int) + 1)
        hidden_from = random.integers(n_vectors - n_hidden + 1)
        drawn = random.beta(config.mixup, config.mixup, size=len(rows))
        return _Draw(
            rows=rows,
            clips=clips,
            first=first,
            n_vectors=n_vectors,
            hidden=(hidden_from, hidden_from + n_hidden),
            share=np.maximum(drawn, 1.0 - drawn).astype(np.float32),  # the clip outweighs
            partner=random.permutation(len(rows)),
        )

    def _draw_copies(
        self, rows: npt.NDArray[np.int64], random: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """Places of what is heard of each drawn clip: as recorded, or one of its copies."""
        changed = random.random(len(rows)) < self._config.changed_share
        copies = self._copies[rows, random.integers(self._n_copies[rows])]
        return np.where(changed, copies, rows)

    def _inputs(self, draw: "_Draw") -> Inputs:
        """The drawn stretches, a part of each hidden, mixed in pairs."""
        step = np.arange(self._config.crop)
        real = step < draw.n_vectors[:, None]
        begin, end = (edge[:, None] for edge in draw.hidden)
        hidden = (step >= begin) & (step < end)
        first = self._starts[draw.clips] + draw.first
        vectors = self._vectors[np.where(real, first[:, None] + step, 0)].astype(np.float32)
        # Past a clip's end, too: a longer clip that it is mixed with must hear nothing there.
        vectors[hidden | ~real] = self._fill
        return draw.mix(vectors), draw.n_vectors.astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class _Draw:
    """One batch's draws, (batch_size,) each.

    Attributes:
        rows: Places of the clips among all.
        clips: Places of what is heard, copies counted after the clips.
        first: Where in the clip the stretch begins.
        n_vectors: How long it is.
        hidden: Where in the stretch the hidden part begins and ends.
        share: Weight of the clip against the one that it is mixed with.
        partner: Place in the batch of that other one.
    """

    rows: npt.NDArray[np.int64]
    clips: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    n_vectors: npt.NDArray[np.int64]
    hidden: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
    share: Features
    partner: npt.NDArray[np.int64]

    def mix(self, own: Features) -> Features:
        """Mix (batch_size, ...) in pairs, in place: that saves a third of a batch's time."""
        share = self.share.reshape(-1, *[1] * (own.ndim - 1))
        other = own[self.partner]
        own *= share
        other *= 1.0 - share
        own += other
        return own


@dataclass(frozen=True, slots=True, eq=False)
class DistillationTargets:
    """What a network learns beside the emotions: vectors to be foretold, step by step.

    Attributes:
        clips: For the clips as recorded and each changed copy of them, in their order,
            (n_steps, n_columns) float16 a clip; None where there is no such copy.
        stride: Vectors of the input to a step.
        weight: How much the lessons count beside the targets.
    """

    clips: Sequence[Sequence[Vectors | None]]
    stride: int
    weight: float = 1.0

    @property
    def n_columns(self) -> int:
        """Width of what is foretold."""
        return int(next(clip.shape[1] for clip in self.clips[0] if clip is not None))


class DistillationBatches(VectorBatches):
    """The same draws, with a lesson for each step beside the targets."""

    def __init__(self, *args: Any, lessons: DistillationTargets, **options: Any) -> None:
        """Prepare the draws; see `VectorBatches`.

        Args:
            *args: As there.
            lessons: For each clip and each copy that there is.
            **options: As there.
        """
        super().__init__(*args, **options)
        every = [clip for clips in lessons.clips for clip in clips if clip is not None]
        lengths = np.array([len(clip) for clip in every])
        self._lessons = np.concatenate(every)
        self._lesson_starts = np.cumsum(lengths) - lengths
        self._stride = lessons.stride

    def forget(self) -> None:
        """Let go of the clips and the lessons."""
        super().forget()
        del self._lessons

    def __getitem__(self, index: int) -> tuple[Inputs, tuple[Features, Features]]:
        """Draw one batch.

        Returns:
            Inputs as `VectorBatches` gives them; targets, and (batch_size, n_steps,
            n_columns + 1) lessons whose last column is 0 past the end of the clip.
        """
        draw = self._draw(np.random.default_rng([self._seed, index]))
        step = np.arange(self._config.crop // self._stride)
        real = step * self._stride < draw.n_vectors[:, None]
        first = self._lesson_starts[draw.clips] + draw.first // self._stride
        lessons = self._lessons[np.where(real, first[:, None] + step, 0)].astype(np.float32)
        weighed = np.concatenate([draw.mix(lessons), real[..., None].astype(np.float32)], axis=-1)
        return self._inputs(draw), (draw.mix(self._targets[draw.rows]), weighed)


SMALL = ("ravdess", "ravdess-song")
"""Corpora whose clips are drawn most often: they have more copies."""

NOISY = Augmentation(
    rebuilt_share=0.3,
    noise_share=0.75,
    noise_snr_db=(3.0, 22.0),
    hiss_share=0.1,
    low_pass_share=0.0,
    telephone_share=0.35,
)
"""In noise, and now and then through a telephone."""


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """A changed copy of the training clips.

    Attributes:
        settings: How it is made.
        corpora: Of which corpora; of all where empty.
    """

    settings: Augmentation
    corpora: tuple[str, ...] = ()


COPIES = (
    CopyPlan(Augmentation()),
    CopyPlan(replace(NOISY, copy=1)),
    *(CopyPlan(Augmentation(copy=n), SMALL) for n in (2, 4)),
    *(CopyPlan(replace(NOISY, copy=n), SMALL) for n in (3, 5)),
)
"""As other microphones and rooms give a clip, and in noise; of the small corpora more."""


class LoadClips(Protocol):
    """How clips are loaded, as recorded or changed."""

    def __call__(self, paths: Sequence[Path], changes: Changes | None) -> Clips:
        """One array a path; None where nobody speaks."""


def load_copies(
    table: pd.DataFrame,
    plans: Sequence[CopyPlan],
    data: Path,
    load: LoadClips,
) -> list[Clips]:
    """Load each row of a table as recorded, then each copy of it.

    Args:
        table: Clips, with `path` and `corpus`.
        plans: The copies.
        data: Folder of the corpora, with that of the noise.
        load: How clips are loaded.

    Returns:
        1 + n_plans lists of n_rows clips, None where there is no such copy.
    """
    made = [
        load_by_corpus(
            table, partial(load, changes=Changes(plan.settings, data)), corpora=plan.corpora
        )
        for plan in plans
    ]
    return [load_by_corpus(table, partial(load, changes=None)), *made]
