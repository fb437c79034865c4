"""Clips to be seen side by side: one speaker, one sentence, every emotion."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile
from rich.progress import track

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.errors import AudioError, CorpusError
from ser_core.labels import LABELS
from ser_core.plots import PAPER_PICTURES, FigureStyle, Picture, draw_sound, loudest_frame
from ser_core.preprocess import Waveform, dbfs

SEED = 0
"""Seed of the draw that `cut_to_rarest` makes."""


def common_emotions(table: pd.DataFrame) -> tuple[str, ...]:
    """The emotions that every corpus of a table has, in label order.

    Args:
        table: Clips, with `corpus` and `emotion`.
    """
    corpora = [set(rows["emotion"]) for _, rows in table.groupby("corpus")]
    return tuple(label for label in LABELS if all(label in emotions for emotions in corpora))


def cut_to_rarest(table: pd.DataFrame) -> pd.DataFrame:
    """Draw clips until every emotion has as many as the rarest one.

    Args:
        table: Clips, with `emotion`.

    Returns:
        Its rows that were drawn, without replacement, in their order.
    """
    if table.empty:
        return table
    fewest = int(table["emotion"].value_counts().min())
    return table.groupby("emotion").sample(n=fewest, random_state=SEED).sort_index()


logger = logging.getLogger(__name__)

MEASURES = ("duration_s", "sample_rate_hz", "n_channels", "level_dbfs", "peak_dbfs")
"""Columns that `measure_clips` gives."""
FRAME_LENGTH = 512
"""Frame of the mean spectrum: bands of 31 Hz at 16 kHz."""
SPECTRUM_CLIPS = 120
"""Clips of a corpus that its mean spectrum is taken from, spread evenly over it."""


def measure_clips(paths: Sequence[Path]) -> pd.DataFrame:
    """Measure every clip as its file has it, before anything is resampled or levelled.

    Args:
        paths: The clips.

    Returns:
        (n_clips, n_measures), columns `MEASURES`: the length in seconds, the rate that the file
        decodes at, its channels, RMS and peak of their mean in dB below full scale. A clip that
        cannot be read has no values and is logged.
    """
    rows = [_measure(path) for path in track(paths, "Measuring clips")]
    return pd.DataFrame(rows, columns=list(MEASURES))


def _measure(path: Path) -> tuple[float, ...]:
    try:
        with soundfile.SoundFile(path) as file:
            frames = file.read(dtype="float32", always_2d=True)  # (n_samples, n_channels)
            rate_hz, n_channels = file.samplerate, file.channels
    except (OSError, soundfile.LibsndfileError) as error:
        logger.warning("%s is not measured: %s", path, error)
        return (np.nan,) * len(MEASURES)
    waveform = frames.mean(axis=1)
    if not len(waveform):
        logger.warning("%s is not measured: it contains no audio.", path)
        return (np.nan,) * len(MEASURES)
    rms = float(np.sqrt(np.mean(waveform**2, dtype=np.float64)))
    peak = float(np.abs(waveform).max())
    return len(waveform) / rate_hz, rate_hz, n_channels, dbfs(rms), dbfs(peak)


def mean_spectrum(paths: Sequence[Path]) -> npt.NDArray[np.float64]:
    """Mean power spectrum of a corpus, every clip brought to one level first.

    Args:
        paths: Its clips; of many, `SPECTRUM_CLIPS` spread evenly.

    Returns:
        (2, n_bands) float64: frequencies in Hz, and levels in dB below the strongest band.
        Without a clip that can be read, no bands.
    """
    config = AudioConfig()
    step = max(1, len(paths) // SPECTRUM_CLIPS)
    spectra = []
    for path in paths[::step]:
        try:
            waveform = load_audio(path, config)
        except AudioError as error:
            logger.warning("%s is not in the mean spectrum: %s", path, error)
            continue
        power = np.abs(librosa.stft(waveform, n_fft=FRAME_LENGTH)) ** 2  # (n_bands, n_frames)
        if total := float(power.mean()):
            spectra.append(power.mean(axis=1) / total)
    if not spectra:
        return np.empty((2, 0))
    level = librosa.power_to_db(np.mean(spectra, axis=0), ref=np.max, top_db=None)
    frequencies_hz = librosa.fft_frequencies(sr=config.sample_rate_hz, n_fft=FRAME_LENGTH)
    return np.stack([frequencies_hz, level])


TILE_INCHES, TILE_DPI, TILE_POINTS = (3.4, 1.9), 140, 8.0
_STRONGEST = ("strong", "high")


@dataclass(frozen=True, slots=True)
class ChosenClip:
    """One clip and its pictures.

    Attributes:
        emotion: What is acted.
        name: Its file's name.
        pictures: One for each of `PAPER_PICTURES`, on the axes of all clips beside it.
    """

    emotion: str
    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class ChosenSet:
    """One sentence of one speaker, an emotion a clip.

    Attributes:
        speaker: As `corpus/speaker`.
        corpus: Name of the corpus.
        statement: The publisher's name of the sentence.
        clips: In label order.
    """

    speaker: str
    corpus: str
    statement: str
    clips: tuple[ChosenClip, ...]


def choose_sets(table: pd.DataFrame, speakers: Sequence[str] = ()) -> list[pd.DataFrame]:
    """Choose a speaker of each corpus, and a sentence of his in as many emotions as there are.

    Args:
        table: Clips, in order.
        speakers: Those to be shown, as `corpus/speaker`; where empty, the first of each corpus
            whose clips have most emotions.

    Returns:
        For each of them, of the first such sentence the first clip of each emotion, in label
        order, a strong one where intensities are told.

    Raises:
        CorpusError: A speaker has no clip.
    """
    if absent := set(speakers) - set(table["speaker"]):
        known = ", ".join(table["speaker"].unique()[:5])
        raise CorpusError(
            f"There is no clip of {', '.join(sorted(absent))}; speakers are named as {known} …"
        )
    group = "corpus"
    if speakers:
        table = table[table["speaker"].isin(speakers)]
        table = table.assign(part=table["corpus"] + " " + table["speaker"])
        group = "part"
    ranked = table.assign(
        emotion_rank=table["emotion"].map(LABELS.index),
        intensity_rank=~table["intensity"].isin(_STRONGEST),
    ).sort_values(["emotion_rank", "intensity_rank"], kind="stable")
    chosen = []
    for name in table[group].unique():
        rows = ranked[ranked[group] == name]
        n_emotions = rows.groupby(["speaker", "statement"])["emotion"].nunique()
        speaker, statement = n_emotions.index[int(n_emotions.to_numpy().argmax())]
        same = rows[(rows["speaker"] == speaker) & (rows["statement"] == statement)]
        chosen.append(same.drop_duplicates("emotion"))
    return chosen


def draw_set(rows: pd.DataFrame) -> ChosenSet:
    """Draw the clips of one set on common axes of time, amplitude and energy.

    Args:
        rows: Clips as `choose_sets` gives them; one that cannot be read is left out.
    """
    config = AudioConfig()
    sounds = dict(_load(rows, config))
    look = FigureStyle(
        size_inches=TILE_INCHES,
        dots_per_inch=TILE_DPI,
        font_points=TILE_POINTS,
        end_s=max((len(sound) / config.sample_rate_hz for sound in sounds.values()), default=None),
        peak=max((float(np.abs(sound).max()) for sound in sounds.values()), default=None),
        loudest=max((loudest_frame(sound) for sound in sounds.values()), default=None),
    )
    clips = tuple(
        ChosenClip(
            emotion=emotion,
            name=path.name,
            pictures=draw_sound(
                sounds[path], config.sample_rate_hz, pictures=PAPER_PICTURES, look=look
            ),
        )
        for emotion, path in zip(rows["emotion"], rows["path"], strict=True)
        if path in sounds
    )
    first = rows.iloc[0]
    return ChosenSet(first["speaker"], first["corpus"], first["statement"], clips)


def _load(rows: pd.DataFrame, config: AudioConfig) -> Iterator[tuple[Path, Waveform]]:
    for path in rows["path"]:
        try:
            yield path, load_audio(path, config)
        except AudioError:
            continue  # `measure_clips` has told of it
