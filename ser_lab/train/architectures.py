"""Networks, written once for every Keras backend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from ser_core.model.layers import AttentivePooling, BandDropout, FrameMask

STEPS = "steps"
"""Layer that gives one vector a step, from which lessons are foretold."""
LARGEST_DEVIATION = 6.0
"""Standard deviations beyond which a column says nothing more."""


class NetworkPlan(Protocol):
    """A network and its size, from which it can be built."""

    def build(
        self, *, mean: Sequence[float], variance: Sequence[float], n_labels: int
    ) -> keras.Model:
        """Build the network.

        Args:
            mean: Mean of each column over the training clips.
            variance: Variance of each column over them.
            n_labels: How many emotions.

        Returns:
            A model from (n_clips, n_frames, n_columns) float32 and (n_clips,) int32 lengths
            to logits (n_clips, n_labels).
        """


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """LSTM layers over standardised frames.

    Source: the papers' real-time recogniser, two LSTM layers of 64 units; the mask and the
    standardisation are ours.

    Attributes:
        units: Width of each LSTM layer.
        dropout: Share of each layer's outputs that training hides.
    """

    units: tuple[int, ...] = (64, 64)
    dropout: float = 0.3

    def build(
        self, *, mean: Sequence[float], variance: Sequence[float], n_labels: int
    ) -> keras.Model:
        """See `NetworkPlan`."""
        features = keras.Input((None, len(mean)), name="features")
        n_frames = keras.Input((), dtype="int32", name="n_frames")
        mask = FrameMask()(features, n_frames)
        hidden = keras.layers.Normalization(mean=list(mean), variance=list(variance))(features)
        for i, units in enumerate(self.units):
            last = i == len(self.units) - 1
            layer = keras.layers.LSTM(units, return_sequences=not last, use_cudnn=False)
            hidden = layer(hidden, mask=mask)
            hidden = keras.layers.Dropout(self.dropout)(hidden)
        logits = keras.layers.Dense(n_labels, name="logits")(hidden)
        return keras.Model([features, n_frames], logits, name="lstm")


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Attentive pooling over a pretrained encoder's vectors and a BiLSTM on them.

    Attributes:
        n_blocks: Encoder blocks whose outputs stand side by side.
        heard: Which of them the head hears, counted from 0.
        projection: Width that they are brought to.
        units: Width of the LSTM in each direction; 0 leaves it out.
        attention: Hidden units of the attention.
        dropout: Share of each layer's outputs that training hides.
    """

    n_blocks: int = 4
    heard: tuple[int, ...] = (0, 1, 2, 3)
    projection: int = 128
    units: int = 64
    attention: int = 64
    dropout: float = 0.4

    def build(
        self, *, mean: Sequence[float], variance: Sequence[float], n_labels: int
    ) -> keras.Model:
        """See `NetworkPlan`."""
        layers = keras.layers
        vectors = keras.Input((None, len(mean)), name="vectors")
        n_vectors = keras.Input((), dtype="int32", name="n_vectors")
        mask = FrameMask()(vectors, n_vectors)
        # A few columns of each block are hundreds of times larger than the others: brought
        # to one scale column by column, they outweigh nobody.
        level = layers.Normalization(mean=list(mean), variance=list(variance))(vectors)
        level = ops.clip(level, -LARGEST_DEVIATION, LARGEST_DEVIATION)
        width = len(mean) // self.n_blocks
        heard = [level[:, :, width * i : width * (i + 1)] for i in self.heard]
        level = layers.Concatenate()(heard) if len(heard) > 1 else heard[0]
        # A column hidden from a whole clip cannot be read off the neighbouring vectors.
        hidden = layers.Dropout(self.dropout, noise_shape=(None, 1, width * len(heard)))(level)
        hidden = _small_dense(self.projection, activation="gelu")(hidden)
        if self.units:
            lstm = layers.LSTM(self.units, return_sequences=True, use_cudnn=False)
            memory = layers.Bidirectional(lstm)(layers.Dropout(self.dropout)(hidden), mask=mask)
            hidden = layers.Concatenate()([hidden, memory])
        pooled = AttentivePooling(self.attention)(hidden, mask)
        logits = _small_dense(n_labels, name="logits")(layers.Dropout(self.dropout)(pooled))
        return keras.Model([vectors, n_vectors], logits, name="head")


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """Convolutions over time under BiLSTM layers with attentive pooling.

    Padding changes nothing: after each convolution the frames past a clip's end are zero again.

    Attributes:
        filters: Filters of each convolution over time; each halves the frames.
        kernel: Frames that a filter spans, an odd number.
        units: Width of each LSTM layer in each direction.
        attention: Hidden units of the attention.
        dropout: Share of each layer's outputs that training hides.
        last_dropout: The same before the logits.
        hidden_bands: Most neighbouring bands that training hides from a clip.
    """

    filters: tuple[int, ...] = (96, 128, 192)
    kernel: int = 5
    units: tuple[int, ...] = (128,)
    attention: int = 64
    dropout: float = 0.05
    last_dropout: float = 0.3
    hidden_bands: int = 12

    @property
    def stride(self) -> int:
        """Frames to a step."""
        return 1 << len(self.filters)

    def build(
        self, *, mean: Sequence[float], variance: Sequence[float], n_labels: int
    ) -> keras.Model:
        """See `NetworkPlan`."""
        layers = keras.layers
        features = keras.Input((None, len(mean)), name="features")
        n_frames = keras.Input((), dtype="int32", name="n_frames")
        length = n_frames
        mask = FrameMask()(features, length)
        hidden = layers.Normalization(mean=list(mean), variance=list(variance))(features)
        hidden = BandDropout(self.hidden_bands)(hidden)
        hidden = hidden * ops.cast(mask, "float32")[:, :, None]
        for filters in self.filters:
            # Keras's own «same» would shift the frames with the parity of the padded length.
            hidden = layers.ZeroPadding1D(self.kernel // 2)(hidden)
            hidden = layers.Conv1D(filters, self.kernel, strides=2)(hidden)
            hidden = layers.LayerNormalization()(hidden)
            hidden = layers.Dropout(self.dropout)(keras.activations.gelu(hidden))
            length = (length + 1) // 2
            mask = FrameMask()(hidden, length)
            hidden = hidden * ops.cast(mask, "float32")[:, :, None]
        for units in self.units:
            lstm = layers.LSTM(units, return_sequences=True, use_cudnn=False)
            hidden = layers.Bidirectional(lstm)(hidden, mask=mask)
            hidden = layers.Dropout(self.dropout)(hidden)
        hidden = layers.Identity(name=STEPS)(hidden)
        pooled = AttentivePooling(self.attention)(hidden, mask)
        logits = _small_dense(n_labels, name="logits")(layers.Dropout(self.last_dropout)(pooled))
        return keras.Model([features, n_frames], logits, name="student")


def _small_dense(units: int, **options: Any) -> keras.layers.Dense:
    """A dense layer that starts a third as large as Keras's own: two points on new voices."""
    start = keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
    return keras.layers.Dense(units, kernel_initializer=start, **options)


def join_members(members: Sequence[keras.Model]) -> keras.Model:
    """One network that answers with the mean of its members' logits.

    Args:
        members: Networks of one plan.
    """
    if len(members) == 1:
        return members[0]
    inputs = [keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in members[0].inputs]
    logits = []
    for i, member in enumerate(members):
        member.name = f"member_{i}"
        logits.append(member(inputs))
    return keras.Model(inputs, keras.layers.Average(name="logits")(logits), name="committee")


def frame_statistics(
    clips: Sequence[npt.NDArray[np.floating[Any]]],
) -> tuple[list[float], list[float]]:
    """Mean and variance of each feature over all frames, weighting frames alike.

    Args:
        clips: Arrays of (n_frames, n_features).

    Returns:
        Two lists of n_features floats.
    """
    n = sum(len(clip) for clip in clips)
    mean = sum(clip.sum(axis=0, dtype="float64") for clip in clips) / n
    square = sum(((clip - mean) ** 2).sum(axis=0, dtype="float64") for clip in clips) / n
    return [float(m) for m in mean], [float(max(v, 1e-12)) for v in square]
