"""Scoring an archive on this machine: one worker against two, deaths, and memory.

    python -m tests.score_bench --clips 20000

Writes docs/scale.json and docs/scale.md. The clips are a few hundred made-up ones under many
names. Rates are taken from the first part to the last, so that starting the workers is apart.
"""

import argparse
import json
import os
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from pyarrow import dataset

from ser_core.score import Output
from ser_core.training.records import describe_machine
from tests.conftest import RATE_HZ, ROOT, make_babble
from tests.score_faults import begin, cpu_s, kill, parts, resident_mb, workers_of
from tests.score_report import document

N_VOICES = 300
LOOK_EVERY_S = 0.25
N_NAMES = 100_000


def make_archive(folder: Path, n_clips: int) -> float:
    """Made-up speech of 3 to 7 s under many names; its hours."""
    lengths_s = []
    for i in range(min(N_VOICES, n_clips)):
        clip = make_babble(seed=i, duration_s=1.0 + 4.0 * (i % 40) / 40)
        lengths_s.append(len(clip) / RATE_HZ)
        soundfile.write(folder / f"{i:05d}.wav", clip, RATE_HZ)
    for i in range(len(lengths_s), n_clips):
        lengths_s.append(lengths_s[i % N_VOICES])
        os.link(folder / f"{i % N_VOICES:05d}.wav", folder / f"{i:05d}.wav")
    return sum(lengths_s) / 3_600


def watch(source: Path, out: Path, *options: str, kill_at: dict[int, str]) -> dict[str, Any]:
    """One run: its pace and memory; at some numbers of parts a worker or the driver is killed."""
    begun, doing = time.monotonic(), begin(source, out, "--model", "compact", *options)
    n_before, first, last = parts(out), 0.0, 0.0
    cpu: dict[int, list[float]] = {}
    n_seen, memory = n_before, []
    pending = dict(kill_at)
    while doing.poll() is None:
        n_parts = parts(out)
        if n_parts > n_seen:
            n_seen, last = n_parts, time.monotonic()
            first = first or last
        workers = workers_of(doing.pid)
        for worker in workers if first else []:
            used_s = cpu_s(worker)
            cpu.setdefault(worker, [used_s, used_s])
            cpu[worker][1] = max(used_s, cpu[worker][1])
        memory.append([time.monotonic() - begun, *map(resident_mb, workers)])
        for at in [at for at in pending if n_parts >= at]:
            kill(workers[0] if pending.pop(at) == "worker" else doing.pid)
        time.sleep(LOOK_EVERY_S)
    told, _ = doing.communicate()
    steady = [row[1:] for row in memory if row[0] > first - begun > 0 and len(row) > 1]
    peaks = [max(row) for row in steady if max(row) > 0]
    return {
        "options": list(options),
        "killed": list(kill_at.values()),
        "seconds": time.monotonic() - begun,
        "first_part_s": first - begun,
        "steady_s": last - first,
        "steady_cpu_s": sum(end - start for start, end in cpu.values()),
        "worker_mb": [float(np.median(third)) for third in np.array_split(peaks or [0.0], 3)],
        "worker_mb_most": max(peaks, default=0.0),
        "told": told.strip().split(": ", 1)[-1],
    }


def measure(n_clips: int, part: int) -> dict[str, Any]:
    """All runs over one archive."""
    figures: dict[str, Any] = {"machine": describe_machine(), "clips": n_clips, "part": part}
    figures["load_before"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in"
        source.mkdir()
        figures["hours"] = make_archive(source, n_clips)
        n_parts = -(-n_clips // part)
        runs = {
            "one worker": ("one", ["--workers", "1"], {}),
            "two workers": ("two", ["--workers", "2"], {}),
            "two workers, one killed": ("killed", ["--workers", "2"], {n_parts // 2: "worker"}),
            "two workers, driver killed": ("resumed", ["--workers", "2"], {n_parts // 2: "driver"}),
            "started again": ("resumed", ["--workers", "2"], {}),
        }
        figures["runs"] = {}
        for title, (folder, options, kill_at) in runs.items():
            out = Path(name) / folder
            n_before = n_rows(out)
            row = watch(source, out, *options, "--part", str(part), kill_at=kill_at)
            table = dataset.dataset(out).to_table(columns=["clip"])
            row["clips_done"] = len(table) - n_before
            row["rows"], row["clips"] = len(table), len(set(table["clip"].to_pylist()))
            row["bytes"] = sum(path.stat().st_size for path in out.glob("*.parquet"))
            figures["runs"][title] = row
            print(title, json.dumps(row))
        output = Output(str(Path(name) / "one"), "clips", (), "")
        begun = time.monotonic()
        output.written()
        figures["read_back_s"] = time.monotonic() - begun
    figures["bytes_per_name"] = bytes_per_name("s3://bucket/archive/speaker-0001/")
    return figures


def n_rows(out: Path) -> int:
    """Rows that lie there."""
    return dataset.dataset(out).count_rows() if parts(out) else 0


def bytes_per_name(example: str) -> float:
    """Memory that the driver needs for a clip: its name in a list, and again in what is done."""
    tracemalloc.start()
    names = [f"{example}{i:09d}" for i in range(N_NAMES)]
    done = frozenset(f"{example}{i:09d}" for i in range(N_NAMES))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / max(len(names), len(done))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--part", type=int, default=200)
    asked = parser.parse_args()
    told = measure(asked.clips, asked.part)
    (ROOT / "docs" / "scale.json").write_text(json.dumps(told, indent=1) + "\n")
    (ROOT / "docs" / "scale.md").write_text(document(told))
