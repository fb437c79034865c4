"""Is it speech? A small network over statistics of a clip's log-mel frames.

Animals, engines, rain and music get an answer from any emotion recogniser; this one is asked
first. It learned from the clips that the models learn from, from people who read aloud, and from
recorded and made-up sounds that are no speech (`ser_lab.train.speech_detector`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import soxr

from ser_core.config import AudioConfig, FeatureConfig, PipelineConfig
from ser_core.errors import NoSpeechError
from ser_core.features import Features, extract_features
from ser_core.preprocess import Waveform

FRAMES = FeatureConfig(groups=("log_mel",), frame_length=1_024, hop_length=320, n_mels=64)
"""The frames that the network sees: 64 bands every 20 ms at 16 kHz."""
RATE_HZ = 16_000
RHYTHM_HZ = (0.5, 2.5, 5.0, 9.0, 14.0, 25.0)
"""Edges of the bands of modulation; syllables come two to eight times a second."""
PART, PART_HOP = 100, 50
"""Frames: two seconds are asked about at once, so that long pauses cannot outweigh speech."""
_FRAMES_PER_S = RATE_HZ / FRAMES.hop_length
_BANDS_TOGETHER = 8

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SpeechDetector:
    """A network of one hidden layer.

    Attributes:
        mean: (n_numbers,) taken off the statistics.
        scale: (n_numbers,) they are divided by.
        hidden: (n_numbers, n_units) weights and (n_units,) biases.
        last: (n_units,) weights and () bias.
        threshold: Least score of speech.
    """

    mean: Numbers
    scale: Numbers
    hidden: tuple[Numbers, Numbers]
    last: tuple[Numbers, Numbers]
    threshold: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open what `write` wrote."""
        with np.load(path) as stored:
            return cls(
                stored["mean"],
                stored["scale"],
                (stored["hidden"], stored["hidden_bias"]),
                (stored["last"], stored["last_bias"]),
                float(stored["threshold"]),
            )

    def write(self, path: Path) -> None:
        """Keep the weights in one file."""
        np.savez_compressed(
            path,
            mean=self.mean,
            scale=self.scale,
            hidden=self.hidden[0],
            hidden_bias=self.hidden[1],
            last=self.last[0],
            last_bias=self.last[1],
            threshold=self.threshold,
        )

    def score(self, frames: Features) -> float:
        """Logarithm of the odds that somebody speaks in the likeliest part of a clip.

        Args:
            frames: (n_frames, 64) log-mel in decibels, of any length.
        """
        parts = np.array([describe_frames(part) for part in cut_parts(frames)])
        return float(self.scores(parts).max())

    def hears_speech(self, frames: Features) -> bool:
        """Whether any part of a clip scores as speech; asks no further than it has to.

        Args:
            frames: As in `score`.
        """
        rows = (describe_frames(part)[np.newaxis] for part in cut_parts(frames))
        return any(self.scores(row)[0] >= self.threshold for row in rows)

    def scores(self, statistics: Numbers) -> Numbers:
        """Logarithm of the odds of speech.

        Args:
            statistics: (n_clips, n_numbers) of `describe_frames`.

        Returns:
            (n_clips,) float32.
        """
        level = (statistics - self.mean) / self.scale
        hidden = np.maximum(level @ self.hidden[0] + self.hidden[1], 0.0)
        return np.asarray(hidden @ self.last[0] + self.last[1], np.float32)


@cache
def bundled_detector() -> SpeechDetector:
    """The detector beside this module."""
    return SpeechDetector.read(Path(__file__).with_name("speech_detector.npz"))


def check_speech(samples: Waveform, features: Features, config: PipelineConfig) -> None:
    """Refuse what does not sound like speech.

    Args:
        samples: (n_samples,) float32 from `preprocess`.
        features: What `extract_features` made of them.
        config: The settings of both.

    Raises:
        NoSpeechError: Nobody speaks.
    """
    frames = features if _are_ours(config) else _extract(samples, config)
    if not bundled_detector().hears_speech(frames):
        raise NoSpeechError(
            "We heard no speech: this sounds like noise or music. Speak close to the microphone, "
            "or record in a quieter place."
        )


def _are_ours(config: PipelineConfig) -> bool:
    return config.features == FRAMES and config.audio.sample_rate_hz == RATE_HZ


def _extract(samples: Waveform, config: PipelineConfig) -> Features:
    rate_hz = config.audio.sample_rate_hz
    if rate_hz != RATE_HZ:
        samples = soxr.resample(samples, rate_hz, RATE_HZ)
    ours = PipelineConfig(audio=AudioConfig(sample_rate_hz=RATE_HZ), features=FRAMES)
    return extract_features(samples, ours)


def cut_parts(frames: Features) -> Iterator[Features]:
    """Overlapping stretches of `PART` frames; a shorter clip is its own.

    Args:
        frames: (n_frames, n_columns).
    """
    last = max(len(frames) - PART, 0)
    for start in [*range(0, last, PART_HOP), last]:
        yield frames[start : start + PART]


def describe_frames(frames: npt.NDArray[np.floating[Any]]) -> Numbers:
    """A clip as one row of numbers, however long it is.

    Level, spread and change of each band, steps between neighbouring bands, rhythm of eight
    groups of bands, ripple of the spectrum (the pitch of a voice shows there), and length.

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
    """Logarithm of the share of each band of `RHYTHM_HZ` in the modulation, (5, 8)."""
    n = len(frames)
    n_fft = 64 if n <= 64 else 512
    window = np.hanning(n)[:, np.newaxis]
    power = np.abs(np.fft.rfft((frames - frames.mean(axis=0)) * window, n_fft, axis=0)) ** 2
    groups = power.reshape(len(power), -1, _BANDS_TOGETHER).sum(axis=2)  # (n_bins, 8)
    hz = np.fft.rfftfreq(n_fft, 1.0 / _FRAMES_PER_S)
    edges = np.searchsorted(hz, RHYTHM_HZ)
    sums = np.add.reduceat(groups, edges[:-1], axis=0)
    return np.asarray(np.log(sums / (groups[1:].sum() + 1e-9) + 1e-6))
