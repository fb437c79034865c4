"""Speech detection on the corpora, on noise, on reading aloud and on synthetic sounds.

    python -m benchmarks.speech --data ../shared/data --clips 400

Writes docs/speech.json with the score of every clip, and docs/speech.md. The thresholds of
`ser_core.speech_detector` were chosen from such a run.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import track

from benchmarks import render, table, write
from ser_core.audio.load import AudioSource, load_audio
from ser_core.config import AudioConfig, PipelineConfig
from ser_core.corpora import CORPORA
from ser_core.errors import SerError
from ser_core.preprocess import preprocess
from ser_core.speech_detector import CLEAR_FROM, LEVEL, RATE_HZ, SPEECH_FROM, speech_probability
from ser_lab.data.augment import NOISE
from ser_lab.data.splits import READING
from ser_lab.evaluate.records import describe_machine
from ser_lab.robustness.changes import list_silences

SOUNDS = (NOISE, "synthetic")
ALLOWED = 0.01
"""Share of a corpus that may be refused."""
CONFIG = PipelineConfig(AudioConfig(sample_rate_hz=RATE_HZ), LEVEL)


def list_sources(data: Path, n_clips: int) -> Iterator[tuple[str, str, AudioSource]]:
    """Yield the group, the kind and the source of the clips, at most `n_clips` of a corpus."""
    for name, corpus in CORPORA.items():
        if corpus.is_present(data):
            clips = corpus.find_clips(data)
            chosen = np.random.default_rng(0).permutation(len(clips))[:n_clips]
            yield from ((name, clips[i].emotion, clips[i].path) for i in np.sort(chosen))
    reading = sorted((data / READING).iterdir())[:n_clips]
    yield from ((READING, "", path) for path in reading)
    for path in sorted((data / NOISE).iterdir()):
        yield NOISE, path.stem.split("-")[-1], path  # the class of a recording of ESC-50
    for kind, sound in list_silences():
        yield "synthetic", kind, (RATE_HZ, sound)


def measure(data: Path, n_clips: int) -> dict[str, Any]:
    """Return the scores of the clips by group, and the CPU time of a clip."""
    scores, kinds = defaultdict(list), defaultdict(list)
    unread: dict[str, int] = defaultdict(int)
    times_ms = []
    for group, kind, source in track(list(list_sources(data, n_clips)), "Speech or not"):
        try:
            samples = preprocess(load_audio(source, CONFIG.audio), CONFIG).samples
        except SerError:  # too short, or silence, whatever the detector
            unread[group] += 1
            continue
        start = time.thread_time()
        scores[group].append(round(speech_probability(samples), 4))
        times_ms.append(1_000 * (time.thread_time() - start))
        kinds[group].append(kind)
    cpu_ms = float(np.median(times_ms))
    return {"scores": scores, "kinds": kinds, "unread": unread, "cpu_ms": cpu_ms}


def summarise(figures: dict[str, Any], low: float, high: float) -> list[list[str]]:
    """Return a row a group: clips, shares refused and warned about, and refused when left out."""
    scores = {group: np.array(values) for group, values in figures["scores"].items()}
    corpora = [group for group in scores if group not in (*SOUNDS, READING)]
    most = {group: np.quantile(scores[group], ALLOWED, method="lower") for group in corpora}
    rows = []
    for group, values in scores.items():
        without = [most[other] for other in corpora if other != group]
        shares = (values < low, (values >= low) & (values < high), values < min(without))
        rows.append([group, str(len(values)), *(f"{share.mean():.1%}" for share in shares)])
    return rows


def document(figures: dict[str, Any]) -> str:
    """Return the figures as a page."""
    missed = sorted(
        {
            kind
            for group in SOUNDS
            for kind, score in zip(figures["kinds"][group], figures["scores"][group], strict=True)
            if score >= CLEAR_FROM
        }
    )
    return render(
        "speech",
        figures,
        rows=table(summarise(figures, SPEECH_FROM, CLEAR_FROM)),
        low=SPEECH_FROM,
        high=CLEAR_FROM,
        missed=", ".join(missed) or "none",
        unread=sum(figures["unread"].values()),
    )


def main(
    data: Annotated[Path, typer.Option(help="Folder of the corpora, noise and reading.")],
    clips: Annotated[int, typer.Option(help="Most clips of a corpus.")] = 400,
) -> None:
    """Score the clips and write docs/speech.json and docs/speech.md."""
    figures = {"machine": describe_machine(), "clips": clips} | measure(data, clips)
    write("speech", figures, document(figures))


if __name__ == "__main__":
    typer.run(main)
