"""The papers' networks, as plans that name layers and sizes.

A plan connects what a `fronts` front makes of a clip to one hidden vector; the logits are
laid over it by `build_core`, alike for all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import layers, ops

from ser_core.features import N_MFCC_MELS, Features, pad_features
from ser_core.model.layers import FrameMask
from ser_lab.metrics import Floats
from ser_lab.train.architectures import stack_lstms

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


def build_input_layers(front: Front, columns: Sequence[str]) -> keras.Model:
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
        front: As `build_input_layers` makes it.
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
    """The whole network, from frames to logits, as `ser_lab.train.export` takes it."""
    inputs = [keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in front.inputs]
    return keras.Model(inputs, core(front(inputs)), name="reproduction")


class Plan(Protocol):
    """A network between a front and the logits."""

    def connect(self, prepared: Any) -> Any:
        """Connect the layers.

        Args:
            prepared: (n_clips, n_frames, n_columns) or (n_clips, n_columns), symbolic.

        Returns:
            (n_clips, n_hidden), symbolic.
        """


@dataclass(frozen=True, slots=True)
class FrameLstm:
    """LSTM layers over frames, without mask; both ways, all steps are kept and flattened.

    Attributes:
        units: Width of each layer.
        bidirectional: Whether each layer reads both ways.
    """

    units: tuple[int, ...] = (64, 64)
    bidirectional: bool = False

    def connect(self, prepared: Any) -> Any:
        """See `Plan`."""
        hidden = stack_lstms(prepared, self.units, bidirectional=self.bidirectional)
        return layers.Flatten()(hidden) if self.bidirectional else hidden


@dataclass(frozen=True, slots=True)
class ScalarLstm:
    """LSTM layers that read the mean of each column as one step of a sequence.

    Attributes:
        units: Width of each LSTM layer.
        dense: Width of each dense layer after them.
        dropout: Share of each layer's outputs that training hides.
        l2: Weight of the squared kernels in the loss.
    """

    units: tuple[int, ...]
    dense: tuple[int, ...]
    dropout: float
    l2: float = 0.0

    def connect(self, prepared: Any) -> Any:
        """See `Plan`."""
        penalty = keras.regularizers.L2(self.l2) if self.l2 else None
        hidden = layers.Reshape((prepared.shape[1], 1))(prepared)
        hidden = stack_lstms(hidden, self.units, dropout=self.dropout, kernel_regularizer=penalty)
        for width in self.dense:
            hidden = layers.Dense(width, activation="relu", kernel_regularizer=penalty)(hidden)
            hidden = layers.Dropout(self.dropout)(hidden)
        return hidden


@dataclass(frozen=True, slots=True)
class TwoBranchCnn:
    """Convolutions over the mel means and over the MFCC means, side by side, then dense layers.

    Attributes:
        n_mels: How many of the columns, the first ones, are mel bands.
        filters: Channels of each convolution.
        dense: Width of each dense layer.
    """

    n_mels: int = 128
    filters: int = 10
    dense: tuple[int, ...] = (700, 150, 50)

    def connect(self, prepared: Any) -> Any:
        """See `Plan`."""
        mel, mfcc = _branches(prepared, self.n_mels)
        mel = layers.Conv1D(self.filters, 5, strides=3, activation="relu")(mel)
        mel = layers.MaxPooling1D(4, strides=2)(mel)
        both = []
        for branch in (mel, mfcc):
            padded = layers.ZeroPadding1D(1)(branch)
            last = layers.Conv1D(self.filters, 4, strides=2, activation="relu")(padded)
            both.append(layers.Flatten()(last))
        hidden = layers.Concatenate()(both)
        for width in self.dense:
            hidden = layers.Dense(width, activation="relu")(hidden)
        return hidden


@dataclass(frozen=True, slots=True)
class DualRnn:
    """Plain recurrent layers over the mel means and over the MFCC means, then a dense layer.

    Attributes:
        n_mels: How many of the columns, the first ones, are mel bands.
        units: Width of each recurrent layer.
        dense: Width of the dense layer.
    """

    n_mels: int = 128
    units: tuple[int, ...] = (64, 64)
    dense: int = 64

    def connect(self, prepared: Any) -> Any:
        """See `Plan`."""
        ends = []
        for hidden in _branches(prepared, self.n_mels):
            for i, units in enumerate(self.units):
                rnn = layers.SimpleRNN(units, return_sequences=i < len(self.units) - 1)
                hidden = rnn(hidden)
            ends.append(hidden)
        return layers.Dense(self.dense, activation="relu")(layers.Concatenate()(ends))


@dataclass(frozen=True, slots=True)
class LinearSvm:
    """No layer of its own: the logits are the distances from a linear SVM's planes."""

    def connect(self, prepared: Any) -> Any:
        """See `Plan`."""
        return prepared


def _branches(means: Any, n_mels: int) -> tuple[Any, Any]:
    """The mel means and the MFCC means, each as a sequence of scalars."""
    scalars = layers.Reshape((means.shape[1], 1))(means)
    return scalars[:, :n_mels], scalars[:, n_mels:]


def build_core(plan: Plan, prepared: Floats, *, n_labels: int, standardise: bool) -> keras.Model:
    """Build the part of a network that learns.

    Args:
        plan: Its layers.
        prepared: The training clips as the front gives them, for shapes and statistics.
        n_labels: How many emotions.
        standardise: Whether each column is brought to mean 0 and deviation 1 first.

    Returns:
        A model from prepared clips to logits (n_clips, n_labels).
    """
    inputs = keras.Input(prepared.shape[1:])
    hidden = inputs
    if standardise:
        rows = prepared.reshape(-1, prepared.shape[-1]).astype(np.float64)
        variance = np.maximum(rows.var(axis=0), 1e-12)
        scale = layers.Normalization(mean=rows.mean(axis=0), variance=variance)
        hidden = scale(hidden)
    logits = layers.Dense(n_labels, name="logits")(plan.connect(hidden))
    return keras.Model(inputs, logits, name="core")
