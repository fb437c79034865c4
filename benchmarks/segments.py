"""Segments of joined clips: how well their boundaries are found, and what length costs.

    python -m benchmarks.segments --data ../shared/data

Writes docs/segments.json and docs/segments.md. The thresholds of `SegmentConfig` are Silero's; its
padding and shortest pause were chosen on the scenes of `--seed 1`.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import soundfile
import typer
from rich.progress import track

from benchmarks import ROOT, render, table, write
from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.corpora import CORPORA
from ser_core.predictor import Predictor
from ser_core.preprocess import CREST_DB, LEVEL_FRAME_S, LEVEL_HOP_S, Waveform, loudest
from ser_core.segments import cut, segment
from ser_core.speech_detector import LEVEL, RATE_HZ
from ser_lab.data.augment import NOISE
from ser_lab.data.splits import READING
from ser_lab.evaluate.records import describe_machine

Span = tuple[float, float]

PAUSE_S = (0.3, 2.0)
N_CLIPS = 12
"""Clips of a scene."""
NOISES_DB = (None, 20.0, 15.0, 10.0, 5.0)
SPEECH_DBFS = -26.0
TOLERANCE_S = 0.2
BELOW_DB, ABOVE_DB = 30.0, 10.0
"""Level below that of a clip's speech, and above that of its noise, below which it is silent."""
FLOOR_DB = 40.0
"""Least level of speech above the noise of its own clip; others have no certain boundaries."""
POLL_S = 0.25
BURST_S = 0.1
"""Sound in a clip up to which it is no speech."""


def stretches(clip: Waveform, min_silence_s: float) -> list[Span]:
    """Return the start and end in seconds of each stretch of speech in a clip without noise.

    There are none where the clip's own noise makes them uncertain.
    """
    length, hop = (round(s * RATE_HZ) for s in (LEVEL_FRAME_S, LEVEL_HOP_S))
    frames = np.lib.stride_tricks.sliding_window_view(clip, length)[::hop]
    rms = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
    level = loudest(clip, LEVEL, sample_rate_hz=RATE_HZ) * 10.0 ** (-CREST_DB / 20.0)
    floor = max(float(np.percentile(rms, 5.0)), 1e-6)
    if floor > level * 10.0 ** (-FLOOR_DB / 20.0):
        return []
    loud = rms > max(level * 10.0 ** (-BELOW_DB / 20.0), floor * 10.0 ** (ABOVE_DB / 20.0))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int)))
    found: list[Span] = []
    for first, end in edges.reshape(-1, 2):
        span = first * hop / RATE_HZ, ((end - 1) * hop + length) / RATE_HZ
        if found and span[0] - found[-1][1] < min_silence_s:
            span = found.pop()[0], span[1]
        found.append(span)
    return [(start, end) for start, end in found if end - start > BURST_S]


def make_scene(
    clips: Sequence[Waveform], random: np.random.Generator, min_silence_s: float
) -> tuple[Waveform, list[Span]]:
    """Join clips, all at one level, with pauses; return the sound and where speech is."""
    pieces, spans, n_samples = list[Waveform](), list[Span](), 0
    for clip in clips:
        pause = np.zeros(round(random.uniform(*PAUSE_S) * RATE_HZ), np.float32)
        found = stretches(clip, min_silence_s)
        first, last = (round(at * RATE_HZ) for at in (found[0][0], found[-1][1]))
        at_s = (n_samples + len(pause) - first) / RATE_HZ
        spans += [(at_s + start, at_s + end) for start, end in found]
        speech = np.concatenate([clip[round(a * RATE_HZ) : round(b * RATE_HZ)] for a, b in found])
        gain = 10.0 ** (SPEECH_DBFS / 20.0) / np.sqrt(np.mean(speech**2))
        pieces += [pause, np.clip(gain * clip[first:last], -1.0, 1.0)]
        n_samples += len(pause) + len(clip[first:last])
    return np.concatenate(pieces), spans


def mix(sound: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """Add noise to all of a scene, whose speech has `snr_db` above its power."""
    gain = 10.0 ** ((SPEECH_DBFS - snr_db) / 20.0) / np.sqrt(np.mean(noise**2))
    return np.asarray(sound + gain * np.resize(noise, len(sound)), np.float32)


def count_matches(found: Sequence[float], expected: Sequence[float]) -> int:
    """Return how many boundaries are within the tolerance of one that no other is matched to."""
    n_matches, i = 0, 0
    for at_s in expected:
        while i < len(found) and found[i] < at_s - TOLERANCE_S:
            i += 1
        if i < len(found) and found[i] <= at_s + TOLERANCE_S:
            n_matches, i = n_matches + 1, i + 1
    return n_matches


def scenes(
    data: Path, n_scenes: int, seed: int
) -> Iterator[tuple[str, Waveform, list[Span], np.random.Generator]]:
    """Yield corpus, sound, stretches of speech and random generator of the scenes of a corpus."""
    corpora = {
        name: [clip.path for clip in corpus.find_clips(data)]
        for name, corpus in CORPORA.items()
        if corpus.is_present(data)
    }
    corpora[READING] = sorted((data / READING).iterdir())
    for name, clips in corpora.items():
        for scene in range(n_scenes):
            random = np.random.default_rng([seed, scene, len(clips)])
            sounds: list[Waveform] = []
            for i in random.permutation(len(clips))[: 4 * N_CLIPS]:
                sound = load_audio(clips[i], AudioConfig(RATE_HZ, min_duration_s=0.0))
                if len(sounds) < N_CLIPS and stretches(sound, 0.0):
                    sounds.append(sound)
            if len(sounds) == N_CLIPS:
                yield name, *make_scene(sounds, random, PAUSE_S[0]), random


def measure_boundaries(data: Path, n_scenes: int, seed: int) -> dict[str, dict[str, list[int]]]:
    """Return matches, boundaries found and boundaries expected, by corpus and noise."""
    counts: dict[str, dict[str, list[int]]] = {}
    noises = sorted((data / NOISE).iterdir())
    for name, clean, spans, random in track(list(scenes(data, n_scenes, seed)), "Boundaries"):
        noise = load_audio(noises[random.integers(len(noises))], AudioConfig())
        for snr_db in NOISES_DB:
            sound = clean if snr_db is None else mix(clean, noise, snr_db)
            found = [(s.start_s, s.end_s) for s, _ in cut((RATE_HZ, sound))]
            row = counts.setdefault(name, {}).setdefault(noise_name(snr_db), [0, 0, 0])
            for side in (0, 1):
                sides = [[span[side] for span in side_of] for side_of in (found, spans)]
                row[0] += count_matches(*sides)
                row[1], row[2] = row[1] + len(found), row[2] + len(spans)
    return counts


def noise_name(snr_db: float | None) -> str:
    return "clean" if snr_db is None else f"{snr_db:g} dB"


def f1(n_matches: int, n_found: int, n_expected: int) -> float:
    return 2 * n_matches / max(1, n_found + n_expected)


def write_long(path: Path, data: Path, hours: float) -> None:
    """Write a recording of reading aloud, with pauses, that repeats after a few minutes."""
    random = np.random.default_rng(0)
    pieces = list[Waveform]()
    for clip in sorted((data / READING).iterdir())[:30]:
        pause = np.zeros(round(random.uniform(*PAUSE_S) * RATE_HZ), np.float32)
        pieces += [load_audio(clip, AudioConfig(sample_rate_hz=RATE_HZ)), pause]
    once, left = np.concatenate(pieces), round(hours * 3_600 * RATE_HZ)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, format="WAV") as file:
        while left > 0:
            file.write(once[:left])
            left -= len(once)


def run_long(path: Path, *, detect_only: bool) -> dict[str, float]:
    """Return most memory, seconds, CPU seconds and segments of a process that analyses a file.

    Memory is that of the process and of the one that decodes for it.
    """
    options = ["--detect-only"] if detect_only else []
    command = [sys.executable, "-m", "benchmarks.segments", "--analyse", str(path), *options]
    start, most = time.monotonic(), 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                both = [watched, *watched.children()]
                most = max(most, sum(each.memory_info().rss for each in both))
            time.sleep(POLL_S)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(process.returncode)
    n_segments, cpu_s = output.split()[-2:]
    return {
        "mb": most / 1e6,
        "seconds": time.monotonic() - start,
        "cpu_s": float(cpu_s),
        "segments": int(n_segments),
    }


def analyse(path: Path, *, detect_only: bool) -> None:
    """Analyse a file, and print the number of segments and the CPU seconds."""
    if detect_only:
        n_segments = sum(1 for _ in cut(path))
    else:
        predictor = Predictor.from_folder(ROOT / "model" / "compact")
        n_segments = sum(1 for _ in segment(path, predictor))
    print(n_segments, round(time.process_time(), 1))


def measure_length(
    data: Path, hours: Sequence[float], *, detect_only: bool
) -> list[dict[str, Any]]:
    """Return the figures of `run_long` for recordings of these lengths."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for each in hours:
            path = Path(folder) / "long.wav"
            write_long(path, data, each)
            runs.append({"hours": each} | run_long(path, detect_only=detect_only))
    return runs


def document(figures: dict[str, Any]) -> str:
    """Return the figures as a page."""
    counts = figures["boundaries"]
    noises = [noise_name(snr_db) for snr_db in NOISES_DB]
    rows = [[name, *(f"{f1(*row[noise]):.3f}" for noise in noises)] for name, row in counts.items()]
    whole = {noise: np.sum([row[noise] for row in counts.values()], axis=0) for noise in noises}
    rows.append(["all", *(f"{f1(*whole[noise]):.3f}" for noise in noises)])
    runs = [
        [
            f"{run['hours'] * 60:g} min", f"{run['segments']:,}", f"{run['mb']:.0f} MB",
            f"{run['seconds']:.0f} s", f"{run['cpu_s']:.0f} s",
        ]
        for run in figures["runs"]
    ]  # fmt: skip
    options = [f"--scenes {figures['scenes']}", f"--seed {figures['seed']}"]
    options += ["--detect-only"] if figures["detect_only"] else []
    options += [f"--hours {run['hours']:.3g}" for run in figures["runs"]]
    shortest, longest = figures["runs"][0], figures["runs"][-1]
    return render(
        "segments",
        figures,
        boundaries=table(rows),
        n_expected=int(whole["clean"][2]),
        runs=table(runs),
        growth=longest["mb"] / shortest["mb"] - 1.0,
        times=longest["hours"] / shortest["hours"],
        options=" ".join(options),
        analysed="cut into utterances" if figures["detect_only"] else "analysed by `compact`",
    )


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of the corpora and noise.")] = None,
    n_scenes: Annotated[int, typer.Option("--scenes", help="Scenes of a corpus.")] = 4,
    seed: Annotated[int, typer.Option(help="Of the scenes; the thresholds were chosen at 1.")] = 0,
    hours: Annotated[list[float] | None, typer.Option(help="Lengths, the shortest first.")] = None,
    detect_only: Annotated[bool, typer.Option("--detect-only", help="Run no model.")] = False,
    path: Annotated[Path | None, typer.Option("--analyse", hidden=True)] = None,
) -> None:
    """Measure boundaries and memory, and write docs/segments.json and docs/segments.md."""
    if path:
        analyse(path, detect_only=detect_only)
        return
    if data is None:
        raise typer.BadParameter("--data is needed.")
    figures = {
        "machine": describe_machine(),
        "load_before": os.getloadavg()[0],
        "scenes": n_scenes,
        "seed": seed,
        "detect_only": detect_only,
        "boundaries": measure_boundaries(data, n_scenes, seed),
        "runs": measure_length(data, hours or [1 / 6, 10.0], detect_only=detect_only),
    }
    write("segments", figures, document(figures))


if __name__ == "__main__":
    typer.run(main)
