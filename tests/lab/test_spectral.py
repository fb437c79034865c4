"""Changes of log-mel frames that are made while a model is trained."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.config import WHISPER_FEATURES, PipelineConfig
from ser_core.features import WHISPER_RANGE, Features, extract_features
from ser_core.whisper.spec import N_MELS, SAMPLE_RATE_HZ
from ser_lab.data.spectral import (
    BANDS_HZ,
    TELEPHONE_HZ,
    SpectralChanges,
    change_frames,
    load_noise_powers,
)
from tests.conftest import make_babble

NONE = SpectralChanges(
    **{field.name: 0.0 for field in fields(SpectralChanges) if field.name.endswith("_share")}
)
CONFIG = PipelineConfig(features=WHISPER_FEATURES)


@pytest.fixture(scope="module")
def frames() -> Features:
    return extract_features(make_babble(seed=1, duration_s=2.0), CONFIG)


def changed(
    frames: Features, changes: SpectralChanges, *, seed: int = 0, **noises: list[Features]
) -> Features:
    return change_frames(frames, changes, np.random.default_rng(seed), **noises)


def test_without_changes_frames_stay_as_they_are(frames: Features) -> None:
    np.testing.assert_allclose(changed(frames, NONE), frames, atol=1e-5)


def test_the_same_seed_changes_alike_and_another_does_not(frames: Features) -> None:
    one, same, other = (changed(frames, SpectralChanges(), seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or not np.allclose(one, other)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_changed_stays_on_the_scale_of_whisper(frames: Features, seed: int) -> None:
    found = changed(frames, SpectralChanges(), seed=seed, noises=[np.ones((60, N_MELS), "f4")])
    assert found.dtype == np.float32
    assert found.shape[1] == N_MELS
    assert np.isfinite(found).all()
    assert found.max() - found.min() <= WHISPER_RANGE / 4 + 1e-5


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_a_faster_clip_is_shorter(frames: Features, speed: float) -> None:
    found = changed(frames, replace(NONE, speed_share=1.0, speed=(speed, speed)))
    assert len(found) == pytest.approx(len(frames) / speed, abs=1)


def test_a_longer_vocal_tract_moves_a_tone_down(frames: Features) -> None:
    tone = np.full_like(frames, 0.0)
    tone[:, 40] = 1.0
    found = changed(tone, replace(NONE, warp_share=1.0, warp=(1.25, 1.25)))
    assert found.mean(axis=0).argmax() == 32


def test_an_equaliser_changes_bands_alike_in_all_frames(frames: Features) -> None:
    found = changed(frames, replace(NONE, equaliser_share=1.0))
    inner = found > found.min() + 0.01  # not cut off at the bottom of the scale
    spread = np.ma.masked_array(found - frames, ~inner).std(axis=0)
    assert spread.max() < 1e-4
    assert np.abs(found - frames).max() > 0.05


def test_a_telephone_silences_the_other_bands(frames: Features) -> None:
    found = changed(frames, replace(NONE, telephone_share=1.0))
    low, high = TELEPHONE_HZ
    outside = (low > BANDS_HZ) | (high < BANDS_HZ)
    assert (found[:, outside] == found.min()).all()
    assert (found[:, ~outside] > found.min()).any()


def test_noise_has_the_level_that_is_asked_for(frames: Features) -> None:
    noise = np.random.default_rng(0).uniform(0.1, 1.0, (80, N_MELS)).astype("f4")
    loud, quiet = (
        changed(frames, replace(NONE, noise_share=1.0, noise_snr_db=(snr, snr)), noises=[noise])
        for snr in (0.0, 30.0)
    )
    power, before = ((10.0 ** (4 * x - 4)).mean() for x in (loud, frames))
    assert power == pytest.approx(2 * before, rel=0.3)
    assert np.abs(quiet - frames).mean() < np.abs(loud - frames).mean() / 2


@pytest.mark.parametrize(("share", "axis"), [("band_mask_share", 0), ("time_mask_share", 1)])
def test_a_mask_covers_a_run_and_no_more(frames: Features, share: str, axis: int) -> None:
    found = changed(frames, replace(NONE, **{share: 1.0}), seed=2)
    masked = np.isclose(found, frames.mean(), atol=1e-4).all(axis=axis)
    (run,) = np.nonzero(masked)
    assert len(run) == run[-1] - run[0] + 1 > 0
    assert len(run) <= (8 if axis == 0 else len(frames) / 6)
    rest = np.compress(~masked, frames, axis=1 - axis)
    np.testing.assert_allclose(np.compress(~masked, found, axis=1 - axis), rest, atol=1e-5)


def test_noise_is_read_beside_the_corpora(tmp_path: Path) -> None:
    assert load_noise_powers(tmp_path / "elsewhere") == []
    (tmp_path / "noise").mkdir()
    rain = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE_HZ).astype("f4")
    soundfile.write(tmp_path / "noise" / "rain.wav", rain, SAMPLE_RATE_HZ)
    (power,) = load_noise_powers(tmp_path)
    assert power.shape == (500, N_MELS)
