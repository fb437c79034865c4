"""Spectra and levels are librosa's, which is the oracle here, and load nothing heavy."""

import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest

from ser_core.spectrum import mel_filters, power_to_db, rms, stft
from tests.conftest import RATE_HZ

HEAVY = ("librosa", "numba", "sklearn", "pandas", "scipy.signal", "scipy.stats")


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize(("frame_length", "hop_length"), [(1_024, 320), (400, 160), (2_048, 512)])
@pytest.mark.parametrize("n_samples", [3_200, 3_201, 20 * RATE_HZ])
def test_a_spectrum_is_librosas(
    n_samples: int, frame_length: int, hop_length: int, pad_mode: str
) -> None:
    samples = np.random.default_rng(0).normal(size=n_samples).astype(np.float32)
    ours = stft(samples, frame_length=frame_length, hop_length=hop_length, pad_mode=pad_mode)  # type: ignore[arg-type]
    theirs = librosa.stft(samples, n_fft=frame_length, hop_length=hop_length, pad_mode=pad_mode)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("center", [True, False])
def test_the_levels_are_librosas(tone: np.ndarray, center: bool) -> None:
    ours = rms(tone, frame_length=2_048, hop_length=512, center=center)
    theirs = librosa.feature.rms(y=tone, frame_length=2_048, hop_length=512, center=center)[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("rate_hz", "frame_length", "n_mels", "fmin_hz", "fmax_hz"),
    [(16_000, 1_024, 64, 60.0, 7_000.0), (16_000, 400, 80, 0.0, 8_000.0), (8_000, 512, 20, 0, 900)],
)
def test_the_mel_filters_are_librosas(
    rate_hz: int, frame_length: int, n_mels: int, fmin_hz: float, fmax_hz: float
) -> None:
    ours = mel_filters(
        rate_hz=rate_hz, frame_length=frame_length, n_mels=n_mels, fmin_hz=fmin_hz, fmax_hz=fmax_hz
    )
    theirs = librosa.filters.mel(
        sr=rate_hz, n_fft=frame_length, n_mels=n_mels, fmin=fmin_hz, fmax=fmax_hz
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_decibels_are_librosas() -> None:
    power = np.random.default_rng(0).exponential(size=(8, 50)).astype(np.float32) ** 8
    power[0, :5] = 0.0
    ours = power_to_db(power, top_db=80.0)
    np.testing.assert_allclose(ours, librosa.power_to_db(power, top_db=80.0), rtol=1e-6)
    assert ours.min() == pytest.approx(ours.max() - 80.0)


def test_a_recording_is_prepared_for_compact_without_heavy_packages(examples: Path) -> None:
    code = (
        "import sys\nfrom ser_core.audio.load import load_audio\n"
        "from ser_core.registry import resolve\nfrom ser_core.features import extract_features\n"
        "from ser_core.preprocess import preprocess\nfrom ser_core.quality import assess_quality\n"
        "from ser_core.speech_detector import check_speech\n"
        "config = resolve('compact').model.manifest.pipeline\n"
        f"waveform = load_audio({str(examples / 'synthetic-angry.flac')!r}, config.audio)\n"
        "speech = preprocess(waveform, config)\nassess_quality(waveform, speech, config)\n"
        "check_speech(speech.samples, config)\nextract_features(speech.samples, config)\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
