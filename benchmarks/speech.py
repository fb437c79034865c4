"""Speech detection on the corpora, on noise, on reading aloud and on synthetic sounds.

    python -m benchmarks.speech --data ../shared/data --clips 400

Writes docs/speech.json with the score of every clip, and docs/speech.md. The thresholds of
`ser_core.speech_detector` were chosen from such a run.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
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
from ser_core.features import extract_features
from ser_core.preprocess import Waveform, normalise_level, preprocess
from ser_core.speech_detector import (
    CLEAR_FROM,
    LEVEL,
    RATE_HZ,
    SPEECH_FROM,
    _bundled_detector,
    speech_probability,
)
from ser_lab.evaluate.records import describe_machine
from ser_lab.train.speech_detector import PIPELINE, make_sound

SOUNDS, READING = ("noise", "synthetic"), "librispeech"
N_SYNTHETIC = 100
ALLOWED = 0.01
"""Share of a corpus that may be refused."""
CONFIG = PipelineConfig(AudioConfig(sample_rate_hz=RATE_HZ), LEVEL)

Random = np.random.Generator
Samples = np.ndarray[Any, np.dtype[np.float64]]
Detector = Callable[[Waveform], float]


def list_sources(data: Path, n_clips: int) -> Iterator[tuple[str, str, AudioSource]]:
    """Yield the group, the kind and the source of the clips, at most `n_clips` of a corpus."""
    for name, corpus in CORPORA.items():
        if corpus.is_present(data):
            clips = corpus.find_clips(data)
            chosen = np.random.default_rng(0).permutation(len(clips))[:n_clips]
            yield from ((name, clips[i].emotion, clips[i].path) for i in np.sort(chosen))
    reading = sorted((data / READING).iterdir())[:n_clips]
    yield from ((READING, "", path) for path in reading)
    for path in sorted((data / "noise").iterdir()):
        yield "noise", path.stem.split("-")[-1], path  # the class of a recording of ESC-50
    for seed in range(N_SYNTHETIC):
        yield "synthetic", "", (RATE_HZ, make_sound(np.random.default_rng(seed)))


def statistics_log_odds(samples: Waveform) -> float:
    """Return the log-odds of the network over statistics of log-mel frames, at its own level."""
    levelled = normalise_level(samples, PIPELINE.preprocess, sample_rate_hz=RATE_HZ)
    return _bundled_detector().max_log_odds(extract_features(levelled, PIPELINE))


def measure(data: Path, n_clips: int, detectors: dict[str, Detector]) -> dict[str, Any]:
    """Return the scores of the clips by detector and group, and the CPU time of a clip."""
    scores: dict[str, Any] = {name: defaultdict(list) for name in detectors}
    kinds, times_ms = defaultdict(list), {name: [] for name in detectors}
    unread: dict[str, int] = defaultdict(int)
    for group, kind, source in track(list(list_sources(data, n_clips)), "Speech or not"):
        try:
            samples = preprocess(load_audio(source, CONFIG.audio), CONFIG).samples
        except SerError:  # too short, or silence, whatever the detector
            unread[group] += 1
            continue
        kinds[group].append(kind)
        for name, detector in detectors.items():
            start = time.thread_time()
            scores[name][group].append(round(detector(samples), 4))
            times_ms[name].append(1_000 * (time.thread_time() - start))
    ms = {name: float(np.median(times)) for name, times in times_ms.items()}
    return {"scores": scores, "kinds": kinds, "unread": unread, "cpu_ms": ms}


def summarise(figures: dict[str, Any], detector: str, low: float, high: float) -> list[list[str]]:
    """Return a row a group: clips, shares refused and warned about, and refused when left out."""
    scores = {group: np.array(values) for group, values in figures["scores"][detector].items()}
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
    silero, threshold = figures["scores"]["silero"], _bundled_detector().threshold
    missed = sorted(
        {
            kind
            for group in SOUNDS
            for kind, score in zip(figures["kinds"][group], silero[group], strict=True)
            if score >= CLEAR_FROM
        }
    )
    return render(
        "speech",
        figures,
        rows=table(summarise(figures, "silero", SPEECH_FROM, CLEAR_FROM)),
        earlier=table(summarise(figures, "statistics", threshold, threshold)),
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
    detectors = {"silero": speech_probability, "statistics": statistics_log_odds}
    figures = {"machine": describe_machine(), "clips": clips} | measure(data, clips, detectors)
    write("speech", figures, document(figures))


if __name__ == "__main__":
    typer.run(main)
