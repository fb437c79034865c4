"""Batches of clips of like length, so that little is computed on padding."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt

from ser_core.features import Features, pad_features

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
