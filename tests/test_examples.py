"""The example clips are what the app needs, and the script beside them still makes them."""

import os
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from ser_core.labels import LABELS
from tests.conftest import needs_program

EXAMPLES = Path(__file__).parents[1] / "examples"
CLIPS = sorted(EXAMPLES.glob("*.flac"))
MAX_TOTAL_BYTES = 1_200_000


def read(name: str) -> npt.NDArray[np.float64]:
    waveform: npt.NDArray[np.float64] = soundfile.read(EXAMPLES / f"synthetic-{name}.flac")[0]
    return waveform


def rms_db(waveform: npt.NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(waveform**2)))


def centroid_hz(waveform: npt.NDArray[np.float64]) -> float:
    spectrum = np.abs(np.fft.rfft(waveform))
    return float(np.average(np.fft.rfftfreq(len(waveform), 1 / 16_000), weights=spectrum))


def median_f0_hz(waveform: npt.NDArray[np.float64]) -> float:
    return float(np.nanmedian(librosa.pyin(waveform, fmin=60, fmax=600, sr=16_000)[0]))


def run_script(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLES / "make_examples.py", "--out", folder],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("emotion", LABELS)
def test_every_emotion_has_a_clip(emotion: str) -> None:
    assert (EXAMPLES / f"synthetic-{emotion}.flac").is_file()


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_clip_is_short_clean_mono_at_16_khz(path: Path) -> None:
    waveform, rate_hz = soundfile.read(path)
    peak_dbfs = 20 * np.log10(np.abs(waveform).max())
    assert (rate_hz, waveform.ndim) == (16_000, 1)
    assert 1.5 <= len(waveform) / rate_hz <= 15
    assert np.isfinite(waveform).all()
    assert -12 < peak_dbfs < -0.5  # above -0.5 dBFS, players that resample would clip


def test_all_clips_together_stay_small() -> None:
    assert 0 < sum(path.stat().st_size for path in CLIPS) < MAX_TOTAL_BYTES


def test_styles_differ_in_rate_level_brightness_and_pitch() -> None:
    sad, neutral, angry, surprised = map(read, ("sad", "neutral", "angry", "surprised"))
    assert len(angry) < 0.8 * len(sad)
    assert rms_db(sad) + 2 < rms_db(neutral) < rms_db(angry) - 2
    assert 1.2 * centroid_hz(sad) < centroid_hz(neutral) < centroid_hz(angry) / 1.2
    assert 1.2 * median_f0_hz(sad) < median_f0_hz(neutral) < median_f0_hz(surprised) / 1.2


def test_long_clip_turns_from_calm_to_angry() -> None:
    calm, angry = np.array_split(read("calm-to-angry"), 2)
    assert rms_db(angry) > rms_db(calm) + 4
    assert median_f0_hz(angry) > 1.2 * median_f0_hz(calm)


@needs_program("espeak-ng")
def test_script_makes_the_committed_clips_again(tmp_path: Path) -> None:
    finished = run_script(tmp_path)
    assert finished.returncode == 0, finished.stderr
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == [path.name for path in CLIPS]
    durations_s = [soundfile.info(path).duration for path in made]
    assert durations_s == pytest.approx([soundfile.info(p).duration for p in CLIPS], rel=0.1)


def test_script_without_espeak_ng_says_so_in_one_line(tmp_path: Path) -> None:
    finished = run_script(tmp_path / "clips", PATH="")
    assert finished.returncode == 2
    assert finished.stderr.splitlines() == [
        "espeak-ng is not on the PATH; install it: apt install espeak-ng"
    ]
    assert not (tmp_path / "clips").exists()
