"""Is it speech: what is refused, what gets a warning, and that the network is Silero VAD."""

from pathlib import Path

import numpy as np
import pytest

from ser_core import speech_detector
from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig, PipelineConfig, PreprocessConfig
from ser_core.errors import NoSpeechError
from ser_core.preprocess import preprocess
from ser_core.quality import DOUBTFUL_SPEECH
from ser_core.speech_detector import (
    BLOCK,
    CHUNK,
    CLEAR_FROM,
    RATE_HZ,
    SPEECH_FROM,
    check_speech,
    speech_probabilities,
    speech_probability,
)
from ser_lab.robustness.changes import list_silences
from tests.conftest import ROOT

SENTENCE = ROOT / "examples" / "synthetic-neutral.flac"
ONNX_RUNTIME = (
    0.01358, 0.03256, 0.03639, 0.12426, 0.12815, 0.41059, 0.17603, 0.32778,
    0.48578, 0.66619, 0.33412, 0.58128, 0.59567, 0.62442, 0.28818, 0.46208,
    0.48719, 0.63670, 0.43798, 0.47260, 0.50189, 0.46726, 0.38757, 0.39313,
)  # fmt: skip
"""Probabilities of `buzz` by silero_vad_16k_op15.onnx, of silero-vad 6.2.3."""


def buzz() -> np.ndarray:
    """Return a hum that swells four times a second, in hiss."""
    t = np.arange(len(ONNX_RUNTIME) * CHUNK - 100) / RATE_HZ
    swell, hiss = np.sin(2 * np.pi * 4 * t), np.random.default_rng(0).normal(size=len(t))
    partials = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(2, 20))
    fundamental = np.sin(2 * np.pi * 150 * t)
    return np.asarray(0.1 * hiss + swell * (0.3 * fundamental + 0.1 * partials), np.float32)


def is_speech(source: Path | np.ndarray, config: PipelineConfig | None = None) -> bool:
    config = config or PipelineConfig()
    waveform = load_audio(source if isinstance(source, Path) else (RATE_HZ, source), config.audio)
    try:
        return not check_speech(preprocess(waveform, config).samples, config)
    except NoSpeechError:
        return False


def test_the_probabilities_are_those_of_onnx_runtime() -> None:
    assert len(ONNX_RUNTIME) > BLOCK  # the state goes on from block to block
    probabilities = np.concatenate(list(speech_probabilities(buzz())))
    np.testing.assert_allclose(probabilities, ONNX_RUNTIME, atol=2e-5)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.flac")), ids=lambda p: p.stem)
def test_the_examples_are_speech(path: Path) -> None:
    assert is_speech(path)


def test_tones_chords_and_hiss_are_no_speech() -> None:
    accepted = [name for name, sound in list_silences() if is_speech(sound)]
    assert not accepted


@pytest.mark.parametrize("gain_db", [-30.0, 12.0])
def test_the_microphones_gain_decides_nothing(gain_db: float) -> None:
    clip = load_audio(SENTENCE, AudioConfig())
    assert is_speech(np.asarray(clip * 10.0 ** (gain_db / 20.0), np.float32) / 8)


@pytest.mark.parametrize("rate_hz", [8_000, RATE_HZ, 24_414])
@pytest.mark.parametrize("level", ["peak", "speech"])
def test_any_rate_and_level_will_do(rate_hz: int, level: str) -> None:
    config = PipelineConfig(AudioConfig(sample_rate_hz=rate_hz), PreprocessConfig(level=level))
    assert is_speech(SENTENCE, config)
    assert not is_speech(np.random.default_rng(0).normal(0, 0.1, 48_000).astype("f"), config)


def test_a_third_of_a_second_of_speech_is_enough() -> None:
    clip = load_audio(SENTENCE, AudioConfig())
    assert speech_probability(clip[RATE_HZ // 2 : RATE_HZ // 2 + RATE_HZ // 3]) >= CLEAR_FROM


def test_a_sentence_after_a_minute_of_hiss_is_found_and_ends_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hiss = np.random.default_rng(0).normal(0, 0.1, 60 * RATE_HZ).astype(np.float32)
    clip = load_audio(SENTENCE, AudioConfig())
    assert speech_probability(hiss) < SPEECH_FROM
    assert speech_probability(np.concatenate([hiss, clip])) >= CLEAR_FROM
    encoded, encode = [], speech_detector._encode

    def count(chunks: np.ndarray) -> np.ndarray:
        encoded.append(len(chunks))
        return encode(chunks)

    monkeypatch.setattr(speech_detector, "_encode", count)
    assert speech_probability(np.resize(clip, 600 * RATE_HZ)) >= CLEAR_FROM
    assert len(encoded) <= 2  # half a second each


@pytest.mark.parametrize(
    ("probability", "codes"),
    [(SPEECH_FROM, [DOUBTFUL_SPEECH]), (CLEAR_FROM - 0.01, [DOUBTFUL_SPEECH]), (CLEAR_FROM, [])],
)
def test_a_clip_between_the_thresholds_gets_a_warning(
    probability: float, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speech_detector, "speech_probability", lambda _: probability)
    assert [w.code for w in check_speech(buzz(), PipelineConfig())] == codes


def test_a_clip_below_both_thresholds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_detector, "speech_probability", lambda _: SPEECH_FROM - 0.01)
    with pytest.raises(NoSpeechError, match="noise or music"):
        check_speech(buzz(), PipelineConfig())
