"""Changed copies: they repeat, they differ, and each change does what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_lab.data.augment import Augmentation, Changes, augment, load_noises, rebuild

RATE_HZ = 16_000
NOTHING = Augmentation(
    rebuilt_share=0, speed=(1, 1), eq_share=0, room_share=0, noise_share=0, hiss_share=0,
    low_pass_share=0,
)  # fmt: skip


def tone(frequency_hz: float = 1_000.0) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)


def change(samples: np.ndarray, noises: tuple[np.ndarray, ...] = (), **settings) -> np.ndarray:
    return augment(
        samples,
        replace(NOTHING, **settings),
        np.random.default_rng(0),
        sample_rate_hz=RATE_HZ,
        noises=noises,
    )


def loudest_hz(samples: np.ndarray) -> float:
    return np.abs(np.fft.rfft(samples)).argmax() * RATE_HZ / len(samples)


def test_nothing_drawn_changes_nothing() -> None:
    np.testing.assert_allclose(change(tone()), tone(), atol=1e-5)


def test_speed_moves_pitch_and_length_together() -> None:
    faster = change(tone(), speed=(1.25, 1.25))
    assert len(faster) == RATE_HZ / 1.25
    assert loudest_hz(faster) == pytest.approx(1_250, abs=5)


@pytest.mark.parametrize("noises", [(), (np.ones(100, np.float32),)])
def test_noise_and_hiss_lie_as_far_below_the_speech_as_asked(noises: tuple[np.ndarray]) -> None:
    shares = {"noise_share": 1.0} if noises else {"hiss_share": 1.0}
    noisy = change(tone(), noises, **shares, noise_snr_db=(20, 20), hiss_snr_db=(20, 20))
    assert np.mean((noisy - tone()) ** 2) == pytest.approx(np.mean(tone() ** 2) / 100, rel=0.1)


def test_a_pause_in_a_recording_of_noise_adds_nothing() -> None:
    pause = np.zeros(100, np.float32)
    np.testing.assert_allclose(change(tone(), (pause,), noise_share=1.0), tone(), atol=1e-5)


def test_a_room_rings_on_after_the_sound() -> None:
    in_a_room = change(tone(), room_share=1.0)
    assert len(in_a_room) > RATE_HZ
    assert np.abs(in_a_room[RATE_HZ:]).max() > 0.01


def test_a_low_pass_takes_what_lies_above() -> None:
    assert np.abs(change(tone(7_000), low_pass_share=1.0, low_pass_hz=(4_000, 4_000))).max() < 0.1


def test_a_microphone_weakens_some_bands_and_lifts_others() -> None:
    hiss = np.random.default_rng(1).normal(size=RATE_HZ).astype(np.float32)
    ratio = np.abs(np.fft.rfft(change(hiss, eq_share=1.0, eq_step_db=6.0)) / np.fft.rfft(hiss))
    assert ratio.max() > 2 * ratio.min()


def test_a_rebuilt_clip_keeps_its_spectrum_and_loses_its_phase() -> None:
    rebuilt = rebuild(tone(), np.random.default_rng(0), sample_rate_hz=RATE_HZ)
    assert len(rebuilt) == RATE_HZ
    assert loudest_hz(rebuilt) == pytest.approx(1_000, abs=40)
    assert np.abs(rebuilt - tone()).max() > 0.1


def test_copies_repeat_by_name_and_differ_by_name_and_number(tmp_path: Path) -> None:
    changes = Changes(Augmentation(), tmp_path)
    other_copy = Changes(Augmentation(copy=1), tmp_path)

    def changed(by: Changes, name: str) -> np.ndarray:
        return by.apply(tone(), name, sample_rate_hz=RATE_HZ)

    first = changed(changes, "a")
    np.testing.assert_array_equal(first, changed(changes, "a"))
    assert not np.array_equal(first[:1_000], changed(changes, "b")[:1_000])
    assert not np.array_equal(first[:1_000], changed(other_copy, "a")[:1_000])


def test_noises_are_read_at_the_rate_asked_and_silent_ones_left_out(tmp_path: Path) -> None:
    assert load_noises(tmp_path, RATE_HZ) == ()
    folder = tmp_path / "corpora" / "noise"
    folder.mkdir(parents=True)
    soundfile.write(folder / "hum.wav", tone(100), RATE_HZ)
    soundfile.write(folder / "silence.wav", np.zeros(RATE_HZ), RATE_HZ)
    (noise,) = load_noises(folder.parent, 8_000)
    assert len(noise) == 8_000
