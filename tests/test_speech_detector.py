"""Is it speech: what is refused, what is not, and what the network sees."""

from pathlib import Path

import numpy as np
import pytest

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig, FeatureConfig, PipelineConfig
from ser_core.errors import NoSpeechError
from ser_core.features import extract_features
from ser_core.preprocess import preprocess
from ser_core.speech_detector import FRAMES, RATE_HZ, SpeechDetector, check_speech, describe_frames
from ser_lab.robustness.changes import list_silences
from tests.conftest import ROOT

OURS = PipelineConfig(features=FRAMES)


def is_speech(source: Path | np.ndarray, config: PipelineConfig = OURS) -> bool:
    waveform = load_audio(source if isinstance(source, Path) else (RATE_HZ, source), config.audio)
    try:
        samples = preprocess(waveform, config).samples
        check_speech(samples, extract_features(samples, config), config)
    except NoSpeechError:
        return False
    return True


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.flac")), ids=lambda p: p.stem)
def test_the_examples_are_speech(path: Path) -> None:
    assert is_speech(path)


def test_tones_chords_and_hiss_are_no_speech() -> None:
    accepted = [name for name, sound in list_silences() if is_speech(sound)]
    assert len(accepted) <= 1, accepted


@pytest.mark.parametrize("gain_db", [-12.0, 12.0])
def test_the_microphones_gain_decides_nothing(gain_db: float) -> None:
    clip = load_audio(ROOT / "examples" / "synthetic-neutral.flac", OURS.audio)
    assert is_speech(np.asarray(clip * 10.0 ** (gain_db / 20.0), np.float32) / 8)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 24_414])
def test_any_pipeline_is_asked_by_the_same_frames(rate_hz: int) -> None:
    config = PipelineConfig(
        audio=AudioConfig(sample_rate_hz=rate_hz), features=FeatureConfig(groups=("rms",))
    )
    assert is_speech(ROOT / "examples" / "synthetic-neutral.flac", config)
    assert not is_speech(np.random.default_rng(0).normal(0, 0.1, 48_000).astype("f"), config)


def test_four_minutes_of_speech_are_speech_and_a_minute_of_hiss_is_none() -> None:
    clip = load_audio(ROOT / "examples" / "synthetic-neutral.flac", OURS.audio)
    assert is_speech(np.resize(clip, 240 * RATE_HZ))
    hiss = np.random.default_rng(0).normal(0, 0.1, 60 * RATE_HZ).astype(np.float32)
    assert not is_speech(hiss)
    speaks_late = np.concatenate([hiss, clip])
    assert is_speech(speaks_late)


@pytest.mark.parametrize("n_frames", [1, 2, 40, 64, 65, 1_000])
def test_a_clip_of_any_length_has_as_many_numbers(n_frames: int) -> None:
    frames = np.random.default_rng(0).normal(-40, 10, (n_frames, FRAMES.n_mels))
    numbers = describe_frames(frames)
    assert numbers.shape == describe_frames(frames[:1]).shape
    assert np.isfinite(numbers).all()


def test_a_rhythm_of_syllables_shows_in_its_band() -> None:
    t = np.arange(150) / 50
    syllables = np.repeat(np.sin(2 * np.pi * 4 * t)[:, np.newaxis], FRAMES.n_mels, axis=1)
    hum = np.repeat(np.sin(2 * np.pi * 20 * t)[:, np.newaxis], FRAMES.n_mels, axis=1)
    start = 3 * FRAMES.n_mels + FRAMES.n_mels - 1  # after mean, spread, change and steps
    rhythm = [describe_frames(f)[start : start + 40].reshape(5, 8) for f in (syllables, hum)]
    assert (rhythm[0].argmax(axis=0) == 1).all()  # 2.5 to 5 Hz
    assert (rhythm[1].argmax(axis=0) == 4).all()  # above 14 Hz


def test_a_detector_is_read_as_it_was_written(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(5, 6)).astype(np.float32)
    detector = SpeechDetector(
        rows.mean(axis=0),
        rows.std(axis=0),
        hidden=random.normal(size=(6, 3)).astype("f"),
        hidden_bias=random.normal(size=3).astype("f"),
        last=random.normal(size=3).astype("f"),
        last_bias=np.float32(0.5),
        threshold=1.25,
    )
    detector.write(tmp_path / "weights.npz")
    again = SpeechDetector.read(tmp_path / "weights.npz")
    assert again.threshold == 1.25
    np.testing.assert_array_equal(again.log_odds(rows), detector.log_odds(rows))
