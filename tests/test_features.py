"""Columns, shapes, goldens, padding, windows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.config import (
    FEATURE_GROUPS,
    WHISPER_FEATURES,
    AudioConfig,
    FeatureConfig,
    PipelineConfig,
    WindowConfig,
)
from ser_core.features import cut_windows, extract_features, pad_features
from tests.conftest import RATE_HZ

PAPERS = PipelineConfig()
WHISPER = PipelineConfig(features=replace(WHISPER_FEATURES, margin_s=0.0))
ALL_GROUPS = replace(PAPERS, features=FeatureConfig(groups=FEATURE_GROUPS))


def tone(frequency_hz: float, duration_s: float = 1.0) -> np.ndarray:
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    return np.sin(2 * np.pi * frequency_hz * t).astype(np.float32)


def column(features: np.ndarray, name: str, config: PipelineConfig = PAPERS) -> np.ndarray:
    return features[:, config.features.columns.index(name)]


def test_default_columns_are_the_papers_fifteen() -> None:
    assert PAPERS.features.columns == ("rms", "zcr", *(f"mfcc_{i}" for i in range(13)))


@settings(max_examples=20, deadline=None)
@given(n_samples=st.integers(3_200, 40_000), seed=st.integers(0, 2**16))
def test_features_are_finite_and_as_many_as_frames(n_samples: int, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)
    features = extract_features(samples, ALL_GROUPS)
    assert features.shape == (1 + n_samples // 512, len(ALL_GROUPS.features.columns))
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


def test_rms_of_a_sine_is_its_amplitude_over_root_two() -> None:
    rms = column(extract_features(0.5 * tone(440), PAPERS), "rms")
    np.testing.assert_allclose(rms[4:-4], 0.5 / np.sqrt(2), rtol=1e-2)


@pytest.mark.parametrize("frequency_hz", [200, 440, 1_000])
def test_zero_crossing_rate_of_a_sine_is_twice_its_frequency(frequency_hz: float) -> None:
    zcr = column(extract_features(tone(frequency_hz), PAPERS), "zcr")
    np.testing.assert_allclose(zcr[4:-4], 2 * frequency_hz / RATE_HZ, rtol=0.05)


def test_mfcc_is_the_cosine_transform_of_the_log_mel_bands(babble: np.ndarray) -> None:
    config = replace(PAPERS, features=FeatureConfig(groups=("mfcc", "log_mel"), n_mels=128))
    features = extract_features(babble, config)
    mfcc, log_mel = features[:, :13], features[:, 13:]
    expected = scipy.fft.dct(log_mel, type=2, norm="ortho", axis=1)[:, :13]
    np.testing.assert_allclose(mfcc, expected, atol=1e-2)


def test_log_mel_follows_scipys_spectrogram() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)
    config = replace(PAPERS, features=FeatureConfig(groups=("log_mel",)))
    bands = extract_features(samples, config)[8:-8].mean(axis=1)
    window = scipy.signal.get_window("hann", 2_048)
    _, _, power = scipy.signal.stft(samples, nperseg=2_048, noverlap=1_536, window=window)
    level_db = 10 * np.log10((np.abs(power * window.sum()) ** 2).mean(axis=0))[8:-8]
    # White noise lies in every band alike, so that bands and spectrum move together.
    assert np.corrcoef(bands, level_db[: len(bands)])[0, 1] > 0.8


def test_golden_features_of_a_made_up_signal(golden) -> None:
    samples = scipy.signal.chirp(np.arange(RATE_HZ) / RATE_HZ, 120, 1, 3_000).astype(np.float32)
    golden.check("chirp_features", extract_features(samples, ALL_GROUPS)[::8], atol=5e-3)


@pytest.mark.needs_data
def test_whispers_log_mel_is_the_references(whisper_folder: Path) -> None:
    reference = np.load(whisper_folder / "reference.npz")
    log_mel = extract_features(reference["waveform"], WHISPER)
    np.testing.assert_allclose(log_mel, reference["log_mel"], atol=1e-4)


@given(n_samples=st.integers(3_200, 40_000), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_whispers_log_mel_has_a_frame_every_10_ms_and_one_range(n_samples: int, seed: int) -> None:
    samples = np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)
    samples[: n_samples // 2] = 0.0
    log_mel = extract_features(samples, WHISPER)
    assert log_mel.shape == (n_samples // 160, 80)
    assert log_mel.dtype == np.float32
    assert np.ptp(log_mel) == pytest.approx(2.0, abs=1e-5)  # 8 of log10, by 4


def test_a_margin_is_silence_around_the_speech(babble: np.ndarray) -> None:
    with_margin = replace(WHISPER, features=replace(WHISPER.features, margin_s=0.1))
    expected = extract_features(np.pad(babble, RATE_HZ // 10), WHISPER)
    np.testing.assert_array_equal(extract_features(babble, with_margin), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"groups": ("whisper_log_mel", "rms"), "frame_length": 400, "hop_length": 160},
        {"groups": ("whisper_log_mel",)},
    ],
)
def test_whispers_log_mel_stands_alone_on_its_own_frames(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="stands alone, on frames of 400 every 160"):
        FeatureConfig(**settings)


def test_whispers_log_mel_needs_its_sample_rate() -> None:
    with pytest.raises(ValueError, match="sample_rate_hz is 8000"):
        PipelineConfig(audio=AudioConfig(sample_rate_hz=8_000), features=WHISPER.features)


def test_pad_features_marks_what_is_real() -> None:
    clips = [np.ones((3, 15), np.float32), np.ones((5, 15), np.float32)]
    batch, n_frames = pad_features(clips)
    assert batch.shape == (2, 5, 15)
    assert n_frames.tolist() == [3, 5]
    assert batch.sum(axis=(1, 2)).tolist() == [45, 75]


def test_short_clips_are_one_window() -> None:
    features = np.zeros((100, 15), np.float32)
    (window,) = cut_windows(features, PAPERS)
    assert window.features.shape == (100, 15)
    assert (window.start_s, window.end_s) == (0.0, pytest.approx(3.2))


@given(n_frames=st.integers(189, 20_000))
def test_windows_of_a_long_clip_cover_it_and_are_alike(n_frames: int) -> None:
    config = replace(PAPERS, windows=WindowConfig(window_s=6.0, hop_s=3.0))
    frames = np.arange(n_frames, dtype=np.float32)[:, None]
    windows = [window.features for window in cut_windows(frames, config)]
    assert {len(window) for window in windows} == {188}
    assert np.array_equal(np.unique(np.concatenate(windows)), frames[:, 0])


@pytest.mark.parametrize("groups", [(), ("rms", "rms"), ("chroma",)])
def test_feature_config_rejects_unknown_or_repeated_groups(groups: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="group"):
        FeatureConfig(groups=groups)  # type: ignore[arg-type]
