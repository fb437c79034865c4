"""Speech detection: a small network over statistics of a clip's log-mel frames.

It keeps animals, engines, rain and music from the emotion model. It is trained on the models'
clips, on reading aloud, and on recorded and synthetic sounds without speech
(`ser_lab.train.speech_detector`).
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit

from ser_core.config import AudioConfig, FeatureConfig, PipelineConfig, PreprocessConfig
from ser_core.errors import NoSpeechError
from ser_core.features import Features, extract_features
from ser_core.preprocess import Waveform

FRAMES = FeatureConfig(groups=("log_mel",), frame_length=1_024, hop_length=320, n_mels=64)
"""Input of the network: 64 bands every 20 ms at 16 kHz."""
RATE_HZ = 16_000
RHYTHM_HZ = (0.5, 2.5, 5.0, 9.0, 14.0, 25.0)
"""Edges of the modulation bands; syllables have a rate of 2 to 8 Hz."""
PART, PART_HOP = 100, 50
"""Frames of a part and of its hop: two seconds, so that long pauses cannot outweigh speech."""

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SpeechDetector:
    """A network of one hidden layer.

    Attributes:
        mean: (n_numbers,) mean of the statistics.
        scale: (n_numbers,) their standard deviation.
        hidden: (n_numbers, n_units) weights of the hidden layer.
        hidden_bias: (n_units,).
        last: (n_units,) weights of the output.
        last_bias: ().
        threshold: Least log-odds of speech.
    """

    mean: Numbers
    scale: Numbers
    hidden: Numbers
    hidden_bias: Numbers
    last: Numbers
    last_bias: Numbers
    threshold: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Load the file of `write`."""
        with np.load(path) as stored:
            values: dict[str, Any] = dict(stored)
        return cls(**values | {"threshold": float(values["threshold"])})

    def write(self, path: Path) -> None:
        """Write the weights to a file."""
        with path.open("wb") as file:
            np.savez_compressed(file, **asdict(self))

    def max_log_odds(self, frames: Features) -> float:
        """Return the log-odds of speech in the most speech-like part of a clip.

        Args:
            frames: (n_frames, 64) log-mel in decibels, of any length.
        """
        parts = np.array([describe_frames(part) for part in _cut_parts(frames)])
        return float(self.log_odds(parts).max())

    def is_speech(self, frames: Features) -> bool:
        """Return whether any part of a clip is speech; `frames` are as in `max_log_odds`."""
        rows = (describe_frames(part)[np.newaxis] for part in _cut_parts(frames))
        return any(self.log_odds(row)[0] >= self.threshold for row in rows)

    def log_odds(self, statistics: Numbers) -> Numbers:
        """Return (n_clips,) log-odds of speech for (n_clips, n_numbers) of `describe_frames`."""
        level = (statistics - self.mean) / self.scale
        hidden = np.maximum(level @ self.hidden + self.hidden_bias, 0.0)
        return np.asarray(hidden @ self.last + self.last_bias, np.float32)


@cache
def _bundled_detector() -> SpeechDetector:
    return SpeechDetector.read(Path(__file__).with_name("speech_detector.npz"))


def check_speech(samples: Waveform, features: Features, config: PipelineConfig) -> None:
    """Raise an error unless a clip contains speech.

    Args:
        samples: (n_samples,) float32 from `preprocess`.
        features: Result of `extract_features` for them.
        config: The settings of both.

    Raises:
        NoSpeechError: The clip contains no speech.
    """
    rate_hz, frames = config.audio.sample_rate_hz, features
    if (config.features, rate_hz) != (FRAMES, RATE_HZ):
        if rate_hz != RATE_HZ:
            samples = soxr.resample(samples, rate_hz, RATE_HZ)
        settings = PipelineConfig(AudioConfig(sample_rate_hz=RATE_HZ), features=FRAMES)
        frames = extract_features(samples, settings)
    if not _bundled_detector().is_speech(frames):
        raise NoSpeechError(
            "We heard no speech: this sounds like noise or music. Speak close to the microphone, "
            "or record in a quieter place."
        )


def _cut_parts(frames: Features) -> Iterator[Features]:
    """Yield overlapping parts of `PART` frames of (n_frames, n_columns), or a shorter clip."""
    last = max(len(frames) - PART, 0)
    for start in [*range(0, last, PART_HOP), last]:
        yield frames[start : start + PART]


def describe_frames(frames: npt.NDArray[np.floating[Any]]) -> Numbers:
    """Return statistics of a clip of any length.

    They are mean, deviation and change of each band, differences of adjacent bands, modulation of
    eight groups of bands, ripple of the spectrum (which shows the pitch), and length.

    Args:
        frames: (n_frames, 64) log-mel in decibels.

    Returns:
        (n_numbers,) float32.
    """
    mean, peak = frames.mean(axis=1), frames.max(axis=1)  # (n_frames,)
    ripple = np.abs(np.fft.rfft(frames - mean[:, np.newaxis], axis=1))[:, 1:]
    ripple = np.log(ripple + 1e-3)  # (n_frames, 32)
    parts = [
        frames.mean(axis=0),
        frames.std(axis=0),
        np.abs(np.diff(frames, axis=0, append=frames[-1:])).mean(axis=0),
        np.abs(np.diff(frames, axis=1)).mean(axis=0),
        _rhythm(frames).ravel(),
        ripple.mean(axis=0),
        ripple.std(axis=0),
        [(mean - peak).mean(), (mean - peak).std(), np.log(len(frames))],
    ]
    return np.concatenate(parts).astype(np.float32)


def _rhythm(frames: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Return the logarithm of the share of each band of `RHYTHM_HZ` in the modulation, (5, 8)."""
    n = len(frames)
    n_fft = 64 if n <= 64 else 512
    window = np.hanning(n)[:, np.newaxis]
    power = np.abs(np.fft.rfft((frames - frames.mean(axis=0)) * window, n_fft, axis=0)) ** 2
    groups = power.reshape(len(power), 8, -1).sum(axis=2)  # (n_bins, 8)
    hz = np.fft.rfftfreq(n_fft, FRAMES.hop_length / RATE_HZ)
    edges = np.searchsorted(hz, RHYTHM_HZ)
    sums = np.add.reduceat(groups, edges[:-1], axis=0)
    return np.asarray(np.log(sums / (groups[1:].sum() + 1e-9) + 1e-6))


LEVEL = PreprocessConfig(level="speech")
"""Level of the network's input, whichever the model needs."""
CHUNK, CONTEXT = 512, 64
"""Samples of a chunk, which gets one probability, and samples before it that the network sees."""
SPEECH_FROM, CLEAR_FROM = 0.25, 0.9
BLOCK = 16
"""Chunks computed at once: half a second."""
N_FFT, HOP, N_UNITS = 256, 128, 128
STRIDES = (1, 2, 2, 1)
"""Strides of the encoder's convolutions, which turn the four spectra of a chunk into one vector."""


@cache
def _load_weights() -> dict[str, Numbers]:
    with np.load(Path(__file__).with_name("silero_vad.npz")) as stored:
        return dict(stored)


def speech_probabilities(samples: Waveform) -> Iterator[Numbers]:
    """Yield the probabilities of speech of the chunks of a clip, up to `BLOCK` at once.

    Args:
        samples: (n_samples,) float32 at `RATE_HZ`.
    """
    weights = _load_weights()
    recurrent, bias = weights["lstm.weight_hh"], weights["lstm.bias_ih"] + weights["lstm.bias_hh"]
    padded = np.pad(samples, (CONTEXT, -len(samples) % CHUNK))
    chunks = sliding_window_view(padded, CONTEXT + CHUNK)[::CHUNK]  # (n_chunks, 576)
    hidden, cell = np.zeros((2, N_UNITS), np.float32)
    for start in range(0, len(chunks), BLOCK):
        block = _encode(chunks[start : start + BLOCK]) @ weights["lstm.weight_ih"].T + bias
        states = np.empty((len(block), N_UNITS), np.float32)
        for i, row in enumerate(block):
            gates = row + recurrent @ hidden
            opened = expit(gates)
            into, keep, _, out = opened.reshape(4, N_UNITS)
            cell = keep * cell + into * np.tanh(gates[2 * N_UNITS : 3 * N_UNITS])
            states[i] = hidden = out * np.tanh(cell)
        logits = np.maximum(states, 0.0) @ weights["output.weight"][0, :, 0]
        yield expit(logits + weights["output.bias"])


def _encode(chunks: Numbers) -> Numbers:
    """Return (n_chunks, 128) vectors of (n_chunks, 576) samples."""
    mirrored = np.concatenate([chunks, chunks[:, -2 : -2 - CONTEXT : -1]], axis=1)
    frames = sliding_window_view(mirrored, N_FFT, axis=1)[:, ::HOP]  # (n_chunks, 4, 256)
    window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    layer = np.abs(np.fft.rfft(frames * window)).astype(np.float32)  # (n_chunks, 4, 129)
    for i, stride in enumerate(STRIDES):
        weight, bias = (_load_weights()[f"encoder.{i}.{part}"] for part in ("weight", "bias"))
        padded = np.pad(layer, ((0, 0), (1, 1), (0, 0)))
        windows = sliding_window_view(padded, 3, axis=1)[:, ::stride]  # (n_chunks, n, n_in, 3)
        layer = np.maximum(np.tensordot(windows, weight, axes=((2, 3), (1, 2))) + bias, 0.0)
    return layer[:, 0]


def speech_probability(samples: Waveform) -> float:
    """Return the probability of speech of the most speech-like chunk of a clip.

    The chunks after the first clear one are not computed.

    Args:
        samples: (n_samples,) float32 at `RATE_HZ` and `LEVEL`.
    """
    most = 0.0
    for probabilities in speech_probabilities(samples):
        most = max(most, float(probabilities.max()))
        if most >= CLEAR_FROM:
            break
    return most
