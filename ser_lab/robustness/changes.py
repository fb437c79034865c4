"""Changes of a clip under which answers should stay the same, and sounds without speech."""

import io
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import soundfile
from scipy import signal

from ser_core.errors import SerError
from ser_core.preprocess import Waveform
from ser_lab.data.augment import add_noise, telephone

RATE_HZ = 16_000

Random = np.random.Generator
Apply = Callable[[Waveform, Random], npt.NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a clip and the targets for the answers under it.

    Attributes:
        name: Its name in the report.
        apply: Turns (n_samples,) and a random generator into the changed clip.
        unchanged: Least share of answers that stay the same; None for no target.
        loss: Most points of UAR that may be lost, as a share; None for no target.
    """

    name: str
    apply: Apply
    unchanged: float | None = None
    loss: float | None = None


def list_changes(noises: Sequence[Waveform]) -> list[Change]:
    """Return every change of the protocol; `noises` are at `RATE_HZ` and may be none."""
    small = partial(Change, unchanged=0.95)
    changes = [small(f"gain {db:+d} dB", partial(_gain, db=db)) for db in (-12, -2, 2, 12)]
    changes += [small(f"{n} samples cropped", partial(_crop, n=n)) for n in (100, 1_000)]
    changes += [small(f"{n} samples of silence added", partial(_pad, n=n)) for n in (100, 1_000)]
    changes.append(small("0.3% of samples clipped", _clip))
    changes += [
        small(f"high-pass {hz} Hz", partial(_filter, hz=hz, kind="highpass")) for hz in (50, 150)
    ]
    changes += [
        small(f"low-pass {hz} Hz", partial(_filter, hz=hz, kind="lowpass")) for hz in (7_500, 6_500)
    ]
    changes += [small(f"white noise at {db} dB", partial(_hiss, snr_db=db)) for db in (45, 35)]
    changes += [
        small(f"{kind} 25 dB louder, at start, middle or end", partial(_burst, kind=kind))
        for kind in ("click", "thump", "beep")
    ]
    if noises:
        changes += [
            Change("recorded noise at 20 dB", partial(_noise, noises=noises, snr_db=20), 0.9, 0.02),
            Change(
                "recorded noise at 10 dB", partial(_noise, noises=noises, snr_db=10), 0.75, 0.06
            ),
        ]
    return [
        *changes,
        Change("telephone", _telephone, loss=0.05),
        Change("Opus at 16 kbit/s", _opus, loss=0.05),
        Change("small room", _room, loss=0.05),
    ]


def _gain(clip: Waveform, _random: Random, *, db: float) -> Waveform:
    return np.asarray(clip * 10.0 ** (db / 20.0), np.float32)


def _crop(clip: Waveform, _random: Random, *, n: int) -> Waveform:
    return clip[n:-n]


def _pad(clip: Waveform, _random: Random, *, n: int) -> Waveform:
    return np.pad(clip, n)


def _clip(clip: Waveform, _random: Random) -> Waveform:
    limit = np.quantile(np.abs(clip), 0.997)
    return np.clip(clip, -limit, limit)


def _filter(clip: Waveform, _random: Random, *, hz: float, kind: str) -> Waveform:
    return np.asarray(signal.sosfilt(signal.butter(2, hz, kind, fs=RATE_HZ, output="sos"), clip))


def _hiss(clip: Waveform, random: Random, *, snr_db: float) -> Waveform:
    return _mix(clip, random.normal(size=len(clip)), snr_db)


def _burst(clip: Waveform, random: Random, *, kind: str) -> Waveform:
    """Add a sample, 50 ms of a thump at 80 Hz or 200 ms of a beep at 1 kHz."""
    length_s, hz = {"click": (0.0, 0), "thump": (0.05, 80), "beep": (0.2, 1_000)}[kind]
    t = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    burst = np.sin(2 * np.pi * hz * t) if len(t) else np.ones(1)
    start = (len(clip) - len(burst)) * int(random.integers(3)) // 2
    changed = clip.copy()
    changed[start : start + len(burst)] += 10.0 ** (25 / 20) * np.abs(clip).max() * burst
    return changed


def _noise(
    clip: Waveform, random: Random, *, noises: Sequence[Waveform], snr_db: float
) -> Waveform:
    noise = noises[int(random.integers(len(noises)))]
    return _mix(clip, np.resize(np.roll(noise, -random.integers(len(noise))), len(clip)), snr_db)


def _mix(clip: Waveform, noise: npt.NDArray[np.floating], snr_db: float) -> Waveform:
    wide = noise.astype(np.float64)
    return np.asarray(add_noise(clip.astype(np.float64), wide, snr_db), np.float32)


def _telephone(clip: Waveform, _random: Random) -> Waveform:
    return np.asarray(telephone(clip, sample_rate_hz=RATE_HZ), np.float32)


def _opus(clip: Waveform, _random: Random) -> Waveform:
    level = clip / max(np.abs(clip).max(), 1e-9)
    command = ["ffmpeg", "-v", "error", "-f", "f32le", "-ar", str(RATE_HZ), "-ac", "1", "-i", "-"]
    command += ["-c:a", "libopus", "-b:a", "16k", "-f", "ogg", "-"]
    try:
        done = subprocess.run(
            command, input=level.astype("<f4").tobytes(), capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise SerError(f"ffmpeg with libopus is needed for this check: {error}.") from error
    samples, rate_hz = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    return np.asarray(signal.resample_poly(samples, RATE_HZ, rate_hz), np.float32)


def _room(clip: Waveform, random: Random) -> Waveform:
    """Add noise that decays by 60 dB in 0.4 s, with the energy of the direct sound."""
    n = round(0.4 * RATE_HZ)
    tail = random.normal(size=n) * 10.0 ** (-3.0 * np.arange(n) / n)
    response = np.concatenate([[1.0], tail / np.linalg.norm(tail)])
    return np.asarray(signal.fftconvolve(clip, response), np.float32)


def list_silences() -> Iterator[tuple[str, Waveform]]:
    """Generate sounds without speech, by kind: silence, hiss, tones, chords, clicks, a sweep."""
    random = np.random.default_rng(0)
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    yield "digital silence", np.zeros_like(t, np.float32)
    for level in (1e-4, 1e-2, 0.1):
        yield "hiss", np.asarray(level * random.normal(size=len(t)), np.float32)
    for hz in (50, 100, 220, 440, 1_000, 3_000, 6_000):
        yield "tone", np.asarray(0.3 * np.sin(2 * np.pi * hz * t), np.float32)
    for root_hz in (110, 165, 220, 262, 330):
        steps = (0, 4, 7, 12)
        chord = sum(np.sin(2 * np.pi * root_hz * 2 ** (s / 12) * t) for s in steps)
        beat = np.exp(-4 * (t % 0.5))
        yield "chords", np.asarray(0.1 * chord * beat, np.float32)
    yield "clicks", np.asarray(np.where(np.arange(len(t)) % 4_000 == 0, 0.8, 0.0), np.float32)
    yield "sweep", np.asarray(0.3 * signal.chirp(t, 100, t[-1], 6_000), np.float32)
