"""Level, trim, noise reduction, silence."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.config import PipelineConfig, PreprocessConfig
from ser_core.errors import NoSpeechError
from ser_core.features import extract_features
from ser_core.preprocess import normalise_level, preprocess
from tests.conftest import RATE_HZ, make_babble

CONFIG = PipelineConfig()


def with_preprocess(**changes: object) -> PipelineConfig:
    return replace(CONFIG, preprocess=replace(CONFIG.preprocess, **changes))


def test_preprocess_trims_the_silence_around_speech(babble: np.ndarray) -> None:
    speech = preprocess(babble, CONFIG)
    assert speech.start_s == pytest.approx(1.0, abs=0.13)
    assert speech.end_s == pytest.approx(3.0, abs=0.13)
    assert len(speech.samples) == round((speech.end_s - speech.start_s) * RATE_HZ)


def test_preprocess_keeps_everything_without_trim(babble: np.ndarray) -> None:
    speech = preprocess(babble, with_preprocess(trim=False))
    assert (speech.start_s, speech.end_s) == (0.0, 4.0)


@pytest.mark.parametrize("headroom_db", [0.0, 5.0])
def test_numpy_level_equals_pydub_level(babble: np.ndarray, headroom_db: float) -> None:
    levelled = [
        normalise_level(
            babble, PreprocessConfig(level=level, headroom_db=headroom_db), sample_rate_hz=RATE_HZ
        )
        for level in ("peak", "pydub")
    ]
    # pydub rounds to 16 bit before and after it doubles this clip: three steps of 1/32768.
    np.testing.assert_allclose(*levelled, atol=3 / 32_768)


@pytest.mark.parametrize("headroom_db", [0.0, 5.0, 12.0])
def test_level_puts_the_peak_at_the_headroom(babble: np.ndarray, headroom_db: float) -> None:
    settings = PreprocessConfig(headroom_db=headroom_db)
    levelled = normalise_level(babble, settings, sample_rate_hz=RATE_HZ)
    assert 20 * np.log10(np.abs(levelled).max()) == pytest.approx(-headroom_db, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(gain_db=st.floats(-12, 12), seed=st.integers(0, 9))
def test_gain_changes_no_feature(gain_db: float, seed: int) -> None:
    clip = make_babble(seed=seed)
    gained = (clip * 10 ** (gain_db / 20)).astype(np.float32)
    plain, scaled = (
        extract_features(preprocess(waveform, CONFIG).samples, CONFIG)
        for waveform in (clip, gained)
    )
    np.testing.assert_allclose(scaled, plain, atol=2e-3)


def test_a_constant_offset_changes_nothing(babble: np.ndarray) -> None:
    plain, shifted = (preprocess(clip, CONFIG) for clip in (babble, babble + np.float32(0.2)))
    assert (shifted.start_s, shifted.end_s) == (plain.start_s, plain.end_s)
    np.testing.assert_allclose(shifted.samples, plain.samples, atol=1e-5)


@pytest.mark.parametrize(
    "silence",
    [
        np.zeros(RATE_HZ, np.float32),
        np.full(RATE_HZ, 0.3, np.float32),
        np.random.default_rng(0).normal(0, 1e-4, RATE_HZ).astype(np.float32),
    ],
    ids=["digital", "offset", "faint noise"],
)
def test_silence_is_no_speech(silence: np.ndarray) -> None:
    with pytest.raises(NoSpeechError, match="We heard"):
        preprocess(silence, CONFIG)


def test_a_click_is_no_speech() -> None:
    clip = np.zeros(2 * RATE_HZ, np.float32)
    clip[RATE_HZ] = 0.9
    with pytest.raises(NoSpeechError, match="We heard too little speech"):
        preprocess(clip, CONFIG)


def test_noise_reduction_lowers_steady_noise_and_keeps_the_length(babble: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, len(babble)).astype(np.float32)
    noisy, denoised = (
        preprocess(babble + noise, with_preprocess(trim=False, noise_reduction=on)).samples
        for on in (False, True)
    )
    quiet = slice(0, RATE_HZ // 2)
    assert len(denoised) == len(noisy)
    assert np.std(denoised[quiet]) < 0.5 * np.std(noisy[quiet])


def test_preprocess_config_rejects_an_unknown_level() -> None:
    with pytest.raises(ValueError, match="level is 'loud'"):
        PreprocessConfig(level="loud")  # type: ignore[arg-type]


SPEECH_LEVEL = with_preprocess(level="speech")


def sudden(kind: str) -> np.ndarray:
    """One loud sample, 50 ms of a thump, or 200 ms of a beep, 30 dB above the speech."""
    t = np.arange(round({"click": 0, "thump": 0.05, "beep": 0.2}[kind] * RATE_HZ)) / RATE_HZ
    if kind == "thump":
        return np.asarray(np.sin(2 * np.pi * 80 * t) * np.hanning(len(t)))
    return np.asarray(np.sin(2 * np.pi * 1_000 * t)) if kind == "beep" else np.ones(1)


@pytest.mark.parametrize("kind", ["click", "thump", "beep"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0], ids=["start", "middle", "end"])
def test_a_sudden_noise_changes_neither_level_nor_trim(
    kind: str, place: float, babble: np.ndarray
) -> None:
    noise, quiet = sudden(kind), 0.03 * babble / np.abs(babble).max()
    start = round(place * (len(quiet) - len(noise)))
    noisy = quiet.copy()
    noisy[start : start + len(noise)] += noise.astype(np.float32)
    plain, changed = (preprocess(clip, SPEECH_LEVEL) for clip in (quiet, noisy))
    assert changed.start_s == pytest.approx(plain.start_s, abs=0.1)
    assert changed.end_s == pytest.approx(plain.end_s, abs=0.1)
    loud = [np.median(np.abs(s.samples)[np.abs(s.samples) > 0.01]) for s in (plain, changed)]
    assert abs(20 * np.log10(loud[1] / loud[0])) < 4.0
    assert np.abs(changed.samples).max() <= 1.0


def test_the_speech_level_is_the_same_for_any_gain(babble: np.ndarray) -> None:
    plain, loud = (preprocess(gain * babble, SPEECH_LEVEL).samples for gain in (0.1, 0.8))
    np.testing.assert_allclose(plain, loud, atol=1e-5)


def test_a_word_shorter_than_a_beep_is_kept(babble: np.ndarray) -> None:
    word = np.pad(babble[2 * RATE_HZ : 2 * RATE_HZ + RATE_HZ // 5], RATE_HZ)
    speech = preprocess(word, with_preprocess(level="speech", min_speech_s=0.1))
    assert speech.start_s == pytest.approx(1.0, abs=0.13)
    assert speech.end_s == pytest.approx(1.2, abs=0.13)


def test_silence_and_a_click_are_no_speech_at_the_speech_level() -> None:
    click = np.zeros(2 * RATE_HZ, np.float32)
    for peak in (0.0, 0.9):
        click[RATE_HZ] = peak
        with pytest.raises(NoSpeechError):
            preprocess(click, SPEECH_LEVEL)
