"""Networks of the recipes, written once for every Keras backend."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from ser_core.model.layers import AttentivePooling, BlockLstm, FrameMask, FrequencyMask

STEPS = "steps"
"""Layer with one vector a step, from which a student predicts its teacher's vectors."""
LARGEST_DEVIATION = 6.0
"""Standard deviations at which a column is clipped."""
STORED_NAMES = {
    "input_blocks": "heard",
    "frequency_mask": "hidden_bands",
    "time_mask": "hidden_share",
    "ema_momentum": "averaging",
    "distillation_weight": "taught_share",
    "hint_blocks": "lesson_blocks",
    "hint_weight": "lesson_weight",
}
"""Names of settings in run keys and manifests, where they differ from those in code."""


ADDED_SETTINGS = {
    "known_only": False, "burst_share": 0.0, "burst_db": (-6.0, 30.0), "reading_share": 0.0,
}  # fmt: skip
"""Settings that are stored only where they differ from this, so that earlier run keys remain."""


def stored_names(settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return settings under their `STORED_NAMES`; a `dict_factory` of `asdict`."""
    return {
        STORED_NAMES.get(name, name): value
        for name, value in settings
        if name not in ADDED_SETTINGS or value != ADDED_SETTINGS[name]
    }


class NetworkPlan(Protocol):
    """Settings of a network, from which it is built."""

    def build(
        self, *, mean: Sequence[float], variance: Sequence[float], n_labels: int
    ) -> keras.Model:
        """Build the network.

        Args:
            mean: Mean of each column over the training clips.
            variance: Variance of each column over them.
            n_labels: Number of emotions.

        Returns:
            A model from (n_clips, n_frames, n_columns) float32 and (n_clips,) int32 lengths
            to logits (n_clips, n_labels).
        """


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """LSTM layers over standardised frames, padding masked.

    Source: the papers' real-time recogniser, two LSTM layers of 64 units; the mask and the
    standardisation are ours.

    Attributes:
        units: Width of each LSTM layer.
        dropout: Dropout after each layer.
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
        hidden = layers.Normalization(mean=list(mean), variance=list(variance))(features)
        hidden = stack_lstms(hidden, self.units, mask=mask, dropout=self.dropout)
        logits = layers.Dense(n_labels, name="logits")(hidden)
        return keras.Model([features, n_frames], logits, name="lstm")


def stack_lstms(
    hidden: Any,
    units: Sequence[int],
    *,
    mask: Any = None,
    dropout: float = 0.0,
    bidirectional: bool = False,
    **options: Any,
) -> Any:
    """Connect LSTM layers on one another.

    Args:
        hidden: (n_clips, n_steps, n_columns), symbolic.
        units: Width of each layer.
        mask: (n_clips, n_steps) bool, symbolic; None where nothing is padding.
        dropout: Dropout after each layer.
        bidirectional: Whether each layer runs both ways; the last one then keeps all steps.
        **options: Of each layer, such as `kernel_regularizer`.

    Returns:
        (n_clips, n_units), or (n_clips, n_steps, 2 * n_units) where bidirectional.
    """
    for i, width in enumerate(units):
        steps = bidirectional or i < len(units) - 1
        layer = BlockLstm(width, return_sequences=steps, use_cudnn=False, **options)
        hidden = (layers.Bidirectional(layer) if bidirectional else layer)(hidden, mask=mask)
        if dropout:
            hidden = layers.Dropout(dropout)(hidden)
    return hidden


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """Attentive pooling over a pretrained encoder's vectors and a BiLSTM on them.

    Attributes:
        n_blocks: Encoder blocks whose outputs stand side by side.
        input_blocks: Which of them the head takes, counted from 0.
        projection: Width of the dense layer over them.
        units: Width of the LSTM in each direction; 0 leaves it out.
        attention: Hidden units of the attention.
        dropout: Dropout before each layer.
    """

    n_blocks: int = 4
    input_blocks: tuple[int, ...] = (0, 1, 2, 3)
    projection: int = 128
    units: int = 64
    attention: int = 64
    dropout: float = 0.4

    def build(
        self, *, mean: Sequence[float], variance: Sequence[float], n_labels: int
    ) -> keras.Model:
        """See `NetworkPlan`."""
        vectors = keras.Input((None, len(mean)), name="vectors")
        n_vectors = keras.Input((), dtype="int32", name="n_vectors")
        mask = FrameMask()(vectors, n_vectors)
        # A few columns of each block are hundreds of times larger than the others.
        level = layers.Normalization(mean=list(mean), variance=list(variance))(vectors)
        level = ops.clip(level, -LARGEST_DEVIATION, LARGEST_DEVIATION)
        width = len(mean) // self.n_blocks
        blocks = [level[:, :, width * i : width * (i + 1)] for i in self.input_blocks]
        level = layers.Concatenate()(blocks) if len(blocks) > 1 else blocks[0]
        # Columns are dropped for a whole clip: neighbouring vectors are nearly alike.
        hidden = layers.Dropout(self.dropout, noise_shape=(None, 1, width * len(blocks)))(level)
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

    The logits do not depend on padding: each convolution is followed by the mask.

    Attributes:
        filters: Filters of each convolution over time; each halves the frames.
        kernel: Frames that a filter spans, an odd number.
        units: Width of each LSTM layer in each direction.
        attention: Hidden units of the attention.
        dropout: Dropout after each layer.
        last_dropout: Dropout before the logits.
        frequency_mask: Most neighbouring bands that training masks in a clip.
    """

    filters: tuple[int, ...] = (128, 256, 384)
    kernel: int = 5
    units: tuple[int, ...] = (128,)
    attention: int = 64
    dropout: float = 0.05
    last_dropout: float = 0.3
    frequency_mask: int = 12

    @property
    def stride(self) -> int:
        """Frames a step."""
        return 1 << len(self.filters)

    def build(
        self, *, mean: Sequence[float], variance: Sequence[float], n_labels: int
    ) -> keras.Model:
        """See `NetworkPlan`."""
        features = keras.Input((None, len(mean)), name="features")
        n_frames = keras.Input((), dtype="int32", name="n_frames")
        length = n_frames
        mask = FrameMask()(features, length)
        hidden = layers.Normalization(mean=list(mean), variance=list(variance))(features)
        hidden = FrequencyMask(self.frequency_mask)(hidden)
        hidden = hidden * ops.cast(mask, "float32")[:, :, None]
        for filters in self.filters:
            # Padding "same" would shift the frames with the parity of the padded length.
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


def _small_dense(units: int, **options: Any) -> layers.Dense:
    """Dense layer with a third of Keras's initial variance: two points better on new voices."""
    start = keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
    return layers.Dense(units, kernel_initializer=start, **options)


def join_ensemble(networks: Sequence[keras.Model]) -> keras.Model:
    """Join networks of the same inputs to one that returns the mean of their logits."""
    if len(networks) == 1:
        return networks[0]
    inputs = [keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in networks[0].inputs]
    logits = []
    for i, network in enumerate(networks):
        network.name = f"member_{i}"
        logits.append(network(inputs))
    return keras.Model(inputs, layers.Average(name="logits")(logits), name="ensemble")


def frame_statistics(
    clips: Sequence[npt.NDArray[np.floating[Any]]],
) -> tuple[list[float], list[float]]:
    """Return mean and variance of each feature over all frames of (n_frames, n_features) clips."""
    n = sum(len(clip) for clip in clips)
    mean = sum(clip.sum(axis=0, dtype="float64") for clip in clips) / n
    square = sum(((clip - mean) ** 2).sum(axis=0, dtype="float64") for clip in clips) / n
    return [float(m) for m in mean], [float(max(v, 1e-12)) for v in square]
