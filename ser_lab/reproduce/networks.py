"""The papers' networks: input layers, hidden layers, and the logits over them.

`PaddedFrames` and `MeanFrames` are input layers, from (n_clips, n_frames, n_columns) frames to
arrays of one shape. The plans connect these to one hidden vector a clip; `build_core` adds logits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ser_core.features import N_MFCC_MELS, Features, pad_features
from ser_core.model.layers import FrameMask
from ser_lab.metrics import Floats
from ser_lab.train.architectures import stack_lstms

BATCH = 256
"""Clips per forward pass outside training."""
FULL_SCALE_DB = 20 * math.log10(32_768)
"""Level of 16-bit integers relative to the same samples within ±1."""


@dataclass(frozen=True, slots=True)
class PaddedFrames:
    """Frames padded with zeros or cut to one length, in the papers' scale of 16-bit integers.

    Attributes:
        n_frames: Length of the output.
    """

    n_frames: int

    def connect(self, frames: Any, mask: Any, columns: Sequence[str]) -> Any:
        """Return symbolic arrays of one shape; `mask` (n_clips, n_frames, 1) is 0 for padding."""
        scale = [32_768.0 if name == "rms" else 1.0 for name in columns]
        # A gain common to all bands shifts the first term of the cosine transform alone.
        shift = FULL_SCALE_DB * math.sqrt(N_MFCC_MELS)
        offset = [shift if name == "mfcc_0" else 0.0 for name in columns]
        frames = layers.Rescaling(scale, offset)(frames) * mask
        return layers.ZeroPadding1D((0, self.n_frames))(frames)[:, : self.n_frames]


@dataclass(frozen=True, slots=True)
class MeanFrames:
    """Mean over the frames of a clip; mel bands as power, as in librosa.

    Attributes:
        only: Prefix of the columns to keep.
    """

    only: str = ""

    def connect(self, frames: Any, mask: Any, columns: Sequence[str]) -> Any:
        """Return symbolic arrays of one shape; `mask` (n_clips, n_frames, 1) is 0 for padding."""
        kept = [i for i, name in enumerate(columns) if name.startswith(self.only)]
        columns, frames = columns[kept[0] :][: len(kept)], frames[:, :, kept[0] : kept[-1] + 1]
        is_mel = np.array([name.startswith("log_mel") for name in columns])
        if is_mel.any():
            frames = ops.where(is_mel, ops.power(10.0, frames / 10.0), frames)
        return ops.sum(frames * mask, axis=1) / ops.sum(mask, axis=1)


Front = PaddedFrames | MeanFrames


def build_input_layers(front: Front, columns: Sequence[str]) -> keras.Model:
    """Return a model from `features` (n_clips, n_frames, n_columns) and `n_frames` to `front`."""
    features = keras.Input((None, len(columns)), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    mask = ops.cast(FrameMask()(features, n_frames), "float32")[:, :, None]
    prepared = front.connect(features, mask, columns)
    return keras.Model([features, n_frames], prepared, name="front")


def prepare(front: keras.Model, clips: Sequence[Features]) -> Floats:
    """Apply the model of `build_input_layers` to clips (n_frames, n_columns), in batches.

    Returns:
        (n_clips, ...) float32.
    """
    parts = []
    for start in range(0, len(clips), BATCH):
        batch = pad_features(clips[start : start + BATCH])
        parts.append(ops.convert_to_numpy(front([*batch], training=False)))
    return np.concatenate(parts)


def join(front: keras.Model, core: keras.Model) -> keras.Model:
    """Return the whole network, from frames to logits, for `ser_lab.train.export`."""
    inputs = [keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in front.inputs]
    return keras.Model(inputs, core(front(inputs)), name="reproduction")


@dataclass(frozen=True, slots=True)
class FrameLstm:
    """LSTM layers over frames, without mask; if bidirectional, all steps are flattened.

    Attributes:
        units: Width of each layer.
        bidirectional: Whether each layer is bidirectional.
    """

    units: tuple[int, ...] = (64, 64)
    bidirectional: bool = False

    def connect(self, prepared: Any) -> Any:
        """Return hidden vectors (n_clips, n_hidden) of symbolic input-layer outputs."""
        hidden = stack_lstms(prepared, self.units, bidirectional=self.bidirectional)
        return layers.Flatten()(hidden) if self.bidirectional else hidden


@dataclass(frozen=True, slots=True)
class ScalarLstm:
    """LSTM layers over the column means as a sequence of scalars.

    Attributes:
        units: Width of each LSTM layer.
        dense: Width of each dense layer after them.
        dropout: Dropout rate of each layer.
        l2: L2 penalty of the kernels.
    """

    units: tuple[int, ...]
    dense: tuple[int, ...]
    dropout: float
    l2: float = 0.0

    def connect(self, prepared: Any) -> Any:
        """Return hidden vectors (n_clips, n_hidden) of symbolic input-layer outputs."""
        penalty = keras.regularizers.L2(self.l2) if self.l2 else None
        hidden = layers.Reshape((prepared.shape[1], 1))(prepared)
        hidden = stack_lstms(hidden, self.units, dropout=self.dropout, kernel_regularizer=penalty)
        for width in self.dense:
            hidden = layers.Dense(width, activation="relu", kernel_regularizer=penalty)(hidden)
            hidden = layers.Dropout(self.dropout)(hidden)
        return hidden


@dataclass(frozen=True, slots=True)
class TwoBranchCnn:
    """Parallel convolutions over the mel means and the MFCC means, then dense layers.

    Attributes:
        n_mels: Number of mel bands, which are the first columns.
        filters: Channels of each convolution.
        dense: Width of each dense layer.
    """

    n_mels: int = 128
    filters: int = 10
    dense: tuple[int, ...] = (700, 150, 50)

    def connect(self, prepared: Any) -> Any:
        """Return hidden vectors (n_clips, n_hidden) of symbolic input-layer outputs."""
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
    """Parallel simple RNN over the mel means and the MFCC means, then a dense layer.

    Attributes:
        n_mels: Number of mel bands, which are the first columns.
        units: Width of each recurrent layer.
        dense: Width of the dense layer.
    """

    n_mels: int = 128
    units: tuple[int, ...] = (64, 64)
    dense: int = 64

    def connect(self, prepared: Any) -> Any:
        """Return hidden vectors (n_clips, n_hidden) of symbolic input-layer outputs."""
        ends = []
        for hidden in _branches(prepared, self.n_mels):
            for i, units in enumerate(self.units):
                # Unrolled over the few columns, it trains in half the time.
                whole = i < len(self.units) - 1
                hidden = layers.SimpleRNN(units, return_sequences=whole, unroll=True)(hidden)
            ends.append(hidden)
        return layers.Dense(self.dense, activation="relu")(layers.Concatenate()(ends))


@dataclass(frozen=True, slots=True)
class LinearSvm:
    """No hidden layer: the logits are the decision function of a linear SVM."""

    def connect(self, prepared: Any) -> Any:
        """Return hidden vectors (n_clips, n_hidden) of symbolic input-layer outputs."""
        return prepared


def _branches(means: Any, n_mels: int) -> tuple[Any, Any]:
    """Return the mel means and the MFCC means, each (n_clips, n_columns, 1)."""
    scalars = layers.Reshape((means.shape[1], 1))(means)
    return scalars[:, :n_mels], scalars[:, n_mels:]


Plan = FrameLstm | ScalarLstm | TwoBranchCnn | DualRnn | LinearSvm


def build_core(plan: Plan, prepared: Floats, *, n_labels: int, standardise: bool) -> keras.Model:
    """Build the trainable part of a network.

    Args:
        plan: Its hidden layers.
        prepared: Training clips as `prepare` returns them, for shapes and statistics.
        n_labels: Number of emotions.
        standardise: Whether columns are standardised to mean 0 and standard deviation 1.

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
