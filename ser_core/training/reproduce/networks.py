"""The papers' networks, as plans that name layers and sizes.

A plan connects what a `fronts` front makes of a clip to one hidden vector; the logits are
laid over it by `build_core`, alike for all.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
from keras import layers

from ser_core.layers import BlockLstm
from ser_core.training.metrics import Floats


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
        hidden = prepared
        for i, units in enumerate(self.units):
            steps = self.bidirectional or i < len(self.units) - 1
            lstm = BlockLstm(units, return_sequences=steps, use_cudnn=False)
            hidden = (layers.Bidirectional(lstm) if self.bidirectional else lstm)(hidden)
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
        for i, units in enumerate(self.units):
            steps = i < len(self.units) - 1
            hidden = BlockLstm(
                units, return_sequences=steps, kernel_regularizer=penalty, use_cudnn=False
            )(hidden)
            hidden = layers.Dropout(self.dropout)(hidden)
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
