"""How often a change of emotion is found, and how often one is found where there is none.

    python -m benchmarks.changes --data ../shared/data --model compact --clips 40

From speakers held out of training, clips alone, two clips of one speaker and emotion joined, two of
one emotion by two speakers, and two of different speakers and emotions. `PENALTY` of
`ser_core.change` was chosen on the split `development`.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.progress import track

from ser_core import change
from ser_core.audio.load import load_audio
from ser_core.errors import SerError
from ser_core.preprocess import Waveform
from ser_core.registry import open_predictor
from ser_lab.data.splits import shipped_split, tabulate_clips

CORPORA = ("ravdess", "crema-d")
PENALTIES = (1.0, 1.5, 2.0, 2.5, 3.0)


def list_joins(clips: pd.DataFrame, n: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the kind and the paths of `n` clips and of the joins that begin with them."""
    for first in clips.sample(n, random_state=0).itertuples():
        same_speaker = clips["speaker"] == first.speaker
        same_emotion = clips["emotion"] == first.emotion
        seconds = {
            "one voice, one emotion": same_speaker & same_emotion & (clips["path"] != first.path),
            "two voices, one emotion": ~same_speaker & same_emotion,
            "two voices, two emotions": ~same_speaker & ~same_emotion,
        }
        yield "one clip", [first.path]
        for kind, chosen in seconds.items():
            if chosen.any():
                second = clips[chosen].sample(1, random_state=first.Index)
                yield kind, [first.path, second["path"].item()]


def main(
    data: Annotated[Path, typer.Option(help="Folder of the corpora.")],
    model: Annotated[str, typer.Option(help="As for predict.")] = "compact",
    split: Annotated[str, typer.Option(help="development or test.")] = "development",
    clips: Annotated[int, typer.Option(help="Clips of each corpus.")] = 40,
) -> None:
    """Print the share of recordings with a change, for several penalties."""
    predictor = open_predictor(model)
    table = tabulate_clips(data, CORPORA, shipped_split(CORPORA))
    table = table[table["split"] == split]
    joins = [
        join for corpus in CORPORA for join in list_joins(table[table["corpus"] == corpus], clips)
    ]
    found = defaultdict(list)
    config = predictor.config.audio
    for kind, paths in track(joins, model):
        joined: Waveform = np.concatenate([load_audio(path, config) for path in paths])
        try:
            analysis = predictor.analyse((config.sample_rate_hz, joined))
        except SerError:  # no speech
            continue
        row = []
        for penalty in PENALTIES:
            change.PENALTY = penalty  # type: ignore[misc]
            row.append(len(change.find_parts(analysis, predictor.model)) > 1)
        found[kind].append(row)
    print(f"{model}, {split}; penalties {PENALTIES}")
    for kind, rows in found.items():
        shares = " ".join(f"{share:5.0%}" for share in np.mean(rows, axis=0))
        print(f"{kind:26} {len(rows):4} {shares}")


if __name__ == "__main__":
    typer.run(main)
