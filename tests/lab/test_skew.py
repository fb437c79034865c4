"""Training and serving are one path: the same clips give the same probabilities."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from scipy.special import softmax

from ser_core.errors import NoSpeechError
from ser_core.labels import LABELS
from ser_core.model.saved_model import NETWORK
from ser_core.predictor import Predictor
from ser_lab.data.feature_store import load_features
from ser_lab.evaluate.shipped import held_out_clips
from ser_lab.metrics import compute_scores
from ser_lab.train.loop import predict_logits

pytestmark = pytest.mark.needs_data

N_CLIPS, N_SPARE = 60, 3


@pytest.fixture(scope="module")
def clips(predictor: Predictor, data: Path) -> pd.DataFrame:
    """60 clips of the test actors that pass for speech, drawn once for all."""
    drawn = held_out_clips(predictor.manifest, data).sample(N_CLIPS + N_SPARE, random_state=0)
    return drawn[[is_heard(predictor, path) for path in drawn["path"]]].iloc[:N_CLIPS]


def is_heard(predictor: Predictor, path: str) -> bool:
    try:
        predictor.predict(path)
    except NoSpeechError:
        return False
    return True


@pytest.fixture(scope="module")
def served(predictor: Predictor, clips: pd.DataFrame) -> np.ndarray:
    """What visitors would get, (60, 8)."""
    return np.array([predictor.predict(path).probabilities for path in clips["path"]])


def test_the_served_path_equals_the_training_pipeline(
    predictor: Predictor,
    clips: pd.DataFrame,
    served: np.ndarray,
    bundled_model: Path,
    tmp_path: Path,
) -> None:
    features = load_features(list(clips["path"]), predictor.config, cache=tmp_path)
    network = keras.models.load_model(bundled_model / NETWORK)
    logits = predict_logits(network, features)
    expected = softmax(logits / predictor.manifest.temperature, axis=1)
    np.testing.assert_allclose(served, expected, atol=1e-4)
    truth = np.array([LABELS.index(emotion) for emotion in clips["emotion"]])
    assert compute_scores(truth, served, LABELS).war == compute_scores(truth, expected, LABELS).war


def write_wav(path: Path, waveform: np.ndarray, rate_hz: int) -> None:
    soundfile.write(path, waveform, rate_hz, subtype="PCM_16")


def write_flac(path: Path, waveform: np.ndarray, rate_hz: int) -> None:
    soundfile.write(path, waveform, rate_hz, format="FLAC")


def write_stereo(path: Path, waveform: np.ndarray, rate_hz: int) -> None:
    soundfile.write(path, np.stack([waveform, waveform], axis=1), rate_hz, subtype="PCM_16")


def write_48k(path: Path, waveform: np.ndarray, rate_hz: int) -> None:
    soundfile.write(path, soxr.resample(waveform, rate_hz, 48_000), 48_000, subtype="PCM_16")


@pytest.mark.parametrize("write", [write_wav, write_flac, write_stereo, write_48k])
def test_the_container_seldom_changes_the_answer(
    predictor: Predictor, clips: pd.DataFrame, served: np.ndarray, tmp_path: Path, write
) -> None:
    same = 0
    for path, expected in zip(clips["path"], served, strict=True):
        waveform, rate_hz = soundfile.read(path, dtype="float32")
        copy = tmp_path / "copy"
        write(copy.with_suffix(".wav"), waveform, rate_hz)
        answer = predictor.predict(copy.with_suffix(".wav"))
        same += answer.emotion == LABELS[expected.argmax()]
    assert same >= 0.95 * N_CLIPS
