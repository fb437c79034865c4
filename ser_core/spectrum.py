"""The spectra and levels of the default models: librosa's numbers in NumPy alone.

librosa loads Numba, scikit-learn and pandas, which take two seconds and 280 MB at the start of
each process; the functions that every recording passes through are few. They give librosa's own
numbers, to the bit on one machine, and have its names and arguments.

Source: McFee et al. 2015, librosa: audio and music signal analysis in Python.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Numbers = npt.NDArray[np.float32]

BLOCK = 512
"""Frames transformed at once, which bounds the memory."""
HZ_PER_MEL, FIRST_LOG_HZ, LOG_STEP = 200.0 / 3.0, 1_000.0, np.log(6.4) / 27.0
"""Slaney's mel scale: linear up to `FIRST_LOG_HZ`, logarithmic above."""


def stft(
    samples: Numbers,
    *,
    frame_length: int,
    hop_length: int,
    pad_mode: Literal["constant", "reflect"] = "constant",
) -> npt.NDArray[np.complex64]:
    """Compute the short-time Fourier transform of centred frames under a Hann window.

    Args:
        samples: (n_samples,) float32.
        frame_length: Samples of a frame, an even number.
        hop_length: Samples from frame to frame.
        pad_mode: Samples beyond both ends: zeros, or the mirrored clip.

    Returns:
        (1 + frame_length // 2, 1 + n_samples // hop_length) complex64.
    """
    frames = _frames(np.pad(samples, frame_length // 2, pad_mode), frame_length, hop_length)
    angles = np.linspace(-np.pi, np.pi, frame_length + 1)[:-1, np.newaxis]
    window = 0.5 + 0.5 * np.cos(angles)  # (frame_length, 1)
    spectrum = np.empty((1 + frame_length // 2, frames.shape[1]), np.complex64, order="F")
    for start in range(0, frames.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        spectrum[:, block] = np.fft.rfft(window * frames[:, block], axis=0)
    return spectrum


def rms(samples: Numbers, *, frame_length: int, hop_length: int, center: bool = True) -> Numbers:
    """Compute the root mean square of each frame.

    Args:
        samples: (n_samples,) float32.
        frame_length: Samples of a frame.
        hop_length: Samples from frame to frame.
        center: Whether frames are centred, with zeros beyond both ends.

    Returns:
        (n_frames,) float32.
    """
    padded = np.pad(samples, frame_length // 2) if center else samples
    squares = np.square(_frames(padded, frame_length, hop_length), dtype=np.float32)
    return np.asarray(np.sqrt(np.mean(squares, axis=0)))


def mel_filters(
    *, rate_hz: int, frame_length: int, n_mels: int, fmin_hz: float, fmax_hz: float
) -> Numbers:
    """Compute triangular filters of equal area, equally spaced in mel.

    Args:
        rate_hz: Sample rate.
        frame_length: Samples of a frame.
        n_mels: Number of filters.
        fmin_hz: Lower edge of the first one.
        fmax_hz: Upper edge of the last one.

    Returns:
        (n_mels, 1 + frame_length // 2) float32.

    Source: Slaney 1998, Auditory Toolbox.
    """
    bins_hz = np.fft.rfftfreq(frame_length, 1.0 / rate_hz)
    low, high = _hz_to_mel(fmin_hz), _hz_to_mel(fmax_hz)
    edges_hz = _mel_to_hz(np.linspace(low, high, n_mels + 2))
    widths_hz = np.diff(edges_hz)[:, np.newaxis]
    ramps = np.subtract.outer(edges_hz, bins_hz)  # (n_mels + 2, n_bins)
    slopes = np.minimum(-ramps[:-2] / widths_hz[:-1], ramps[2:] / widths_hz[1:])
    filters: Numbers = np.maximum(0.0, slopes).astype(np.float32)
    filters *= (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, np.newaxis]
    return np.asarray(filters, dtype=np.float32)


def power_to_db(power: Numbers, *, top_db: float) -> Numbers:
    """Return power in decibels, at least `top_db` below its maximum; 1e-10 is the least power."""
    level = 10.0 * np.log10(np.maximum(1e-10, power))
    return np.asarray(np.maximum(level, level.max() - top_db))


def _frames(samples: Numbers, frame_length: int, hop_length: int) -> Numbers:
    """Return a view of (frame_length, n_frames)."""
    return np.asarray(sliding_window_view(samples, frame_length)[::hop_length].T)


def _hz_to_mel(hz: float) -> float:
    if hz < FIRST_LOG_HZ:
        return hz / HZ_PER_MEL
    return float(FIRST_LOG_HZ / HZ_PER_MEL + np.log(hz / FIRST_LOG_HZ) / LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    first_log_mel = FIRST_LOG_HZ / HZ_PER_MEL
    above = FIRST_LOG_HZ * np.exp(LOG_STEP * (mel - first_log_mel))
    return np.where(mel >= first_log_mel, above, HZ_PER_MEL * mel)
