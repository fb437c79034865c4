"""Training of the speech detector: samples, and a run on a few clips."""

from pathlib import Path

import numpy as np
import pytest

from ser_core.speech_detector import SpeechDetector
from ser_lab.data.splits import SpeakerSplit
from ser_lab.train import speech_detector as speech
from ser_lab.train.speech_detector import RATE_HZ, make_sound, mix
from tests.conftest import data_folder


@pytest.mark.parametrize("seed", range(20))
def test_made_up_sounds_are_loud_and_finite(seed: int) -> None:
    sound = make_sound(np.random.default_rng(seed))
    assert sound.dtype == np.float32
    assert RATE_HZ <= len(sound) <= 4 * RATE_HZ
    assert np.abs(sound).max() == pytest.approx(0.3)


def test_a_mix_has_the_level_that_was_asked_for() -> None:
    random = np.random.default_rng(0)
    clip, noise = (random.normal(-30, 5, (n, 64)).astype(np.float32) for n in (80, 30))
    mixed = mix(clip, noise, 6.0)
    added = 10 ** (mixed.astype(float) / 10) - 10 ** (clip.astype(float) / 10)
    power = np.mean(10 ** (clip.astype(float) / 10))
    assert 10 * np.log10(power / added.mean()) == pytest.approx(6.0, abs=0.1)


@pytest.mark.needs_data
def test_a_run_from_recordings_to_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_folder()
    for name, step in (("ravdess", 40), (speech.READING, 12), (speech.NOISE, 12)):
        (tmp_path / name).mkdir()
        for path in sorted((data / name).rglob("*.opus"))[::step]:
            (tmp_path / name / path.name).symlink_to(path)
    split = SpeakerSplit(development=("ravdess/01",), test=("ravdess/09",))
    monkeypatch.setattr(speech, "shipped_split", lambda _corpora: split)
    monkeypatch.setattr(speech, "CORPORA", ("ravdess",))
    for name, value in (("N_SAMPLED", 300), ("N_SOUNDS", 30), ("N_PARTS", 2), ("N_UNITS", 8)):
        monkeypatch.setattr(speech, name, value)
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path / "cache"))
    refused = speech.train_detector(tmp_path, tmp_path / "speech_detector.npz")
    assert set(refused) == {"development", "test", "noise", "librispeech"}
    assert refused["noise"] > refused["test"] + 0.3
    assert np.isfinite(SpeechDetector.read(tmp_path / "speech_detector.npz").threshold)
