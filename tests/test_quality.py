"""Warnings about recordings."""

import numpy as np
import pytest

from ser_core.config import WHISPER_FEATURES, PipelineConfig
from ser_core.preprocess import preprocess
from ser_core.quality import assess_quality
from tests.conftest import RATE_HZ

CONFIG = PipelineConfig()


def codes(waveform: np.ndarray) -> list[str]:
    waveform = waveform.astype(np.float32)
    warnings = assess_quality(waveform, preprocess(waveform, CONFIG), CONFIG)
    assert all(warning.message.endswith(".") for warning in warnings)
    return [warning.code for warning in warnings]


@pytest.mark.parametrize("level", [0.02, 0.05, 0.07, 0.1])
def test_a_recording_has_the_same_warnings_whatever_the_frames_of_the_model(
    level: float, babble: np.ndarray
) -> None:
    waveform = (babble + noise(len(babble), level)).astype(np.float32)
    speech = preprocess(waveform, CONFIG)
    other = PipelineConfig(features=WHISPER_FEATURES)
    assert assess_quality(waveform, speech, other) == assess_quality(waveform, speech, CONFIG)


def noise(n_samples: int, level: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, level, n_samples)


def test_a_good_recording_has_no_warning(babble: np.ndarray) -> None:
    assert codes(babble) == []


def test_a_faint_recording_is_too_quiet(babble: np.ndarray) -> None:
    assert codes(babble * 0.01) == ["too_quiet"]


def test_a_recording_beyond_the_range_is_clipped(babble: np.ndarray) -> None:
    assert codes(np.clip(babble * 4, -1, 1)) == ["clipped"]


def test_a_loud_background_is_noisy(babble: np.ndarray) -> None:
    assert "noisy" in codes(babble + noise(len(babble), 0.1))


def test_half_a_second_of_speech_is_short(babble: np.ndarray) -> None:
    clip = np.zeros(2 * RATE_HZ)
    clip[RATE_HZ : RATE_HZ + RATE_HZ // 2] = babble[RATE_HZ : RATE_HZ + RATE_HZ // 2]
    assert codes(clip) == ["short"]


@pytest.mark.parametrize("gain", [0.5, 0.9])
def test_a_pure_tone_is_not_clipped(gain: float) -> None:
    tone = gain * np.sin(2 * np.pi * 220 * np.arange(2 * RATE_HZ) / RATE_HZ)
    assert "clipped" not in codes(tone)
