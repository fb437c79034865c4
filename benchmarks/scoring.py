"""An archive analysed on this machine: one worker against two, deaths, and memory.

    python -m benchmarks.scoring --clips 20000

Writes docs/scale.json and docs/scale.md. The clips are a few hundred synthetic ones under many
names. Rates are measured from the first part to the last, without the start of the workers.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import soundfile
import typer
from pyarrow import dataset

from benchmarks import ROOT, render, table, write
from ser_core.labels import LABELS
from ser_core.score import Output, ScoreConfig, Task, TaskResult, score
from ser_core.score import run as driver
from ser_core.score.parts import SETTINGS
from ser_core.score.sources import pieces
from ser_lab.evaluate.records import describe_machine
from tests.conftest import RATE_HZ, make_babble

N_VOICES = 300
POLL_S = 0.25
N_NAMES = (1_000_000, 4_000_000)
BUSY_LOAD = 0.5
"""Load of the machine before the runs above which the page mentions other work."""
ARCHIVE_HOURS = 1_000_000
CORE_HOUR_USD = (0.01, 0.05)
"""Assumed, not measured: price of a rented core-hour, interruptible or not."""
CORES = 64
WAV_BYTES_PER_S = 2 * 16_000
SHARD_BYTES = 1e9
RUN_HOURS = 10_000
"""Hours per run of an archive that is split into runs."""

Job = subprocess.Popen[str]


def document(figures: dict[str, Any]) -> str:
    """Return the figures as a page, with their projection to a million hours."""
    clip_s = 3_600 * figures["hours"] / figures["clips"]
    rows = []
    for title, run in figures["runs"].items():
        rate, core_rate = _rates(figures, title)
        memory = ", ".join(f"{mb:.0f}" for mb in (*run["worker_mb"], run["worker_mb_most"]))
        rows.append((
            title, f"{rate:.0f}", f"{core_rate:.0f}", f"{core_rate * clip_s:.0f}",
            f"{run['seconds']:.0f} s", f"{run['first_part_s']:.0f} s", f"{run['rows']:,}",
            f"{run['clips']:,}", f"{memory} MB",
        ))  # fmt: skip
    one, two = _rates(figures, "one worker"), _rates(figures, "two workers")
    is_busy = figures["load_before"] >= BUSY_LOAD
    archive = figures["archive"]
    pools = [
        (
            name, f"{run['seconds']:.0f} s", f"{3_600 * archive['hours'] / run['seconds']:.0f}",
            f"{run['rows']:,}", f"{run['same']:,}",
        )
        for name, run in archive["runs"].items()
    ]  # fmt: skip
    files = [
        (
            name, f"{written['files']:,}", f"{written['segments']:,}",
            f"{written['megabytes']:.1f} MB", f"{written['seconds']:.0f} s",
        )
        for name, written in archive["files"].items()
    ]  # fmt: skip
    return render(
        "scale",
        figures,
        clip_s=clip_s,
        runs=table(rows),
        pools=table(pools),
        files=table(files),
        ratio=two[0] / one[0],
        core_ratio=two[1] / one[1],
        shared=", so other work shared its cores" if is_busy else "",
        with_others=" that they shared with the other work" if is_busy else "",
        **_project(figures, clip_s),
    )


def _rates(figures: dict[str, Any], title: str) -> tuple[float, float]:
    """Return a run's clips per second and per core-second, after the first part."""
    run = figures["runs"][title]
    n_clips = run["clips_done"] - figures["part"]
    return n_clips / run["steady_s"], n_clips / run["steady_cpu_s"]


def _project(figures: dict[str, Any], clip_s: float) -> dict[str, Any]:
    """Return the figures of an archive of a million hours."""
    pace = _rates(figures, "two workers")[1] * clip_s
    core_hours = ARCHIVE_HOURS / pace
    n_clips = ARCHIVE_HOURS * 3_600 / clip_s
    run = figures["runs"]["one worker"]
    in_bytes = ARCHIVE_HOURS * 3_600 * WAV_BYTES_PER_S
    back_s = n_clips * figures["names"][-1]["read_back_s"]
    return {
        "pace": pace,
        "core_hours": core_hours,
        "low_usd": CORE_HOUR_USD[0],
        "high_usd": CORE_HOUR_USD[1],
        "low": core_hours * CORE_HOUR_USD[0],
        "high": core_hours * CORE_HOUR_USD[1],
        "cores": CORES,
        "hours": core_hours / CORES,
        "in_tb": in_bytes / 1e12,
        "read_mb_s": CORES * pace * WAV_BYTES_PER_S / 1e6,
        "n_clips_million": n_clips / 1e6,
        "out_gb": n_clips * run["bytes"] / run["clips"] / 1e9,
        "n_parts_million": n_clips / figures["part"] / 1e6,
        "back_min": back_s / 60,
        "run_hours": RUN_HOURS,
        "run_back_min": back_s / 60 * RUN_HOURS / ARCHIVE_HOURS,
        "shard_gb": SHARD_BYTES / 1e9,
        "n_shards_thousand": in_bytes / SHARD_BYTES / 1e3,
    }


def start_job(source: Path, out: Path, *options: str) -> Job:
    """Start the command as a user does, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ser_core", "score", str(source), str(out), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def count_parts(out: Path) -> int:
    """Return the number of parts in a folder."""
    return len(list(out.glob("part-*.parquet")))


def wait_for(condition: Callable[[], object], job: Job | None = None, *, timeout_s: float) -> None:
    """Wait until a condition holds; raise AssertionError where the job ends first."""
    end = time.monotonic() + timeout_s
    while not condition():
        if job is not None and job.poll() is not None:
            raise AssertionError(f"The run ended first: {job.communicate()}")
        if time.monotonic() > end:
            raise AssertionError("It took too long.")
        time.sleep(0.02)


def workers_of(driver: int) -> list[psutil.Process]:
    """Return the workers of a driver: its own processes, or Ray's actors."""
    workers = []
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(driver).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                command = " ".join(process.cmdline())
                if "spawn_main" in command or "ray::RayWorker" in command:
                    workers.append(process)
    return workers


def make_archive(folder: Path, n_clips: int) -> float:
    """Write synthetic speech of 3 to 7 s under many names; return its hours."""
    lengths_s = []
    for i in range(min(N_VOICES, n_clips)):
        clip = make_babble(seed=i, duration_s=1.0 + 4.0 * (i % 40) / 40)
        lengths_s.append(len(clip) / RATE_HZ)
        soundfile.write(folder / f"{i:05d}.wav", clip, RATE_HZ)
    for i in range(len(lengths_s), n_clips):
        lengths_s.append(lengths_s[i % N_VOICES])
        os.link(folder / f"{i % N_VOICES:05d}.wav", folder / f"{i:05d}.wav")
    return sum(lengths_s) / 3_600


def measure_run(source: Path, out: Path, *options: str, kill_at: dict[int, str]) -> dict[str, Any]:
    """Measure pace and memory of one run.

    Args:
        source: Folder of clips.
        out: Output folder.
        *options: Options of the command.
        kill_at: `worker` or `driver` by the number of parts at which it is killed.
    """
    started, job = time.monotonic(), start_job(source, out, "--model", "compact", *options)
    n_seen, first, last = count_parts(out), 0.0, 0.0
    cpu: dict[int, list[float]] = {}
    peaks = []
    pending = dict(kill_at)
    while job.poll() is None:
        n_parts = count_parts(out)
        if n_parts > n_seen:
            n_seen, last = n_parts, time.monotonic()
            first = first or last
        workers = workers_of(job.pid)
        resident = []
        for worker in workers if first else []:
            with suppress(psutil.NoSuchProcess):
                used_s = sum(worker.cpu_times()[:2])
                cpu.setdefault(worker.pid, [used_s, used_s])[1] = used_s
                resident.append(worker.memory_info().rss / 1e6)
        peaks += [max(resident)] if resident else []
        for at in [at for at in pending if n_parts >= at]:
            (workers[0] if pending.pop(at) == "worker" else job).kill()
        time.sleep(POLL_S)
    text, _ = job.communicate()
    return {
        "options": list(options),
        "killed": list(kill_at.values()),
        "seconds": time.monotonic() - started,
        "first_part_s": first - started,
        "steady_s": last - first,
        "steady_cpu_s": sum(end - start for start, end in cpu.values()),
        "worker_mb": [float(np.median(third)) for third in np.array_split(peaks or [0.0], 3)],
        "worker_mb_most": max(peaks, default=0.0),
        "told": text.strip().split(": ", 1)[-1],
    }


def measure(n_clips: int, part: int) -> dict[str, Any]:
    """Measure all runs over one archive."""
    figures: dict[str, Any] = {"machine": describe_machine(), "clips": n_clips, "part": part}
    figures["load_before"] = os.getloadavg()[0]
    half = -(-n_clips // part) // 2
    runs: dict[str, tuple[str, int, dict[int, str]]] = {
        "one worker": ("one", 1, {}),
        "two workers": ("two", 2, {}),
        "two workers, one killed": ("killed", 2, {half: "worker"}),
        "two workers, driver killed": ("resumed", 2, {half: "driver"}),
        "started again": ("resumed", 2, {}),
    }
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "in"
        source.mkdir()
        figures["hours"] = make_archive(source, n_clips)
        figures["runs"] = {}
        for title, (folder, n_workers, kill_at) in runs.items():
            out = Path(name) / folder
            n_before = dataset.dataset(out).count_rows() if count_parts(out) else 0
            options = ("--workers", str(n_workers), "--part", str(part))
            run = measure_run(source, out, *options, kill_at=kill_at)
            rows = dataset.dataset(out).to_table(columns=["clip"])
            run["clips_done"] = len(rows) - n_before
            run["rows"], run["clips"] = len(rows), len(set(rows["clip"].to_pylist()))
            run["bytes"] = sum(path.stat().st_size for path in out.glob("*.parquet"))
            figures["runs"][title] = run
            print(title, json.dumps(run))
    figures["names"] = measure_names()
    return figures


def measure_names() -> list[dict[str, float]]:
    """Return what made-up names take in a driver, a new process for each of `N_NAMES`."""
    code = "from benchmarks.scoring import plan_names; plan_names({})"
    commands = [[sys.executable, "-c", code.format(n_names)] for n_names in N_NAMES]
    return [json.loads(subprocess.check_output(command, cwd=ROOT)) for command in commands]


def plan_names(n_names: int) -> None:
    """Print memory and times of a driver whose workers do nothing; half was analysed before."""
    source = f"161234_1700000000.0 {'0' * 64}"
    answer = {"emotion": LABELS[0], "confidence": 0.5, "source": source, "model": "compact"}
    answer |= dict.fromkeys(LABELS, 0.125) | {"duration_s": 5.0, "certain": True}

    def list_names(*_: object, **__: object) -> Iterator[str]:
        return (f"s3://bucket/archive/speaker-0001/{i:09d}.wav" for i in range(n_names))

    class IdlePool:
        n_workers = 2

        def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:
            for task in tasks:
                yield TaskResult(task.number, task.n_clips or 0, 0, 0, 0.0, 0)

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / SETTINGS).write_text('{"settings": {}, "run": ""}')
        output = Output(folder, "clips", LABELS, "", "made-up")
        for part in pieces(islice(list_names(), 0, None, 2), 500):
            output.write([{"clip": name} | answer for name in part])
        started = time.monotonic()
        n_written = len(output.written())
        read_back_s = time.monotonic() - started
        with (
            patch.object(driver, "list_clips", list_names),
            patch.object(driver, "stamp_of", lambda _: source.split()[0]),
        ):
            summary = score("", output, IdlePool(), ScoreConfig())
    assert (summary.n_before, summary.n_clips) == (n_written, n_names - n_written)
    status = Path("/proc/self/status").read_text()  # `getrusage` counts the parent's memory, too
    peak_mb = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1_000
    print(json.dumps({"n": n_names, "peak_mb": peak_mb, "read_back_s": read_back_s / n_written}))


def publish(measured: dict[str, Any]) -> None:
    """Replace these figures in docs/scale.json, and write docs/scale.md from all."""
    stored = json.loads((ROOT / "docs" / "scale.json").read_text(encoding="utf-8"))
    figures = stored | measured
    write("scale", figures, document(figures))


def main(clips: int = 20_000, part: int = 200, only_names: bool = False) -> None:
    """Measure, and write both documents; with `only_names`, keep the other figures."""
    publish({"names": measure_names()} if only_names else measure(clips, part))


if __name__ == "__main__":
    typer.run(main)
