"""Made-up sounds that are no speech: hiss, tones, chords, melodies, crackle, clicks and sweeps."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ser_core.preprocess import Waveform

RATE_HZ = 16_000
SHORTEST_S, LONGEST_S = 1.0, 4.0

Random = np.random.Generator
Samples = npt.NDArray[np.float64]


def make_sound(random: Random) -> Waveform:
    """Draw one sound, some with hiss under it.

    Returns:
        (n_samples,) float32 at `RATE_HZ`, its peak at 0.3.
    """
    t = np.arange(int(RATE_HZ * random.uniform(SHORTEST_S, LONGEST_S))) / RATE_HZ
    sound = _KINDS[int(random.integers(len(_KINDS)))](t, random)
    if random.random() < 0.5:
        sound = sound + 10.0 ** random.uniform(-6.0, -1.5) * random.normal(size=len(t))
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


def _pitch(random: Random, low_hz: float, high_hz: float) -> float:
    return float(np.exp(random.uniform(np.log(low_hz), np.log(high_hz))))


def _hiss(t: Samples, random: Random) -> Samples:
    swell = np.interp(t, np.linspace(0.0, t[-1], 8), random.uniform(0.2, 1.0, 8))
    return random.normal(size=len(t)) * swell


def _tone(t: Samples, random: Random) -> Samples:
    wobble = random.uniform(0.0, 2.0) * (random.random() < 0.5)
    phase = wobble * np.sin(2 * np.pi * random.uniform(0.0, 7.0) * t)
    return np.asarray(np.sin(2 * np.pi * _pitch(random, 40, 6_500) * t + phase))


def _chord(t: Samples, random: Random) -> Samples:
    root_hz, beat_s, fall = _pitch(random, 70, 600), random.uniform(0.2, 1.2), random.uniform(0, 8)
    steps = random.choice([0, 3, 4, 5, 7, 9, 10, 12, 16], random.integers(2, 5), replace=False)
    roll_off, n_partials = random.uniform(0.5, 2.0), int(random.integers(1, 7))
    sound = np.zeros_like(t)
    for step in steps:
        for k in range(1, n_partials + 1):
            hz = root_hz * 2.0 ** (step / 12) * k
            sound += np.sin(2 * np.pi * hz * t + random.uniform(0, 6)) / k**roll_off
    return sound * np.exp(-fall * (t % beat_s))


def _melody(t: Samples, random: Random) -> Samples:
    note_s, fall, roll_off = (random.uniform(*ends) for ends in ((0.12, 0.6), (0, 6), (0.5, 2)))
    notes_hz = _pitch(random, 90, 500) * 2.0 ** (random.integers(0, 13, size=50) / 12)
    phase = 2 * np.pi * np.cumsum(notes_hz[(t / note_s).astype(int)]) / RATE_HZ
    partials = range(1, int(random.integers(2, 8)))
    sound = sum((np.sin(k * phase) / k**roll_off for k in partials), np.zeros_like(t))
    return np.asarray(sound * np.exp(-fall * (t % note_s)))


def _crackle(t: Samples, random: Random) -> Samples:
    struck = random.random(len(t)) < random.uniform(1e-4, 2e-3)
    struck[int(random.integers(len(t)))] = True
    return np.asarray(struck + 10.0 ** random.uniform(-5.0, -2.0) * random.normal(size=len(t)))


def _clicks(t: Samples, random: Random) -> Samples:
    period, width = int(random.uniform(800, 9_000)), int(random.integers(1, 40))
    return np.where(np.arange(len(t)) % period < width, 0.8, 0.0)


def _sweep(t: Samples, random: Random) -> Samples:
    ends_hz = [_pitch(random, 60, 4_000), _pitch(random, 60, 6_500)]
    return np.asarray(np.sin(2 * np.pi * np.cumsum(np.interp(t, [0.0, t[-1]], ends_hz)) / RATE_HZ))


_KINDS: tuple[Callable[[Samples, Random], Samples], ...] = (
    _hiss, _tone, _chord, _melody, _crackle, _clicks, _sweep
)  # fmt: skip
