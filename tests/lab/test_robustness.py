"""Robustness: every check is measured, and the page is of its record."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import signal

from ser_core.errors import NoSpeechError
from ser_core.labels import LABELS
from ser_core.model.manifest import Manifest
from ser_core.prediction import Prediction
from ser_core.quality import DOUBTFUL_SPEECH, QualityWarning
from ser_lab.robustness import measure_robustness, write_robustness
from ser_lab.robustness.changes import RATE_HZ, list_changes, list_silences
from ser_lab.robustness.measure import _rejections, render_page
from tests.conftest import ROOT, make_babble, needs_ffmpeg

N = len(LABELS)
MEASURE = "ser_lab.robustness.measure"


@pytest.fixture(scope="module")
def changed() -> dict[str, np.ndarray]:
    """One clip under each change."""
    clip, noise = make_babble(), make_babble(seed=5)
    return {c.name: c.apply(clip, np.random.default_rng(0)) for c in list_changes([noise])}


def snr_db(changed: np.ndarray) -> float:
    clip = make_babble().astype(np.float64)
    return float(10 * np.log10(np.mean(clip**2) / np.mean((changed - clip) ** 2)))


@needs_ffmpeg
def test_every_change_leaves_a_sound_of_about_its_length(changed: dict[str, np.ndarray]) -> None:
    clip = make_babble()
    for name, sound in changed.items():
        assert np.isfinite(sound).all(), name
        assert sound.ndim == 1
        assert abs(len(sound) - len(clip)) <= 7_000, name
        assert not np.array_equal(sound, clip), name


@needs_ffmpeg
def test_changes_do_what_their_names_say(changed: dict[str, np.ndarray]) -> None:
    clip = make_babble()
    np.testing.assert_allclose(changed["gain +12 dB"], clip * 10 ** (12 / 20), rtol=1e-5)
    assert len(changed["1000 samples cropped"]) == len(clip) - 2_000
    clipped = changed["0.3% of samples clipped"]
    assert 0.002 < np.mean(np.abs(clipped) >= np.abs(clipped).max() - 1e-7) < 0.005
    for name, level in (("white noise at 35 dB", 35), ("recorded noise at 10 dB", 10)):
        assert snr_db(changed[name]) == pytest.approx(level, abs=0.5)


@pytest.mark.parametrize(("kind", "length_s"), [("click", 0.0), ("thump", 0.05), ("beep", 0.2)])
def test_a_burst_is_25_db_louder_and_as_short_as_it_says(kind: str, length_s: float) -> None:
    clip = make_babble()
    (change,) = (c for c in list_changes([]) if c.name.startswith(kind))
    starts = set()
    for seed in range(12):
        added = change.apply(clip, np.random.default_rng(seed)) - clip
        loud = np.flatnonzero(np.abs(added) > 1e-3)
        assert np.ptp(loud) < max(length_s * RATE_HZ, 1)
        level_db = 20 * np.log10(np.abs(added).max() / np.abs(clip).max())
        assert level_db == pytest.approx(25, abs=0.1)
        starts.add(round(loud[0] / len(clip), 1))
    assert len(starts) == 3


@needs_ffmpeg
def test_the_telephone_leaves_its_band(changed: dict[str, np.ndarray]) -> None:
    hz, power = signal.welch(changed["telephone"], RATE_HZ, nperseg=1_024)
    outside = power[(hz < 150) | (hz > 4_200)].sum()
    assert outside / power.sum() < 0.02


def test_sounds_without_speech_are_of_many_kinds() -> None:
    sounds = list(list_silences())
    assert len({name for name, _ in sounds}) >= 5
    assert all(np.isfinite(sound).all() and np.abs(sound).max() <= 1.0 for _, sound in sounds)


class Loud:
    """Predicts angry for loud clips and calm for others, and rejects silence."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def predict(self, source: tuple[int, np.ndarray]) -> Prediction:
        _, samples = source
        if np.abs(samples).max() < 1e-3:
            raise NoSpeechError("Silence.")
        row = np.full(N, 0.3 / (N - 1))
        row[LABELS.index("angry" if np.abs(samples).max() > 0.45 else "calm")] = 0.7
        return Prediction.from_probabilities(row, LABELS)


@needs_ffmpeg
def test_every_check_is_measured_and_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bundled_model: Path
) -> None:
    table = pd.DataFrame(
        {
            "path": [str(tmp_path / f"{i}.wav") for i in range(40)],
            "corpus": "ravdess",
            "speaker": "ravdess/01",
            "sex": ["female", "male"] * 20,
            "emotion": ["angry", "calm"] * 20,
        }
    )
    levels = iter([1.0, 0.3] * 20)
    monkeypatch.setattr(f"{MEASURE}.held_out_clips", lambda *_: table)
    monkeypatch.setattr(f"{MEASURE}._load", lambda _: make_babble() * next(levels))
    monkeypatch.setattr(f"{MEASURE}.FEWEST", 10)
    rows = measure_robustness(Loud(Manifest.read(bundled_model)), tmp_path)
    by_name: dict[str, dict[str, Any]] = {row["check"]: row for row in rows}
    assert by_name["gain -2 dB"]["met"] is False  # as it goes by loudness
    assert by_name["gain -2 dB"]["figures"]["unchanged"] == 0.5
    assert by_name["100 samples of silence added"]["met"] is True
    assert by_name["ravdess: women and men"]["figures"] == {"female": 1.0, "male": 1.0, "gap": 0.0}
    assert by_name["calibration error, unseen speakers"]["figures"]["ECE"] == pytest.approx(0.3)
    path = write_robustness({"loud": rows}, tmp_path)
    page = path.read_text(encoding="utf-8")
    assert "| gain -2 dB | ≥ 95% unchanged | **missed**: unchanged 50.0%" in page
    stored = json.loads((tmp_path / "robustness.json").read_text(encoding="utf-8"))
    assert stored["models"]["loud"] == rows


def test_noise_with_a_warning_counts_as_recognised() -> None:
    even = Prediction.from_probabilities(np.full(N, 1 / N), LABELS)
    doubtful = replace(even, warnings=(QualityWarning(DOUBTFUL_SPEECH, "May be noise."),))
    check = _rejections("noise", [None, doubtful, even, None], least=0.75)
    assert check["met"]
    assert check["figures"] == {"refused": 0.5, "warned about": 0.25, "clips": 4}
    assert not _rejections("speech", [None, doubtful, even, even], most=0.2)["met"]


def test_the_committed_page_is_of_the_committed_record() -> None:
    docs = ROOT / "docs"
    record = json.loads((docs / "robustness.json").read_text(encoding="utf-8"))
    assert render_page(record) == (docs / "robustness.md").read_text(encoding="utf-8")
