"""What the papers did to the frames of a clip before their networks: pad or average.

A front is part of the exported model, so that serving does what training did, and it is run
once before training, so that no epoch repeats it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import layers, ops

from ser_core.features import N_MFCC_MELS, Features, pad_features
from ser_core.layers import FrameMask
from ser_core.training.metrics import Floats

BATCH = 256
"""Clips prepared at once."""
FULL_SCALE_DB = 20 * math.log10(32_768)
"""How much louder 16-bit integers are than the same samples within ±1."""


class Front(Protocol):
    """From frames of any number to an array of one shape."""

    def connect(self, frames: Any, mask: Any, columns: Sequence[str]) -> Any:
        """Connect the layers.

        Args:
            frames: (n_clips, n_frames, n_columns), symbolic.
            mask: (n_clips, n_frames, 1), 1 for a real frame and 0 for padding, symbolic.
            columns: Their names.

        Returns:
            (n_clips, ...) of one shape, symbolic.
        """


@dataclass(frozen=True, slots=True)
class PaddedFrames:
    """Every clip as long as the longest, in the scale of 16-bit integers, which the papers had.

    Attributes:
        n_frames: Frames that come out: zeros after a shorter clip, and a longer one is cut.
    """

    n_frames: int

    def connect(self, frames: Any, mask: Any, columns: Sequence[str]) -> Any:
        """See `Front`."""
        scale = [32_768.0 if name == "rms" else 1.0 for name in columns]
        # Louder by some decibels in each band alike, the cosine transform moves its first term.
        shift = FULL_SCALE_DB * math.sqrt(N_MFCC_MELS)
        offset = [shift if name == "mfcc_0" else 0.0 for name in columns]
        frames = layers.Rescaling(scale, offset)(frames) * mask
        return layers.ZeroPadding1D((0, self.n_frames))(frames)[:, : self.n_frames]


@dataclass(frozen=True, slots=True)
class MeanFrames:
    """Every clip as the mean of its frames; mel bands as power, as librosa gives them.

    Attributes:
        only: Columns that are kept begin with it.
    """

    only: str = ""

    def connect(self, frames: Any, mask: Any, columns: Sequence[str]) -> Any:
        """See `Front`."""
        kept = [i for i, name in enumerate(columns) if name.startswith(self.only)]
        columns, frames = columns[kept[0] :][: len(kept)], frames[:, :, kept[0] : kept[-1] + 1]
        is_mel = np.array([name.startswith("log_mel") for name in columns])
        if is_mel.any():
            frames = ops.where(is_mel, ops.power(10.0, frames / 10.0), frames)
        return ops.sum(frames * mask, axis=1) / ops.sum(mask, axis=1)


def build_front(front: Front, columns: Sequence[str]) -> keras.Model:
    """A model from `features` (n_clips, n_frames, n_columns) and `n_frames` to prepared clips.

    Args:
        front: What it does.
        columns: Names of the columns.
    """
    features = keras.Input((None, len(columns)), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    mask = ops.cast(FrameMask()(features, n_frames), "float32")[:, :, None]
    prepared = front.connect(features, mask, columns)
    return keras.Model([features, n_frames], prepared, name="front")


def prepare(front: keras.Model, clips: Sequence[Features]) -> Floats:
    """Run a front over many clips.

    Args:
        front: As `build_front` makes it.
        clips: One (n_frames, n_columns) array a clip.

    Returns:
        (n_clips, ...) float32.
    """
    parts = []
    for start in range(0, len(clips), BATCH):
        batch = pad_features(clips[start : start + BATCH])
        parts.append(ops.convert_to_numpy(front([*batch], training=False)))
    return np.concatenate(parts)


def join(front: keras.Model, core: keras.Model) -> keras.Model:
    """The whole network, from frames to logits, as `ser_core.training.export` takes it."""
    inputs = [keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in front.inputs]
    return keras.Model(inputs, core(front(inputs)), name="reproduction")
