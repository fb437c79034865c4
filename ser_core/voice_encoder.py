"""The first two blocks of CAM++ in Keras, on Whisper's log-mel frames: 50 vectors a second.

They are a voiceprint network's inside: what distinguishes speakers also distinguishes emotions.
Where a model is served, no vector of them is stored, returned or logged. `ser_core.speaker_encoder`
has the whole network, and says whose it is.

Kaldi's filter bank, which CAM++ was trained on, is approximated from Whisper's bands: interpolated
in frequency, in natural logarithms, less the mean of each band over the clip.
"""

import math
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from ser_core.speaker_encoder import BLOCKS, LOWEST_HZ, POOL, load_weights
from ser_core.whisper.spec import N_MELS, SAMPLE_RATE_HZ, EncoderConfig

N_BLOCKS = 2


@keras.saving.register_keras_serializable("moodmirror")
class VoiceEncoder(keras.layers.Layer):  # type: ignore[misc]
    """CAM++'s head, its first time-delay layer and its first two blocks."""

    def __init__(self, margin: int, **options: Any) -> None:
        """Create the layers.

        Args:
            margin: Frames of silence at both ends of every clip, which are left out.
            **options: Keras's.
        """
        super().__init__(**options)
        self.margin = margin

    @classmethod
    def of(cls, config: EncoderConfig) -> Self | None:
        """Create what a model needs; None where it needs none."""
        return None if config.voice_margin is None else cls(config.voice_margin)

    def call(self, log_mel: Any, n_frames: Any) -> Any:
        """Encode padded clips.

        Args:
            log_mel: (n_clips, n_frames, 80) in Whisper's scale.
            n_frames: (n_clips,) int32 true lengths.

        Returns:
            (n_clips, (n_frames + 1) // 2, 512), as many vectors as `WhisperEncoder` gives; the
            first and the last one are repeated over the margins.
        """
        length = ops.shape(log_mel)[1]
        inside = ops.minimum(ops.arange(length) + self.margin, length - 1)
        bands = ops.take(log_mel, inside, axis=1)
        n_inside = ops.maximum(n_frames - 2 * self.margin, 1)
        real = _mask(length, n_inside)
        bands = convert_bands(bands)
        bands = (bands - _mean(bands, real)) * real
        layer = _head(bands, real)
        n_vectors = (n_inside + 1) // 2
        real = _mask((length + 1) // 2, n_vectors)
        layer = ops.relu(_linear("tdnn.linear", layer, stride=2)) * real
        for i, (n_layers, dilation) in enumerate(BLOCKS[:N_BLOCKS], 1):
            for j in range(1, n_layers + 1):
                name = f"block{i}.tdnnd{j}"
                narrow = _linear(f"{name}.linear1", _norm(f"{name}.nonlinear1", layer))
                narrow = ops.relu(narrow) * real
                masked = _masked(f"{name}.cam", narrow, real, dilation)
                layer = ops.concatenate([layer, masked], axis=-1)
            layer = _linear(f"transit{i}.linear", _norm(f"transit{i}.nonlinear", layer))
        place = ops.arange((length + 1) // 2)[None] - self.margin // 2
        place = ops.minimum(ops.maximum(place, 0), n_vectors[:, None] - 1)
        return ops.take_along_axis(layer, place[:, :, None], axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return dict(super().get_config(), margin=self.margin)


def convert_bands(log_mel: Any) -> Any:
    """Return (..., 80) natural logarithms of Kaldi's bands, from Whisper's scale."""
    return ops.matmul(4.0 * math.log(10.0) * log_mel, _interpolation())


def _mask(length: Any, n_frames: Any) -> Any:
    """Return (n_clips, length, 1), 1 before each clip's end and 0 after it."""
    return ops.cast(ops.arange(length)[None, :] < n_frames[:, None], "float32")[:, :, None]


def _mean(layer: Any, real: Any) -> Any:
    return ops.sum(layer * real, axis=1, keepdims=True) / ops.sum(real, axis=1, keepdims=True)


def _interpolation() -> npt.NDArray[np.float32]:
    """Return (80, 80), from Whisper's bands to those of Kaldi, by their centres."""
    from librosa import mel_frequencies  # heavy, and not needed by an assembled model

    highest_hz, n_edges = SAMPLE_RATE_HZ / 2, N_MELS + 2
    own = mel_frequencies(n_edges, fmin=0.0, fmax=highest_hz)[1:-1]
    target = mel_frequencies(n_edges, fmin=LOWEST_HZ, fmax=highest_hz, htk=True)[1:-1]
    upper = np.clip(np.searchsorted(own, target), 1, N_MELS - 1)
    share = np.clip((target - own[upper - 1]) / (own[upper] - own[upper - 1]), 0.0, 1.0)
    matrix = np.zeros((N_MELS, N_MELS), np.float32)
    matrix[upper - 1, np.arange(N_MELS)] = 1.0 - share
    matrix[upper, np.arange(N_MELS)] = share
    return matrix


def _head(bands: Any, real: Any) -> Any:
    """Return (n_clips, n_frames, 320): a residual network over time and frequency."""
    real = real[:, :, None]
    layer = ops.relu(_conv("head.conv1", bands[..., None])) * real
    for name in ("head.layer1.0", "head.layer1.1", "head.layer2.0", "head.layer2.1"):
        stride = 2 if name.endswith("0") else 1
        inner = ops.relu(_conv(f"{name}.conv1", layer, stride=stride)) * real
        inner = _conv(f"{name}.conv2", inner)
        past = _conv(f"{name}.shortcut.0", layer, stride=stride) if stride == 2 else layer
        layer = ops.relu(inner + past) * real
    layer = ops.relu(_conv("head.conv2", layer, stride=2)) * real
    n_clips, n_frames, n_bands, n_columns = ops.shape(layer)
    return ops.reshape(ops.transpose(layer, (0, 1, 3, 2)), (n_clips, n_frames, n_columns * n_bands))


def _conv(name: str, layer: Any, *, stride: int = 1) -> Any:
    """Convolve (n_clips, n_frames, n_bands, n_in); the stride is that of the bands."""
    weights = load_weights()
    kernel = weights[f"{name}.weight"].transpose(3, 2, 1, 0)  # (frames, bands, in, out)
    reach = kernel.shape[0] // 2
    padded = ops.pad(layer, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    return ops.conv(padded, kernel, strides=(1, stride)) + weights[f"{name}.bias"]


def _linear(name: str, layer: Any, *, stride: int = 1, dilation: int = 1) -> Any:
    """Convolve (n_clips, n_frames, n_in) over time."""
    weights = load_weights()
    kernel = weights[f"{name}.weight"].transpose(2, 1, 0)
    reach = kernel.shape[0] // 2 * dilation
    if reach:
        layer = ops.pad(layer, ((0, 0), (reach, reach), (0, 0)))
    layer = ops.conv(layer, kernel, strides=stride, dilation_rate=dilation)
    bias = weights.get(f"{name}.bias")
    return layer if bias is None else layer + bias


def _norm(name: str, layer: Any) -> Any:
    """Normalise (n_clips, n_frames, n_in), and cut below 0."""
    weights = load_weights()
    return ops.relu(weights[f"{name}.scale"] * layer + weights[f"{name}.bias"])


def _masked(name: str, layer: Any, real: Any, dilation: int) -> Any:
    """Return (n_clips, n_frames, 32) of 128 columns, weighted by their context."""
    n_clips, length, width = ops.shape(layer)
    n_parts = (length + POOL - 1) // POOL
    padded = ops.pad(layer, ((0, 0), (0, n_parts * POOL - length), (0, 0)))
    counted = ops.pad(real, ((0, 0), (0, n_parts * POOL - length), (0, 0)))
    total = ops.sum(ops.reshape(padded, (n_clips, n_parts, POOL, width)), axis=2)
    count = ops.sum(ops.reshape(counted, (n_clips, n_parts, POOL, 1)), axis=2)
    local = ops.repeat(total / ops.maximum(count, 1.0), POOL, axis=1)[:, :length]
    context = _mean(layer, real) + local
    narrow = ops.relu(_linear(f"{name}.linear1", context))
    mask = ops.sigmoid(_linear(f"{name}.linear2", narrow))
    return _linear(f"{name}.linear_local", layer, dilation=dilation) * mask
