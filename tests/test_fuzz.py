"""A few mutated files and requests; `make fuzz` sends a hundred thousand."""

from pathlib import Path

import numpy as np

from benchmarks.fuzz import decode, make_seeds, mutate

N_PER_FORMAT = 25


def test_mutated_files_are_loaded_or_refused_and_nothing_else(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    outcomes = []
    for suffix, content in make_seeds(tmp_path).items():
        path = tmp_path / f"input.{suffix}"
        path.write_bytes(content)
        assert decode(path) == "loaded", suffix
        for _ in range(N_PER_FORMAT):
            path.write_bytes(mutate(content, random))
            outcomes.append(decode(path))
    assert set(outcomes) == {"loaded", "refused"}
