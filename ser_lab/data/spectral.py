"""Changes of Whisper's log-mel frames, new at each draw: far cheaper than changes of the sound.

Frames are on the scale of Whisper's training, (log10 of the power + 4) / 4, and nothing is more
than 80 dB below the loudest value of its clip. Changes of power keep to that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt

from ser_core.config import WHISPER_FEATURES, PipelineConfig
from ser_core.features import WHISPER_FLOOR, WHISPER_RANGE, Features, extract_features
from ser_core.whisper.spec import N_MELS, SAMPLE_RATE_HZ
from ser_lab.data.augment import load_noises

BANDS_HZ = librosa.mel_frequencies(N_MELS + 2, fmin=0.0, fmax=SAMPLE_RATE_HZ / 2)[1:-1]
TELEPHONE_HZ = (300.0, 3_400.0)
_IN_TELEPHONE = np.clip(BANDS_HZ, *TELEPHONE_HZ) == BANDS_HZ


@dataclass(frozen=True, slots=True)
class SpectralChanges:
    """How often frames are changed, and how far.

    Attributes:
        speed_share: Share of the draws that are faster or slower.
        speed: Range of their speed.
        warp_share: Share with another vocal tract.
        warp: Range of the factor on the number of a mel band.
        equaliser_share: Share with another microphone.
        equaliser_db: Standard deviation of each of its three cosines over the bands.
        noise_share: Share with recorded noise.
        noise_snr_db: Level of the speech above it.
        telephone_share: Share whose bands outside of `TELEPHONE_HZ` are silent.
        band_mask_share: Share with a run of masked bands.
        bands: Most bands of the run.
        time_mask_share: Share with a run of masked frames.
        time_mask: Most of the run, as a share of the clip.
    """

    speed_share: float = 0.5
    speed: tuple[float, float] = (0.9, 1.12)
    warp_share: float = 0.5
    warp: tuple[float, float] = (0.9, 1.1)
    equaliser_share: float = 0.6
    equaliser_db: float = 2.5
    noise_share: float = 0.5
    noise_snr_db: tuple[float, float] = (0.0, 30.0)
    telephone_share: float = 0.1
    band_mask_share: float = 0.5
    bands: int = 8
    time_mask_share: float = 0.3
    time_mask: float = 1 / 6


def load_noise_powers(data: Path) -> list[Features]:
    """Return the power of recorded noise, (n_frames, 80) each; none where there is no recording.

    Args:
        data: Folder of the corpora, with that of the noise.
    """
    config = PipelineConfig(features=replace(WHISPER_FEATURES, margin_s=0.0))
    noises = load_noises(data, SAMPLE_RATE_HZ)
    return [_to_power(extract_features(noise, config)) for noise in noises]


def change_frames(
    frames: Features,
    changes: SpectralChanges,
    random: np.random.Generator,
    *,
    noises: Sequence[Features] = (),
) -> Features:
    """Change a clip's frames.

    Args:
        frames: (n_frames, 80) of a clip.
        changes: How often, and how far.
        random: Source of all choices.
        noises: As `load_noise_powers` gives them; without any, no noise is added.

    Returns:
        (n_changed, 80) float32; the speed decides how many.
    """
    frames = frames.astype(np.float32)
    if random.random() < changes.speed_share:
        frames = _resample(frames, random.uniform(*changes.speed))
    if random.random() < changes.warp_share:
        frames = _warp(frames, random.uniform(*changes.warp))
    power = _to_power(frames)
    if random.random() < changes.equaliser_share:
        power *= 10.0 ** (_response(random.normal(0.0, changes.equaliser_db, 3)) / 10.0)
    if noises and random.random() < changes.noise_share:
        noise = noises[int(random.integers(len(noises)))]
        noise = noise[(int(random.integers(len(noise))) + np.arange(len(power))) % len(noise)]
        snr = 10.0 ** (random.uniform(*changes.noise_snr_db) / 10.0)
        power += noise * (power.mean() / snr / max(float(noise.mean()), WHISPER_FLOOR))
    if random.random() < changes.telephone_share:
        power *= _IN_TELEPHONE
    frames = _from_power(power)
    fill = frames.mean()
    if random.random() < changes.band_mask_share:
        n_bands = int(random.integers(1, changes.bands + 1))
        first = int(random.integers(N_MELS - n_bands + 1))
        frames[:, first : first + n_bands] = fill
    if random.random() < changes.time_mask_share:
        n_frames = int(random.integers(int(changes.time_mask * len(frames)) + 1))
        first = int(random.integers(len(frames) - n_frames + 1))
        frames[first : first + n_frames] = fill
    return frames


def _resample(frames: Features, speed: float) -> Features:
    """Repeat or leave out frames."""
    n_frames = max(1, round(len(frames) / speed))
    return frames[np.arange(n_frames) * len(frames) // n_frames]


def _warp(frames: Features, factor: float) -> Features:
    """Take each band from `factor` times its number, between two bands in proportion."""
    source = np.clip(np.arange(N_MELS) * factor, 0, N_MELS - 1)
    lower = source.astype(int)
    upper = np.minimum(lower + 1, N_MELS - 1)
    share = (source - lower).astype(np.float32)
    return np.asarray(frames[:, lower] * (1.0 - share) + frames[:, upper] * share)


def _response(cosines_db: npt.NDArray[np.float64]) -> Features:
    """Return (80,) decibels of a smooth curve."""
    place = np.pi * (np.arange(N_MELS) + 0.5) / N_MELS
    order = np.arange(1, len(cosines_db) + 1)
    return np.asarray(cosines_db @ np.cos(order[:, np.newaxis] * place), np.float32)


def _to_power(frames: Features) -> Features:
    return np.asarray(10.0 ** (4.0 * frames - 4.0), np.float32)


def _from_power(power: Features) -> Features:
    level = np.log10(np.maximum(power, WHISPER_FLOOR))
    return np.asarray((np.maximum(level, level.max() - WHISPER_RANGE) + 4.0) / 4.0, np.float32)
