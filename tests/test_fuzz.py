"""A thousand mutated files and requests; `make fuzz` sends a hundred thousand."""

import json
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

from benchmarks.fuzz import decode, make_seeds
from tests.conftest import ROOT


def decode_seeds(folder: Path) -> dict[str, str]:
    """Outcome of each file and request before it is mutated."""
    outcomes = {}
    for suffix, content in make_seeds(folder).items():
        path = folder / f"input.{suffix}"
        path.write_bytes(content)
        outcomes[suffix] = decode(path)
    return outcomes


def test_the_files_and_requests_that_are_mutated_are_valid(tmp_path: Path) -> None:
    with get_context("spawn").Pool(1) as pool:  # the app that it starts ends with it
        outcomes = pool.apply(decode_seeds, (tmp_path,))
    assert set(outcomes.values()) == {"loaded"}, outcomes


def test_mutated_files_are_loaded_or_refused_and_nothing_else() -> None:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--inputs", "1000", "--processes", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(json.loads(done.stdout)["outcomes"]) == {"loaded", "refused"}
