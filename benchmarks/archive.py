"""An archive of long recordings, from recordings of the corpora, through `score` and out as files.

    python -m benchmarks.archive --data ../shared/data --hours 20

Makes recordings of turns of a few speakers, runs `score --rows utterances` on processes and, where
it is installed, on Ray, and writes the rows as files of segments. Adds to docs/scale.json and
docs/scale.md. The recordings are removed at the end, unless `--folder` names a place for them.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer
from pyarrow import dataset
from rich.progress import track

from benchmarks import ROOT
from benchmarks.scoring import publish
from benchmarks.segments import PAUSE_S
from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.corpora import CORPORA
from ser_core.corpora.base import Clip
from ser_core.segment_formats import FORMATS, read_segments, write_segments
from ser_core.segments import Segment
from ser_core.speech_detector import RATE_HZ
from ser_lab.evaluate.records import describe_machine

KINDS = ("", "textgrid", "srt", "stereo", "eaf", "vtt")
"""Format of the segments beside the recordings, in turn; none, or RTTM of a stereo recording."""
N_SPEAKERS = 4
"""Speakers of a recording; a stereo recording has one a channel."""
N_CLIPS = 20
"""Most clips of a speaker in a recording, each of which may come several times."""
OUT = ("textgrid", "srt", "eaf", "parquet")


def make_archive(data: Path, folder: Path, hours: float, minutes: float) -> dict[str, int | None]:
    """Write recordings; return the segments beside each, None where there are none."""
    clips = defaultdict[str, list[Clip]](list)
    for corpus in CORPORA.values():
        for clip in corpus.find_clips(data) if corpus.is_present(data) else ():
            clips[clip.speaker].append(clip)
    speakers, counts = sorted(clips), dict[str, int | None]()
    for i in track(range(max(1, round(60.0 * hours / minutes))), "Recordings"):
        kind, random = KINDS[i % len(KINDS)], np.random.default_rng(i)
        chosen = random.choice(speakers, 2 if kind == "stereo" else N_SPEAKERS, replace=False)
        path = folder / f"{i % 5}" / f"{i:03d}-{kind or 'detected'}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        turns = [list(random.permutation(clips[speaker])[:N_CLIPS]) for speaker in chosen]
        segments = write_recording(path, turns, minutes, random, is_stereo=kind == "stereo")
        form = "rttm" if kind == "stereo" else kind
        counts[str(path)] = len(segments) if form else None
        if form:
            write_segments(segments, path.with_suffix(FORMATS[form].suffix), recording=path)
    return counts


def write_recording(
    path: Path,
    turns: Sequence[Sequence[Clip]],
    minutes: float,
    random: np.random.Generator,
    *,
    is_stereo: bool,
) -> list[Segment]:
    """Write clips of speakers who take turns, with pauses; return who speaks when.

    Args:
        path: File to write.
        turns: The clips of each speaker.
        minutes: Least length.
        random: Chooses clips and pauses.
        is_stereo: Whether each speaker has a channel.
    """
    segments, at = list[Segment](), 0
    load = cache(partial(load_audio, config=AudioConfig(RATE_HZ, min_duration_s=0.0)))
    with soundfile.SoundFile(path, "w", RATE_HZ, len(turns) if is_stereo else 1) as file:
        while at < 60.0 * minutes * RATE_HZ:
            speaker = int(random.integers(len(turns)))
            clip = turns[speaker][random.integers(len(turns[speaker]))]
            sound = load(clip.path)
            channel = speaker if is_stereo else None
            start = at + round(random.uniform(*PAUSE_S) * RATE_HZ)
            block = np.zeros((start - at + len(sound), file.channels), np.float32)
            block[start - at :, channel or 0] = sound
            file.write(block)
            at += len(block)
            span = start / RATE_HZ, at / RATE_HZ
            segments.append(Segment(*span, clip.speaker, channel, clip.emotion))
    return segments


def run_score(source: Path, out: Path, *options: str) -> tuple[str, float]:
    """Run `score` as a user does; return what it printed, and its seconds."""
    command = [sys.executable, "-m", "ser_core", "score", str(source), str(out), *options]
    command += ["--rows", "utterances", "--model", "compact"]
    same_priority = os.environ | {"RAY_worker_niceness": "0"}  # Ray lowers that of its workers
    started = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=same_priority, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip(), time.monotonic() - started


def rows_in(out: Path) -> list[dict[str, Any]]:
    """Return the rows in the parts, in order."""
    rows: list[dict[str, Any]] = dataset.dataset(out).to_table().to_pylist()
    return sorted(rows, key=lambda row: (row["clip"], row["start_s"], row["end_s"]))


def measure(data: Path, folder: Path, hours: float, minutes: float, workers: int) -> dict[str, Any]:
    """Make an archive, analyse it on each pool, and write its files; raise where rows differ."""
    expected = make_archive(data, folder / "in", hours, minutes)
    lengths_s = [soundfile.info(path).duration for path in expected]
    figures: dict[str, Any] = {
        "machine": describe_machine(), "load_before": os.getloadavg()[0],
        "hours": sum(lengths_s) / 3_600, "minutes": minutes, "recordings": len(expected),
        "given": sum(filter(None, expected.values())), "workers": workers, "runs": {}, "files": {},
    }  # fmt: skip
    pools: dict[str, tuple[str, ...]] = {"processes": ()}
    if importlib.util.find_spec("ray"):
        pools["Ray"] = ("--ray",)
    for name, options in pools.items():
        text, seconds = run_score(folder / "in", folder / name, "--workers", str(workers), *options)
        print(text)
        rows = rows_in(folder / name)
        check(rows, expected)
        answers = [(row["clip"], row["start_s"], row["end_s"], row["emotion"]) for row in rows]
        first = figures.setdefault("answers", answers)
        figures["runs"][name] = {
            "seconds": seconds, "rows": len(rows),
            "same": sum(map(tuple.__eq__, answers, first)),
        }  # fmt: skip
    del figures["answers"]
    out = folder / "processes"
    for form in OUT:
        files = folder / form
        text, seconds = run_score(folder / "in", out, "--to", form, "--files", str(files))
        print(text)
        paths = [path for path in files.rglob("*") if path.is_file()]
        figures["files"][form] = {
            "seconds": seconds, "files": len(paths),
            "segments": sum(len(read_segments(path)) for path in paths),
            "megabytes": sum(path.stat().st_size for path in paths) / 1e6,
        }  # fmt: skip
    return figures


def check(rows: Sequence[dict[str, Any]], expected: dict[str, int | None]) -> None:
    """Raise AssertionError unless each recording has rows, and each given segment has one."""
    counts = Counter(row["clip"] for row in rows)
    assert set(counts) == set(expected), "a recording has no rows"
    errors = [row["error"] for row in rows if row["error"] is not None]
    assert not errors, errors[0]
    for name, n_segments in expected.items():
        assert n_segments in (None, counts[name]), (name, n_segments, counts[name])
    spans = Counter((row["clip"], row["channel"], row["start_s"], row["end_s"]) for row in rows)
    assert max(spans.values()) == 1, "a segment has two rows"


def main(
    data: Annotated[Path, typer.Option(help="Folder of the corpora.")],
    hours: Annotated[float, typer.Option(help="Of all recordings.")] = 20.0,
    minutes: Annotated[float, typer.Option(help="Of each recording.")] = 30.0,
    workers: Annotated[int, typer.Option(help="Of each pool.")] = 2,
    folder: Annotated[Path | None, typer.Option(help="Keep everything here.")] = None,
) -> None:
    """Measure, and add to docs/scale.json and docs/scale.md."""
    with tempfile.TemporaryDirectory() as temporary:
        archive = measure(data, folder or Path(temporary), hours, minutes, workers)
    publish({"archive": archive})


if __name__ == "__main__":
    typer.run(main)
