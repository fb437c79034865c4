"""Trains the speech detector: clips of the corpora against noise, tones and music.

What it is worth is measured on kinds of noise that it never heard: the noise is learned from in
parts, each part without some of the kinds, which are then what is refused or not.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig, PipelineConfig
from ser_core.errors import NoSpeechError, SerError
from ser_core.features import Features, extract_features
from ser_core.preprocess import Waveform, preprocess
from ser_core.speech_detector import FRAMES, PART, RATE_HZ, SpeechDetector, describe_frames
from ser_lab.data.augment import NOISE, Augmentation, Changes
from ser_lab.data.feature_store import load_by_corpus, load_features
from ser_lab.data.splits import shipped_split, tabulate_clips

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


logger = logging.getLogger(__name__)

CORPORA = ("ravdess", "ravdess-song", "tess", "crema-d")
READING = "librispeech"
"""Folder of people who read aloud, beside the corpora."""
PIPELINE = PipelineConfig(audio=AudioConfig(sample_rate_hz=RATE_HZ), features=FRAMES)
N_SOUNDS = 1_500
"""Made-up sounds that are learned from."""
N_DRAWS = 14_000
"""Of speech, and of other sounds, each cut, changed and mixed anew."""
N_PARTS = 4
N_UNITS, DECAY, N_EPOCHS = 128, 1.0, 40
READ_SHARE, MADE_UP_SHARE, MIXED_SHARE = 0.2, 0.2, 0.4
SPEECH_OVER_NOISE_DB = (5.0, 30.0)
SHORTEST_FRAMES = 25
REFUSED_SHARE = 0.003
"""Share of the development speakers' clips that the threshold refuses."""
TOP_DB = 80.0

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Material:
    """Frames to draw from; each clip (n_frames, 64) in decibels.

    Attributes:
        speech: Clips of the corpora and their changed copies, training speakers alone.
        reading: People who read aloud.
        noise: Recorded noise.
        made_up: Tones, chords and the like.
    """

    speech: Sequence[Features]
    reading: Sequence[Features]
    noise: Sequence[Features]
    made_up: Sequence[Features]

    def draw(self, random: Random) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Statistics of `N_DRAWS` clips of speech and as many others, and which is which."""
        rows = [describe_frames(self._draw_speech(random)) for _ in range(N_DRAWS)]
        rows += [describe_frames(self._draw_sound(random)) for _ in range(N_DRAWS)]
        return np.array(rows), np.arange(2 * N_DRAWS) < N_DRAWS

    def _draw_speech(self, random: Random) -> Features:
        read = random.random() < READ_SHARE
        clip = _cut(_one(self.reading if read else self.speech, random), random)
        if read and random.random() < 0.5:
            clip = _warp(clip, random)
        if random.random() < MIXED_SHARE:
            clip = mix(clip, _one(self.noise, random), random.uniform(*SPEECH_OVER_NOISE_DB))
        return clip

    def _draw_sound(self, random: Random) -> Features:
        if random.random() < MADE_UP_SHARE:
            clip = _one(self.made_up, random)
        else:
            clip = _one(self.noise, random)
            if random.random() < 0.3:
                clip = mix(clip, _one(self.noise, random), random.uniform(-10.0, 10.0))
        if random.random() < 0.5:
            clip = _warp(clip, random)
        return _cut(clip, random)


def train_detector(data: Path, out: Path) -> dict[str, float]:
    """Train on everything but the shipped models' held-out speakers, and write the weights.

    Args:
        data: Folder of the corpora, of noise and of calm reading.
        out: File to write.

    Returns:
        Shares that are refused by detectors that had not heard their like: `noise` of other
        kinds, `librispeech` of other readers, `development` and `test` of other speakers.

    Raises:
        CorpusError: A corpus is missing.
        SerError: There is no noise or nobody reads.
    """
    sides = _load_corpora(data)
    noise, reading = _load_folder(data / NOISE), _load_folder(data / READING)
    sounds = (make_sound(np.random.default_rng(i)) for i in range(N_SOUNDS))
    made_up = [frames for sound in sounds if (frames := _frames(sound)) is not None]
    scores: dict[str, list[Rows]] = {}
    for part in range(N_PARTS):
        material, asked = _leave_out(part, sides, noise, reading, made_up)
        detector = _fit(material, seed=part)
        for name, clips in asked.items():
            scores.setdefault(name, []).append(_score(detector, clips))
    joined = {name: np.concatenate(parts) for name, parts in scores.items()}
    threshold = np.quantile(joined["development"], REFUSED_SHARE)
    everything = Material(sides["train"], list(reading.values()), list(noise.values()), made_up)
    shipped = _fit(everything, seed=N_PARTS)
    level = np.quantile(_score(shipped, sides["development"]), REFUSED_SHARE)
    replace(shipped, threshold=float(level)).write(out)
    return {name: float(np.mean(values < threshold)) for name, values in joined.items()}


def _leave_out(
    part: int,
    sides: Mapping[str, list[Features]],
    noise: Mapping[Path, Features],
    reading: Mapping[Path, Features],
    made_up: Sequence[Features],
) -> tuple[Material, dict[str, list[Features]]]:
    """What is learned from in one part of the measurement, and what is asked then."""
    kinds = sorted({_kind(path) for path in noise})[part::N_PARTS]
    hidden = {path for path in noise if _kind(path) in kinds} | set(list(reading)[part::N_PARTS])
    read, heard = (
        [clip for path, clip in clips.items() if path not in hidden] for clips in (reading, noise)
    )
    asked = {
        name: [clip for path, clip in clips.items() if path in hidden]
        for name, clips in ((NOISE, noise), (READING, reading))
    }
    asked |= {side: sides[side] for side in ("development", "test")}
    return Material(sides["train"], read, heard, made_up), asked


def _kind(path: Path) -> str:
    """The class of a recording of ESC-50, the last field of its name."""
    return path.stem.split("-")[-1]


def mix(clip: Features, noise: Features, snr_db: float) -> Features:
    """Two clips at once, in power, the second as long as the first.

    Args:
        clip: (n_frames, 64) in decibels.
        noise: The same, of any length.
        snr_db: Mean power of the first over that of the second.
    """
    under = np.resize(noise, clip.shape)
    speech, floor = 10.0 ** (clip / 10.0), 10.0 ** (under / 10.0)
    gain = speech.mean() / floor.mean() * 10.0 ** (-snr_db / 10.0)
    level = 10.0 * np.log10(speech + gain * floor + 1e-12)
    return np.asarray(np.maximum(level, level.max() - TOP_DB), np.float32)


def _one(clips: Sequence[Features], random: Random) -> Features:
    return clips[int(random.integers(len(clips)))].astype(np.float32)


def _cut(clip: Features, random: Random) -> Features:
    """A stretch as the detector is asked about it, half of the time a shorter one."""
    n = min(len(clip), PART)
    if n > SHORTEST_FRAMES and random.random() < 0.5:
        n = int(random.integers(SHORTEST_FRAMES, n + 1))
    start = int(random.integers(len(clip) - n + 1))
    return clip[start : start + n]


def _warp(clip: Features, random: Random) -> Features:
    """Bands shifted, the spectrum tilted, time stretched."""
    shift, n_bands = int(random.integers(-4, 5)), clip.shape[1]
    moved = clip[:, np.clip(np.arange(n_bands) - shift, 0, n_bands - 1)]
    tilted = moved + random.normal(0.0, 5.0) * np.linspace(-1.0, 1.0, n_bands)
    n = max(8, int(len(clip) * random.uniform(0.75, 1.3)))
    places = np.minimum((np.arange(n) * len(clip) / n).astype(int), len(clip) - 1)
    return np.asarray(tilted[places], np.float32)


def _fit(material: Material, *, seed: int) -> SpeechDetector:
    rows, spoken = material.draw(np.random.default_rng(seed))
    scaler = StandardScaler().fit(rows)
    network = MLPClassifier(
        (N_UNITS,),
        alpha=DECAY,
        batch_size=256,
        max_iter=N_EPOCHS,
        early_stopping=True,
        random_state=seed,
    ).fit(scaler.transform(rows), spoken)
    logger.info("part %d: %.2f %% right", seed, 100 * network.best_validation_score_)
    weights = [np.asarray(w, np.float32) for w in (*network.coefs_, *network.intercepts_)]
    return SpeechDetector(
        np.asarray(scaler.mean_, np.float32),
        np.asarray(scaler.scale_, np.float32),
        hidden=weights[0],
        hidden_bias=weights[2],
        last=weights[1][:, 0],
        last_bias=weights[3][0],
        threshold=0.0,
    )


def _score(detector: SpeechDetector, clips: Sequence[Features]) -> Rows:
    return np.array([detector.max_log_odds(clip.astype(np.float32)) for clip in clips], np.float32)


def _load_corpora(data: Path) -> dict[str, list[Features]]:
    """Frames by side of the shipped models' split; the training side with a changed copy."""
    table = tabulate_clips(data, CORPORA, shipped_split(CORPORA))
    sides: dict[str, list[Features]] = {"train": [], "development": [], "test": []}
    for changes in (None, Changes(Augmentation(), data)):
        clips = load_by_corpus(table, partial(load_features, config=PIPELINE, changes=changes))
        for clip, side in zip(clips, table["split"], strict=True):
            if clip is not None and (changes is None or side == "train"):
                sides[side].append(clip.astype(np.float16))
    return sides


def _load_folder(folder: Path) -> dict[Path, Features]:
    """Frames of each recording that holds any sound."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    if not paths:
        raise SerError(f"{folder} contains no recordings, which the detector needs for training.")
    clips = {path: _frames(load_audio(path, PIPELINE.audio)) for path in track(paths, folder.name)}
    return {path: clip for path, clip in clips.items() if clip is not None}


def _frames(waveform: Waveform) -> Features | None:
    try:
        return extract_features(preprocess(waveform, PIPELINE).samples, PIPELINE)
    except NoSpeechError:  # silence is refused without a network
        return None
