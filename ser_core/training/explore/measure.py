"""What is measured of each clip, and the mean spectrum of each corpus."""

import logging
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile
from rich.progress import track

from ser_core.audio import load_audio
from ser_core.config import AudioConfig
from ser_core.errors import AudioError
from ser_core.preprocess import dbfs

logger = logging.getLogger(__name__)

MEASURES = ("duration_s", "sample_rate_hz", "n_channels", "level_dbfs", "peak_dbfs")
"""Columns that `measure_clips` gives."""
FRAME_LENGTH = 512
"""Frame of the mean spectrum: bands of 31 Hz at 16 kHz."""
SPECTRUM_CLIPS = 120
"""Clips of a corpus that its mean spectrum is taken from, spread evenly over it."""


def measure_clips(paths: Sequence[Path]) -> pd.DataFrame:
    """Measure every clip as its file has it, before anything is resampled or levelled.

    Args:
        paths: The clips.

    Returns:
        (n_clips, n_measures), columns `MEASURES`: the length in seconds, the rate that the file
        decodes at, its channels, RMS and peak of their mean in dB below full scale. A clip that
        cannot be read has no values and is logged.
    """
    rows = [_measure(path) for path in track(paths, "Measuring clips")]
    return pd.DataFrame(rows, columns=list(MEASURES))


def _measure(path: Path) -> tuple[float, ...]:
    try:
        with soundfile.SoundFile(path) as file:
            frames = file.read(dtype="float32", always_2d=True)  # (n_samples, n_channels)
            rate_hz, n_channels = file.samplerate, file.channels
    except (OSError, soundfile.LibsndfileError) as error:
        logger.warning("%s is not measured: %s", path, error)
        return (np.nan,) * len(MEASURES)
    waveform = frames.mean(axis=1)
    if not len(waveform):
        logger.warning("%s is not measured: it holds no sound.", path)
        return (np.nan,) * len(MEASURES)
    rms = float(np.sqrt(np.mean(waveform**2, dtype=np.float64)))
    peak = float(np.abs(waveform).max())
    return len(waveform) / rate_hz, rate_hz, n_channels, dbfs(rms), dbfs(peak)


def mean_spectrum(paths: Sequence[Path]) -> npt.NDArray[np.float64]:
    """Mean power spectrum of a corpus, every clip brought to one level first.

    Args:
        paths: Its clips; of many, `SPECTRUM_CLIPS` spread evenly.

    Returns:
        (2, n_bands) float64: frequencies in Hz, and levels in dB below the strongest band.
        Without a clip that can be read, no bands.
    """
    config = AudioConfig()
    step = max(1, len(paths) // SPECTRUM_CLIPS)
    spectra = []
    for path in paths[::step]:
        try:
            waveform = load_audio(path, config)
        except AudioError as error:
            logger.warning("%s is not in the mean spectrum: %s", path, error)
            continue
        power = np.abs(librosa.stft(waveform, n_fft=FRAME_LENGTH)) ** 2  # (n_bands, n_frames)
        if total := float(power.mean()):
            spectra.append(power.mean(axis=1) / total)
    if not spectra:
        return np.empty((2, 0))
    level = librosa.power_to_db(np.mean(spectra, axis=0), ref=np.max, top_db=None)
    frequencies_hz = librosa.fft_frequencies(sr=config.sample_rate_hz, n_fft=FRAME_LENGTH)
    return np.stack([frequencies_hz, level])
