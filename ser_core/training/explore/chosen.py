"""Clips to be seen side by side: one speaker, one sentence, every emotion."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ser_core.audio import load_audio
from ser_core.canvas import Look
from ser_core.config import AudioConfig
from ser_core.errors import AudioError, CorpusError
from ser_core.labels import LABELS
from ser_core.plots import PAPER_PICTURES, Picture, draw_sound, loudest_frame
from ser_core.preprocess import Waveform

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
    look = Look(
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
