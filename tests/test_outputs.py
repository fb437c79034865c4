"""Every command with a place that it must not, or cannot, write to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ser_lab.fetch import SOURCES
from tests.conftest import ROOT, run_cli
from tests.test_paths import tree

COMMANDS: dict[str, Callable[[Path], list[object]]] = {
    "train": lambda out: ["train", "lstm", "--data", "nowhere", "--out", out],
    "train --runs": lambda out: ["train", "--data", "nowhere", "--out", "new", "--runs", out],
    "reproduce": lambda out: ["reproduce", "lstm", "--data", "nowhere", "--out", out],
    "score": lambda out: ["score", "nowhere", out, "--model", "nowhere"],
    "explore": lambda out: ["explore", "--data", "nowhere", "--out", out],
    "draw": lambda out: ["draw", "nowhere.wav", "--model", "nowhere", "--out", out],
    "robustness": lambda out: ["robustness", "--model", "nowhere", "--out", out],
    "report": lambda out: ["report", "--runs", ROOT / "docs" / "runs", "--out", out],
    "data place": lambda out: ["data", "place", "savee", "nowhere.zip", "--data", out],
    "data fetch": lambda out: ["data", "fetch", "emo-db", "--data", out],
    "teach": lambda out: ["teach", "nowhere.wav", "--model", "nowhere", "--out", out / "x.npz"],
}  # fmt: skip
"""Inputs that do not exist: a complaint about the output comes before they are read."""
FOREIGN = (
    "notes.txt", "x.npz", "figures.md", "reproduction.md", "robustness.md",
    "manifest.json", "README.md", "clips.csv", "part-1.parquet",
    *(f"lstm/{split}/seed-0/notes.txt" for split in ("random", "speaker")),
    *(f"{SOURCES[name].folder}/notes.txt" for name in ("savee", "emo-db")),
)  # fmt: skip


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    foreign = tmp_path / "foreign"
    for name in FOREIGN:
        (foreign / name).parent.mkdir(parents=True, exist_ok=True)
        (foreign / name).write_text("mine")
    (tmp_path / "link").symlink_to(foreign)
    monkeypatch.chdir(foreign)
    return {
        "folder": foreign,
        "link": tmp_path / "link",
        "current": Path(),
        "file": foreign / "notes.txt",
        "below a file": foreign / "notes.txt" / "new",
        "unwritable": Path("/proc/nowhere/new"),
    }


@pytest.mark.parametrize(
    "kind", ["folder", "link", "current", "file", "below a file", "unwritable"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_refuses_before_any_work_what_it_may_not_write(
    command: str, kind: str, places: dict[str, Path]
) -> None:
    before = tree(places["folder"].parent)
    done = run_cli(*COMMANDS[command](places[kind]))
    assert done.exit_code == 2
    assert not done.stdout or command.startswith("data")  # which shows the licence first
    (line,) = done.stderr.splitlines()
    assert line.startswith("moodmirror: ")
    assert any(
        reason in line
        for reason in ("cannot be written", "not replaced", "did not write", "is a ", "is the ")
    ), line
    assert tree(places["folder"].parent) == before


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("report", "data fetch")])
def test_an_empty_or_new_place_is_accepted(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "new", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        done = run_cli(*COMMANDS[command](place))
        assert done.exit_code == 2
        assert "nowhere" in done.stderr
