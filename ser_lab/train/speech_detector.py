"""Training of the speech detector: clips of the corpora against noise, tones and music.

Its rejection rates are measured by cross-validation over kinds of noise and readers: each part
of the training leaves some out, on which that detector is then tested.
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
from ser_core.paths import replacing
from ser_core.preprocess import Waveform, preprocess
from ser_core.speech_detector import FRAMES, PART, RATE_HZ, SpeechDetector, describe_frames
from ser_lab.data.augment import NOISE, Augmentation, Changes
from ser_lab.data.feature_store import load_by_corpus, load_features
from ser_lab.data.splits import shipped_split, tabulate_clips

logger = logging.getLogger(__name__)

CORPORA = ("ravdess", "ravdess-song", "tess", "crema-d")
READING = "librispeech"
"""Folder of recordings of reading aloud, beside the corpora."""
PIPELINE = PipelineConfig(audio=AudioConfig(sample_rate_hz=RATE_HZ), features=FRAMES)
N_SOUNDS = 1_500
"""Synthetic sounds for training."""
N_SAMPLED = 14_000
"""Samples of speech, and of other sounds, each cut, changed and mixed."""
N_PARTS = 4
N_UNITS, DECAY, N_EPOCHS = 128, 1.0, 40
READ_SHARE, SYNTHETIC_SHARE, MIXED_SHARE = 0.2, 0.2, 0.4
SPEECH_OVER_NOISE_DB = (5.0, 30.0)
SHORTEST_FRAMES = 25
REJECTED_SHARE = 0.003
"""Share of the development speakers' clips that the threshold rejects."""
TOP_DB = 80.0
SHORTEST_S, LONGEST_S = 1.0, 4.0

Random = np.random.Generator
Rows = npt.NDArray[np.float32]
Samples = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Material:
    """Training clips, (n_frames, 64) in decibels each.

    Attributes:
        speech: Clips of the corpora and their changed copies, training speakers only.
        reading: Reading aloud.
        noise: Recorded noise.
        synthetic: Tones, chords and the like.
    """

    speech: Sequence[Features]
    reading: Sequence[Features]
    noise: Sequence[Features]
    synthetic: Sequence[Features]

    def sample(self, random: Random) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Return statistics of `N_SAMPLED` clips of speech and as many others, and their labels."""
        rows = [describe_frames(self._sample_speech(random)) for _ in range(N_SAMPLED)]
        rows += [describe_frames(self._sample_sound(random)) for _ in range(N_SAMPLED)]
        return np.array(rows), np.arange(2 * N_SAMPLED) < N_SAMPLED

    def _sample_speech(self, random: Random) -> Features:
        is_read = random.random() < READ_SHARE
        clip = _cut(_choose(self.reading if is_read else self.speech, random), random)
        if is_read and random.random() < 0.5:
            clip = _warp(clip, random)
        if random.random() < MIXED_SHARE:
            clip = mix(clip, _choose(self.noise, random), random.uniform(*SPEECH_OVER_NOISE_DB))
        return clip

    def _sample_sound(self, random: Random) -> Features:
        is_synthetic = random.random() < SYNTHETIC_SHARE
        clip = _choose(self.synthetic if is_synthetic else self.noise, random)
        if not is_synthetic and random.random() < 0.3:
            clip = mix(clip, _choose(self.noise, random), random.uniform(-10.0, 10.0))
        if random.random() < 0.5:
            clip = _warp(clip, random)
        return _cut(clip, random)


def train_detector(data: Path, out: Path) -> dict[str, float]:
    """Train on all speakers but those held out from the shipped models, and write the weights.

    Args:
        data: Folder of the corpora, of noise and of reading.
        out: File to write.

    Returns:
        Rejected shares by detectors that were not trained on the like: `noise` of other kinds,
        `librispeech` of other readers, `development` and `test` of other speakers.

    Raises:
        CorpusError: A corpus is missing.
        SerError: There is no noise or no reading.
    """
    splits = _load_corpora(data)
    noise, reading = _load_folder(data / NOISE), _load_folder(data / READING)
    sounds = (make_sound(np.random.default_rng(i)) for i in range(N_SOUNDS))
    synthetic = [frames for sound in sounds if (frames := _frames(sound)) is not None]
    log_odds: dict[str, list[Rows]] = {}
    for part in range(N_PARTS):
        material, tested = _leave_out(part, splits, noise, reading, synthetic)
        detector = _fit(material, seed=part)
        for name, clips in tested.items():
            log_odds.setdefault(name, []).append(_log_odds(detector, clips))
    joined = {name: np.concatenate(parts) for name, parts in log_odds.items()}
    threshold = np.quantile(joined["development"], REJECTED_SHARE)
    everything = Material(splits["train"], list(reading.values()), list(noise.values()), synthetic)
    shipped = _fit(everything, seed=N_PARTS)
    level = np.quantile(_log_odds(shipped, splits["development"]), REJECTED_SHARE)
    with replacing(out, Path.is_file) as draft:
        replace(shipped, threshold=float(level)).write(draft)
    return {name: float(np.mean(values < threshold)) for name, values in joined.items()}


def _leave_out(
    part: int,
    splits: Mapping[str, list[Features]],
    noise: Mapping[Path, Features],
    reading: Mapping[Path, Features],
    synthetic: Sequence[Features],
) -> tuple[Material, dict[str, list[Features]]]:
    """Return the training clips of one part, and the clips that it is tested on."""

    def kind(path: Path) -> str:  # the class of a recording of ESC-50
        return path.stem.split("-")[-1]

    kinds = sorted({kind(path) for path in noise})[part::N_PARTS]
    held_out = {path for path in noise if kind(path) in kinds} | {*list(reading)[part::N_PARTS]}
    trained, tested = {}, {}
    for name, clips in ((NOISE, noise), (READING, reading)):
        trained[name] = [clip for path, clip in clips.items() if path not in held_out]
        tested[name] = [clip for path, clip in clips.items() if path in held_out]
    tested |= {split: splits[split] for split in ("development", "test")}
    return Material(splits["train"], trained[READING], trained[NOISE], synthetic), tested


def _fit(material: Material, *, seed: int) -> SpeechDetector:
    rows, is_speech = material.sample(np.random.default_rng(seed))
    scaler = StandardScaler().fit(rows)
    settings = {"alpha": DECAY, "max_iter": N_EPOCHS, "random_state": seed}
    network = MLPClassifier((N_UNITS,), batch_size=256, early_stopping=True, **settings)
    network.fit(scaler.transform(rows), is_speech)
    logger.info("part %d: accuracy %.2f%%", seed, 100 * network.best_validation_score_)
    weights = (scaler.mean_, scaler.scale_, *network.coefs_, *network.intercepts_)
    mean, scale, hidden, last, hidden_bias, last_bias = (np.asarray(w, np.float32) for w in weights)
    return SpeechDetector(mean, scale, hidden, hidden_bias, last[:, 0], last_bias[0], threshold=0.0)


def _log_odds(detector: SpeechDetector, clips: Sequence[Features]) -> Rows:
    return np.array([detector.max_log_odds(clip.astype(np.float32)) for clip in clips], np.float32)


def _load_corpora(data: Path) -> dict[str, list[Features]]:
    """Return frames by split of the shipped models; the training split with a changed copy."""
    table = tabulate_clips(data, CORPORA, shipped_split(CORPORA))
    splits: dict[str, list[Features]] = {"train": [], "development": [], "test": []}
    for changes in (None, Changes(Augmentation(), data)):
        clips = load_by_corpus(table, partial(load_features, config=PIPELINE, changes=changes))
        for clip, split in zip(clips, table["split"], strict=True):
            if clip is not None and (changes is None or split == "train"):
                splits[split].append(clip.astype(np.float16))
    return splits


def _load_folder(folder: Path) -> dict[Path, Features]:
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    if not paths:
        raise SerError(f"{folder} contains no recordings, which the detector needs for training.")
    clips = {path: _frames(load_audio(path, PIPELINE.audio)) for path in track(paths, folder.name)}
    return {path: clip for path, clip in clips.items() if clip is not None}


def _frames(waveform: Waveform) -> Features | None:
    try:
        return extract_features(preprocess(waveform, PIPELINE).samples, PIPELINE)
    except NoSpeechError:  # silence is rejected without a network
        return None


def mix(clip: Features, noise: Features, snr_db: float) -> Features:
    """Add noise of any length to a clip, in power, both (n_frames, 64) in decibels."""
    under = np.resize(noise, clip.shape)
    speech, floor = 10.0 ** (clip / 10.0), 10.0 ** (under / 10.0)
    gain = speech.mean() / floor.mean() * 10.0 ** (-snr_db / 10.0)
    level = 10.0 * np.log10(speech + gain * floor + 1e-12)
    return np.asarray(np.maximum(level, level.max() - TOP_DB), np.float32)


def _choose(clips: Sequence[Features], random: Random) -> Features:
    return clips[int(random.integers(len(clips)))].astype(np.float32)


def _cut(clip: Features, random: Random) -> Features:
    """Return a stretch of the detector's length, half of the time a shorter one."""
    n = min(len(clip), PART)
    if n > SHORTEST_FRAMES and random.random() < 0.5:
        n = int(random.integers(SHORTEST_FRAMES, n + 1))
    start = int(random.integers(len(clip) - n + 1))
    return clip[start : start + n]


def _warp(clip: Features, random: Random) -> Features:
    """Shift the bands, tilt the spectrum and stretch time."""
    shift, n_bands = int(random.integers(-4, 5)), clip.shape[1]
    moved = clip[:, np.clip(np.arange(n_bands) - shift, 0, n_bands - 1)]
    tilted = moved + random.normal(0.0, 5.0) * np.linspace(-1.0, 1.0, n_bands)
    n = max(8, int(len(clip) * random.uniform(0.75, 1.3)))
    places = np.minimum((np.arange(n) * len(clip) / n).astype(int), len(clip) - 1)
    return np.asarray(tilted[places], np.float32)


def make_sound(random: Random) -> Waveform:
    """Generate a random sound, half of them with hiss: float32 at `RATE_HZ`, its peak at 0.3."""
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
