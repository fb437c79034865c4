"""Runs of `score` that something befalls: for the tests, and for the measurements."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.conftest import ROOT

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
