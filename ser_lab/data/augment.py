"""Augmentation: copies of a recording with another voice, room, microphone, noise or codec.

audiomentations, the library for this, requires librosa below 0.12. One generator makes all
random choices of a copy, so that it is the same on every machine.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
from scipy import signal

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.preprocess import Waveform

Samples = npt.NDArray[np.floating[Any]]
"""(n_samples,) at any precision."""
NOISE = "noise"
"""Folder with recordings of noise, beside those of the corpora."""
EQ_POINTS_HZ = np.array([0.0, 250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0])
"""Frequencies at which the gain of a microphone is random; it is interpolated in between."""
MEL_BANDS = 128
"""Of the spectrogram of `rebuild`."""
TELEPHONE_HZ = 8_000
"""Sample rate of a telephone line."""
MU = 255.0
"""Of the telephone's companding. Source: ITU-T G.711."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Settings of a copy; shares are probabilities, pairs the range of a uniform distribution.

    Attributes:
        copy: Number of the copy, with the clip's name the seed of its random choices.
        rebuilt_share: Share that is rebuilt from a spectrogram.
        speed: Factor of tempo, pitch and formants together, as of a tape.
        eq_share: Share with another microphone.
        eq_step_db: Standard deviation between the gains of two neighbours of
            `EQ_POINTS_HZ`.
        room_share: Share with reverberation.
        reverberation_s: Time in which its sound falls by 60 dB.
        room_level_db: Power of its sound relative to the direct one.
        noise_share: Share with recorded noise.
        noise_snr_db: Level of the speech above it.
        hiss_share: Share with white noise, where there is no recorded one.
        hiss_snr_db: Level of the speech above it.
        burst_share: Share with a click, a thump or a beep.
        burst_db: Its peak relative to that of the speech.
        low_pass_share: Share with a low-pass filter.
        low_pass_hz: Its cutoff.
        telephone_share: Share over a telephone line.
    """

    copy: int = 0
    rebuilt_share: float = 0.5
    speed: tuple[float, float] = (0.88, 1.14)
    eq_share: float = 0.8
    eq_step_db: float = 2.5
    room_share: float = 0.3
    reverberation_s: tuple[float, float] = (0.15, 0.5)
    room_level_db: tuple[float, float] = (-12.0, 0.0)
    noise_share: float = 0.4
    noise_snr_db: tuple[float, float] = (8.0, 30.0)
    hiss_share: float = 0.2
    hiss_snr_db: tuple[float, float] = (20.0, 45.0)
    burst_share: float = 0.0
    burst_db: tuple[float, float] = (-6.0, 30.0)
    low_pass_share: float = 0.2
    low_pass_hz: tuple[float, float] = (3_400.0, 7_000.0)
    telephone_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Changes:
    """Augmentation of the clips of a store; `data` is the folder of the corpora and the noise."""

    settings: Augmentation
    data: Path

    def apply(self, samples: Waveform, name: str, *, sample_rate_hz: int) -> Waveform:
        """Change a clip; the same name gives the same change."""
        random = np.random.default_rng([self.settings.copy, zlib.crc32(name.encode())])
        noises = load_noises(self.data, sample_rate_hz)
        return augment(samples, self.settings, random, sample_rate_hz=sample_rate_hz, noises=noises)


def augment(
    samples: Waveform,
    settings: Augmentation,
    random: np.random.Generator,
    *,
    sample_rate_hz: int,
    noises: Sequence[Waveform] = (),
) -> Waveform:
    """Change a clip of speech at random.

    Args:
        samples: (n_samples,) float32 without silence around the speech.
        settings: Settings of the copy.
        random: Generator of all random choices.
        sample_rate_hz: Rate of the samples and of the noises.
        noises: Recordings that are not silent; without any, no such noise is added.

    Returns:
        (n_changed_samples,) float32 of any level.
    """
    changed: Samples = samples
    if random.random() < settings.rebuilt_share:
        changed = rebuild(samples, random, sample_rate_hz=sample_rate_hz)
    changed = signal.resample(changed, round(len(changed) / random.uniform(*settings.speed)))
    if random.random() < settings.eq_share:
        changed = _equalise(changed, settings.eq_step_db, random, sample_rate_hz)
    if random.random() < settings.room_share:
        changed = _reverberate(changed, settings, random, sample_rate_hz)
    draw = random.random()
    if noises and draw < settings.noise_share:
        noise = noises[int(random.integers(len(noises)))]
        noise = np.resize(np.roll(noise, -random.integers(len(noise))), len(changed))
        changed = add_noise(changed, noise, random.uniform(*settings.noise_snr_db))
    elif draw < settings.noise_share + settings.hiss_share:
        hiss = random.normal(size=len(changed))
        changed = add_noise(changed, hiss, random.uniform(*settings.hiss_snr_db))
    if settings.burst_share and random.random() < settings.burst_share:
        changed = _add_burst(changed, settings.burst_db, random, sample_rate_hz)
    if random.random() < settings.low_pass_share:
        end_hz = random.uniform(*settings.low_pass_hz)
        changed = signal.sosfilt(signal.butter(6, end_hz, fs=sample_rate_hz, output="sos"), changed)
    if random.random() < settings.telephone_share:
        changed = telephone(changed, sample_rate_hz=sample_rate_hz)
    return np.asarray(changed, dtype=np.float32)


def rebuild(samples: Waveform, random: np.random.Generator, *, sample_rate_hz: int) -> Waveform:
    """Convert (n_samples,) float32 to a random mel spectrogram and back, without its phase.

    Source: Griffin and Lim 1984; Perraudin et al. 2013 for the momentum.
    """
    frame, hop = ((512, 128), (1_024, 256), (512, 160))[random.integers(3)]
    bands = librosa.filters.mel(sr=sample_rate_hz, n_fft=frame, n_mels=MEL_BANDS)
    power = np.abs(librosa.stft(samples, n_fft=frame, hop_length=hop)) ** 2
    power = np.maximum(np.linalg.pinv(bands) @ (bands @ power), 1e-10)
    rebuilt = librosa.griffinlim(
        np.sqrt(power),
        n_iter=int(random.integers(6, 20)),
        n_fft=frame,
        hop_length=hop,
        length=len(samples),
        random_state=int(random.integers(2**31)),
    )
    return np.asarray(rebuilt, dtype=np.float32)


def telephone(samples: Samples, *, sample_rate_hz: int) -> Samples:
    """Simulate a telephone line: 300 to 3,400 Hz, 8 kHz, 8 bits on a logarithmic scale.

    Args:
        samples: (n_samples,).
        sample_rate_hz: A multiple of 8 kHz.

    Returns:
        (n_samples,), one more where halving the rate rounds up; its peak is 1.

    Source: ITU-T G.711.
    """
    step = sample_rate_hz // TELEPHONE_HZ
    band = signal.butter(4, (300, 3_400), "bandpass", fs=sample_rate_hz, output="sos")
    narrow = signal.resample_poly(signal.sosfilt(band, samples), 1, step)
    narrow = narrow / max(np.abs(narrow).max(), 1e-9)
    pressed = np.sign(narrow) * np.log1p(MU * np.abs(narrow)) / np.log1p(MU)
    stepped = np.round(pressed * 127.0) / 127.0
    back = np.sign(stepped) * np.expm1(np.abs(stepped) * np.log1p(MU)) / MU
    return np.asarray(signal.resample_poly(back, step, 1))


@cache
def load_noises(data: Path, sample_rate_hz: int) -> tuple[Waveform, ...]:
    """Read the recordings of noise beside the corpora; none where there is no such folder."""
    folder = data / NOISE
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    audio = AudioConfig(sample_rate_hz=sample_rate_hz)
    noises = (load_audio(path, audio) for path in paths)
    return tuple(noise for noise in noises if noise.std() > 1e-4)


def _equalise(
    samples: Samples, step_db: float, random: np.random.Generator, rate_hz: int
) -> Samples:
    gain_db = np.cumsum(random.normal(0.0, step_db, len(EQ_POINTS_HZ)))
    frequency_hz = np.fft.rfftfreq(len(samples), 1.0 / rate_hz)
    gain_db = np.interp(np.log(frequency_hz + 50.0), np.log(EQ_POINTS_HZ + 50.0), gain_db)
    return np.fft.irfft(np.fft.rfft(samples) * 10.0 ** (gain_db / 20.0), len(samples))


def _reverberate(
    samples: Samples, settings: Augmentation, random: np.random.Generator, rate_hz: int
) -> Samples:
    """Convolve with an impulse and decaying noise."""
    n_tail = round(random.uniform(*settings.reverberation_s) * rate_hz)
    tail = random.normal(size=n_tail) * 10.0 ** (-3.0 * np.arange(n_tail) / n_tail)
    tail *= 10.0 ** (random.uniform(*settings.room_level_db) / 20.0) / np.linalg.norm(tail)
    response = np.concatenate([[1.0], tail])
    return np.asarray(signal.fftconvolve(samples, response)[: len(samples) + n_tail // 3])


def _add_burst(
    samples: Samples, level_db: tuple[float, float], random: np.random.Generator, rate_hz: int
) -> Samples:
    """Add a click of some samples, a thump of 20 to 80 ms or a beep of 50 to 250 ms."""
    kind = int(random.integers(3))
    if kind == 0:
        burst = random.choice([-1.0, 1.0], int(random.integers(1, 4)))
    else:
        length_s, low_hz, high_hz = (
            ((0.02, 0.08), 40, 200) if kind == 1 else ((0.05, 0.25), 400, 3_000)
        )
        n = min(int(random.uniform(*length_s) * rate_hz), len(samples))
        burst = np.sin(2 * np.pi * random.uniform(low_hz, high_hz) * np.arange(n) / rate_hz)
        burst *= np.hanning(n) if kind == 1 else 1.0
    start = int(random.integers(len(samples) - len(burst) + 1))
    changed = samples.astype(np.float64)
    gain = np.abs(samples).max() * 10.0 ** (random.uniform(*level_db) / 20.0)
    changed[start : start + len(burst)] += gain * burst
    return changed


def add_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add noise to a clip `snr_db` above it, both (n_samples,); silence changes nothing."""
    power = np.mean(noise**2)
    if power == 0.0:  # a recording of noise may hold pauses
        return samples
    gain = np.sqrt(np.mean(samples**2) / power) * 10.0 ** (-snr_db / 20.0)
    return np.asarray(samples + gain * noise)
