"""Scoring an archive on this machine: one worker against two, deaths, and memory.

    python -m benchmarks.scoring --clips 20000

Writes docs/scale.json and docs/scale.md. The clips are a few hundred made-up ones under many
names. Rates are taken from the first part to the last, so that starting the workers is apart.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from pyarrow import dataset

from ser_core.score import Output
from ser_lab.evaluate.records import describe_machine
from tests.conftest import RATE_HZ, ROOT, make_babble

ARCHIVE_HOURS = 1_000_000
CORE_HOUR_USD = (0.01, 0.05)
"""Assumed, not measured: what a rented core-hour costs, interrupted at will or kept."""
CORES = 64
WAV_BYTES_PER_S = 2 * 16_000
SHARD_BYTES = 1e9
RUN_HOURS = 10_000
"""Of an archive taken in runs of their own, so much a run."""


def rate_of(figures: dict[str, Any], title: str) -> float:
    """Clips a second after the first part."""
    row = figures["runs"][title]
    return float((row["clips_done"] - figures["part"]) / row["steady_s"])


def rate_of_core(figures: dict[str, Any], title: str) -> float:
    """Clips in a second of a core's time, after the first part."""
    row = figures["runs"][title]
    return float((row["clips_done"] - figures["part"]) / row["steady_cpu_s"])


BUSY_LOAD = 0.5
"""Load of the machine before the runs from which on other work is told of."""


def document(figures: dict[str, Any]) -> str:
    """The figures as tables, and what follows from them for a million hours."""
    machine = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    clip_s = 3_600 * figures["hours"] / figures["clips"]
    is_busy = figures["load_before"] >= BUSY_LOAD
    shared = ", so other work shared its cores" if is_busy else ""
    lines = [
        "# Archives",
        "",
        "`python -m ser_core score INPUT OUTPUT` judges whole archives. Written by `make "
        f"score-bench` ({machine}; the machine's load was {figures['load_before']:.1f} "
        f"before{shared}): "
        f"{figures['clips']:,} clips of made-up speech, {clip_s:.1f} s on average, "
        f"{figures['hours']:.1f} h together, a few hundred under many names; model `compact`; "
        f"parts of {figures['part']} clips.",
        "",
        "| run | clips a second | clips a core-second | audio hours a core-hour | whole run | "
        "until the first part | rows | clips | a worker's memory by thirds, and the most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for title, row in figures["runs"].items():
        rate, core = rate_of(figures, title), rate_of_core(figures, title)
        memory = ", ".join(f"{mb:.0f}" for mb in (*row["worker_mb"], row["worker_mb_most"]))
        lines.append(
            f"| {title} | {rate:.0f} | {core:.0f} | {core * clip_s:.0f} | {row['seconds']:.0f} s | "
            f"{row['first_part_s']:.0f} s | {row['rows']:,} | {row['clips']:,} | {memory} MB |"
        )
    ratio = rate_of(figures, "two workers") / rate_of(figures, "one worker")
    core_ratio = rate_of_core(figures, "two workers") / rate_of_core(figures, "one worker")
    lines += [
        "",
        "Clips a second are those after the first part, by the clock and by the time that the "
        f"workers had on a core. By the clock two workers were {ratio:.2f} times as fast as one, "
        f"on two cores{' that they shared with the other work' if is_busy else ''}; clips a "
        f"core-second were {core_ratio:.2f} times those of one worker. The worker and the "
        "driver were killed (SIGKILL) half-way, and what opening a model anew took counts in their "
        "rates; rows and clips are those in the folder after the "
        "run, and where they are equal no clip was done twice.",
        "",
    ]
    return "\n".join(lines + _million(figures, clip_s)) + "\n"


def _million(figures: dict[str, Any], clip_s: float) -> list[str]:
    """On paper: an archive of a million hours."""
    hours_per_core_hour = rate_of_core(figures, "two workers") * clip_s
    core_hours = ARCHIVE_HOURS / hours_per_core_hour
    low, high = (core_hours * usd for usd in CORE_HOUR_USD)
    n_clips = ARCHIVE_HOURS * 3_600 / clip_s
    whole = figures["runs"]["one worker"]
    out_gb = n_clips * whole["bytes"] / whole["clips"] / 1e9
    in_tb = ARCHIVE_HOURS * 3_600 * WAV_BYTES_PER_S / 1e12
    read_mb_s = CORES * hours_per_core_hour * WAV_BYTES_PER_S / 1e6
    driver_gb = n_clips * figures["bytes_per_name"] / 1e9
    run_gb = driver_gb * RUN_HOURS / ARCHIVE_HOURS
    parts = n_clips / figures["part"]
    back_s = n_clips * figures["read_back_s"] / whole["clips"]
    return [
        "## A million hours, on paper",
        "",
        "From the figures above, clips of the same length, as WAV with 16 bits at 16 kHz; the "
        f"price of a core-hour, {CORE_HOUR_USD[0]} to {CORE_HOUR_USD[1]} USD, is an assumption.",
        "",
        "| | |",
        "|---|---|",
        f"| one core | {hours_per_core_hour:.0f} audio hours an hour |",
        f"| all of it | {core_hours:,.0f} core-hours, {low:,.0f} to {high:,.0f} USD |",
        f"| on {CORES} cores | {core_hours / CORES:.1f} hours |",
        f"| to be read | {in_tb:,.0f} TB, {read_mb_s:,.0f} MB a second for {CORES} cores |",
        f"| clips | {n_clips / 1e6:,.0f} million |",
        f"| to be written | {out_gb:,.0f} GB in {parts / 1e6:.1f} million parts |",
        f"| names in the driver | {driver_gb:,.0f} GB, if it were one run |",
        f"| reading back what is done | {back_s / 60:,.0f} minutes, if it were one run |",
        "",
        "What would break first, in this order:",
        "",
        f"1. The driver's memory. It holds the name of every clip, twice where it resumes: "
        f"{driver_gb:,.0f} GB. Take the archive in runs of {RUN_HOURS:,} hours, each with an "
        f"OUTPUT of its own: {run_gb:.1f} GB and {back_s * RUN_HOURS / ARCHIVE_HOURS:.0f} s of "
        "reading back each.",
        f"2. Reading. {n_clips / 1e6:,.0f} million single files are as many requests, which in an "
        f"object store cost more than the judging. Pack them into tars of {SHARD_BYTES / 1e9:.0f} "
        f"GB ({in_tb * 1e12 / SHARD_BYTES / 1e3:,.0f} thousand of them), or lossless as FLAC. The "
        "network has to bring what the cores take: keep the workers where the sound lies.",
        "3. The number of parts. Raise `--part`: a killed worker repeats more, readers of "
        "Parquet open fewer files.",
        "4. Clips that kill a worker (a decoder's bug, memory). Each is cut out of its task in a "
        "few rounds and becomes a row with an error; a shard that holds one is read once a round.",
        "",
        "Not measured: more than one machine, and an object store. Ray Data's actors "
        "(`--ray`, on the cluster that `RAY_ADDRESS` names) do the same tasks and pass the same "
        "tests on one machine.",
    ]


Doing = subprocess.Popen[str]


def begin(source: Path, out: Path, *options: str) -> Doing:
    """Start the command as a user does, as the head of a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ser_core", "score", str(source), str(out), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def parts(out: Path) -> int:
    """Parts that lie there."""
    return len(list(out.glob("part-*.parquet")))


def wait_for(what: Callable[[], object], doing: Doing | None = None, *, patience_s: float) -> None:
    """Wait until something is so."""
    end = time.monotonic() + patience_s
    while not what():
        if doing is not None and doing.poll() is not None:
            raise AssertionError(f"The run ended first: {doing.communicate()}")
        if time.monotonic() > end:
            raise AssertionError("It took too long.")
        time.sleep(0.02)


def workers_of(driver: int) -> list[int]:
    """Processes under a driver that judge clips: its own, or Ray's actors."""
    return [
        process
        for process in _under(driver)
        if any(mark in _command(process) for mark in (b"spawn_main", b"ray::MapWorker"))
    ]


def kill(process: int) -> None:
    """Without a goodbye."""
    os.kill(process, signal.SIGKILL)


def resident_mb(process: int) -> float:
    """Memory that a process holds now; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(process: int) -> float:
    """Processor time that a process has used; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def _under(process: int) -> Iterator[int]:
    """Children, and theirs."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        parents.setdefault(parent, []).append(int(status.parent.name))
    waiting = [process]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            yield child
            waiting.append(child)


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
