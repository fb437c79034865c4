"""Networks, written once for every Keras backend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from ser_core.features import Features


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Size of the papers' network.

    Attributes:
        units: Width of each LSTM layer.
        dropout: Share of each layer's outputs that training hides.
    """

    units: tuple[int, ...] = (64, 64)
    dropout: float = 0.3


@keras.saving.register_keras_serializable("moodmirror")
class FrameMask(keras.layers.Layer):  # type: ignore[misc]
    """Which frames of a padded batch are real."""

    def call(self, features: Any, n_frames: Any) -> Any:
        """Compare positions with lengths.

        Args:
            features: (n_clips, max_frames, n_features).
            n_frames: (n_clips,) int32.

        Returns:
            (n_clips, max_frames) bool.
        """
        positions = ops.arange(ops.shape(features)[1], dtype="int32")
        return positions[None, :] < n_frames[:, None]


def build_lstm(
    config: NetworkConfig, *, mean: Sequence[float], variance: Sequence[float], n_labels: int
) -> keras.Model:
    """Stack LSTM layers over standardised frames, ending in one logit a label.

    Args:
        config: Size of the network.
        mean: Mean of each feature over the training frames.
        variance: Variance of each feature over the training frames.
        n_labels: How many emotions.

    Returns:
        A model from `features` (n_clips, n_frames, n_features) float32 and `n_frames`
        (n_clips,) int32 to logits (n_clips, n_labels).

    Source: the papers' real-time recogniser, two LSTM layers of 64 units; the mask and
    the standardisation are ours.
    """
    features = keras.Input((None, len(mean)), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    mask = FrameMask()(features, n_frames)
    hidden = keras.layers.Normalization(mean=list(mean), variance=list(variance))(features)
    for i, units in enumerate(config.units):
        last = i == len(config.units) - 1
        layer = keras.layers.LSTM(units, return_sequences=not last, use_cudnn=False)
        hidden = layer(hidden, mask=mask)
        hidden = keras.layers.Dropout(config.dropout)(hidden)
    logits = keras.layers.Dense(n_labels, name="logits")(hidden)
    return keras.Model([features, n_frames], logits, name="lstm")


def frame_statistics(clips: Sequence[Features]) -> tuple[list[float], list[float]]:
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
