"""One made-up clip through every stage, against what each stage once gave.

A change here is a change of every visitor's answer: update the goldens with
`pytest tests/test_goldens.py --update-goldens` only where that is meant.
"""

from pathlib import Path

import numpy as np
import pytest

from ser_core.audio.load import load_audio
from ser_core.config import PipelineConfig
from ser_core.features import extract_features
from ser_core.predictor import Predictor
from ser_core.preprocess import Speech, preprocess
from tests.conftest import Golden, make_babble

CONFIG = PipelineConfig()
EVERY = 331  # samples kept of a waveform: prime, so that no period hides between them


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    """The made-up clip as a stereo recording of 48 kHz, loaded."""
    slow = make_babble(seed=3)
    recording = np.stack([np.repeat(slow, 3), np.zeros(3 * len(slow))], axis=1)
    return load_audio((48_000, recording.astype(np.float32)), CONFIG.audio)


@pytest.fixture(scope="module")
def speech(waveform: np.ndarray) -> Speech:
    return preprocess(waveform, CONFIG)


def test_golden_waveform(waveform: np.ndarray, golden: Golden) -> None:
    golden.check("waveform", waveform[::EVERY], atol=1e-5)


def test_golden_speech(speech: Speech, golden: Golden) -> None:
    golden.check("speech", speech.samples[::EVERY], atol=1e-5)
    golden.check("speech_span", np.array([speech.start_s, speech.end_s]), atol=1e-6)


def test_golden_features(speech: Speech, golden: Golden) -> None:
    golden.check("features", extract_features(speech.samples, CONFIG)[::8], atol=1e-2)


def test_golden_probabilities_of_the_model(
    speech: Speech, predictor: Predictor, golden: Golden
) -> None:
    model = predictor.model
    features = extract_features(speech.samples, model.manifest.pipeline)
    golden.check("probabilities", model(features[np.newaxis]), atol=1e-3)


def test_golden_prediction_of_a_committed_clip(
    predictor: Predictor, examples: Path, golden: Golden
) -> None:
    clips = sorted(examples.glob("synthetic-*.flac"))
    answers = np.array([predictor.predict(clip).probabilities for clip in clips])
    golden.check("examples", answers, atol=2e-3)
