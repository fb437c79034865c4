"""Every command with arguments that are missing, empty, of a wrong type or cannot be written."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import typer
from rich.markup import render

from ser_core import registry
from ser_core.cli import app
from ser_core.names import printable
from ser_core.predictor import Predictor
from ser_core.score import Task, TaskResult, Worker
from tests.conftest import RATE_HZ, ROOT, make_babble, run_cli

CLIP = {"file": "clip.wav", "model": "compact"}
VALID: dict[str, dict[str, Any]] = {
    "predict": {"files": "clip.wav", "model": "compact"},
    "timeline": CLIP,
    "explain": CLIP,
    "compare": {"file": "clip.wav", "models": "compact"},
    "batch": {"files": "clip.wav", "model": "compact"},
    "teach": {"file": "talk.wav", "model": "compact", "out": "new.json"},
    "draw": CLIP | {"out": "new"},
    "segment": {"file": "talk.wav", "model": "compact"},
    "score": {"source": "nothing.wav", "output": "new", "model": "compact"},
    "serve": {"model": "nothing", "port": "8123"},
    "live": {"model": "nothing"},
    "train": {"recipe": "lstm", "data": "nothing", "out": "new", "runs": "new-runs"},
    "evaluate": {"protocol": "ravdess-6fold", "model": "compact", "data": "nothing"},
    "features": {"source": "clip.wav", "output": "new.csv"},
    "report": {"runs": "nothing", "out": "new"},
    "explore": {"data": "nothing", "out": "new"},
    "robustness": {"models": "compact", "data": "nothing", "out": "new"},
    "reproduce": {"name": "lstm", "data": "nothing", "runs": "new-runs", "out": "new"},
    "export": {"model": "nothing", "out": "new"},
    "deploy": {"space": "owner/name", "source": ROOT, "skip_smoke_test": True, "dry_run": True},
    "publish-model": {"folder": ROOT / "model/compact", "repo": "owner/name", "dry_run": True},
    "data fetch": {"names": "savee", "data": "new"},
    "data place": {"name": "savee", "path": "nothing", "data": "new"},
    "data check": {"data": "nothing"},
}
"""Arguments of each command that end it soon, none of them wrong in itself."""
WRONG = {
    "empty": "",
    "missing": "nowhere/there",
    "table": "junk.csv",
    "text": "junk.txt",
    "folder": "folder",
    "unwritable": "/proc/nowhere/new",
    "odd": "[/b]\x1b[31m\udcff\u202e",
}
NEW = {"missing", "odd"}
FOLDER = {*NEW, "empty", "folder"}
ANY = set(WRONG)
ACCEPTED: dict[tuple[str, str], set[str]] = {
    ("batch", "files"): ANY,  # rows with the reason
    ("score", "source"): {*NEW, "table", "text", "folder", "empty"},
    ("score", "output"): NEW,
    ("teach", "out"): NEW,
    ("draw", "out"): NEW,
    ("serve", "host"): {"empty"},
    ("live", "device"): ANY,
    ("train", "out"): NEW,
    ("train", "runs"): FOLDER,
    ("train", "records"): ANY,
    ("evaluate", "runs"): FOLDER,
    ("features", "source"): {"folder"},
    ("report", "out"): FOLDER,
    ("explore", "out"): NEW,
    ("explore", "speakers"): ANY,
    ("robustness", "out"): FOLDER,
    ("reproduce", "variant"): {"empty"},
    ("reproduce", "runs"): FOLDER,
    ("reproduce", "out"): FOLDER,
    ("export", "out"): NEW,
    ("publish-model", "repo"): {"missing"},
    ("data fetch", "data"): ANY,
    ("data place", "path"): {"empty", "folder"},
    ("data place", "data"): FOLDER,
    ("data check", "data"): ANY,
    ("deploy", "space"): {"missing"},
    ("deploy", "hardware"): ANY,
}
"""Values that are right for a parameter, or are needed after all others; messages name the rest."""


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path of each command, and the command."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}".strip())
    if not hasattr(command, "commands"):
        yield path, command


COMMANDS = dict(commands(typer.main.get_command(app)))


def line_of(name: str, values: dict[str, Any]) -> list[str]:
    """Return the words of a command line."""
    words = name.split()
    for parameter in COMMANDS[name].params:
        if (value := values.get(parameter.name)) is not None:
            words += [parameter.opts[0]] if parameter.param_type_name == "option" else []
            words += [] if value is True else [str(value)]
    return words


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    (folder / "folder").mkdir()
    for name in ("junk.csv", "junk.txt", "folder/junk.wav", "folder/junk.json"):
        (folder / name).write_bytes(b"\xff\x00junk,\x1b[31m\n")
    soundfile.write(folder / "clip.wav", make_babble(), RATE_HZ)
    soundfile.write(folder / "talk.wav", make_babble(duration_s=12.0), RATE_HZ)
    return folder


class HerePool:
    """A worker in this process."""

    n_workers = 1

    def __init__(self, _: int, open_predictor: Any, output: Any, config: Any) -> None:
        self._arguments = open_predictor, output, config

    def __enter__(self) -> "HerePool":
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, tasks: list[Task]) -> Iterator[TaskResult]:
        yield from map(Worker(*self._arguments).run, tasks)


@pytest.fixture
def place(
    originals: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with the files, and no model loaded twice, no worker, microphone and port."""
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry.ResolvedModel, "open", lambda _: predictor)
    monkeypatch.setattr("ser_core.score.ProcessPool", HerePool)
    monkeypatch.setattr("ser_core.cli.serve._import_sounddevice", lambda: None)
    for variable in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.setenv(variable, "")


def complaint(words: list[str]) -> str:
    """Return the message of a command line; empty where it is right."""
    done = run_cli(*words)
    assert (done.exit_code == 2) or (done.exit_code == 0 and not done.stderr), (words, done.stderr)
    assert "\x1b" not in done.output, words
    done.output.encode()  # valid UTF-8
    lines = [line for line in done.stderr.splitlines() if not line.startswith("clips ")]
    assert len(lines) <= 2, (words, lines)
    assert all(line.startswith("moodmirror: ") for line in lines), (words, lines)
    return " ".join(lines)


def test_no_command_is_forgotten() -> None:
    assert set(VALID) == set(COMMANDS)


@pytest.mark.parametrize("name", VALID)
@pytest.mark.usefixtures("place")
def test_a_wrong_argument_is_a_line_that_names_it(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if getattr(parameter, "is_flag", False):
            continue
        for kind, value in WRONG.items():
            line = complaint(line_of(name, VALID[name] | {parameter.name: value}))
            if kind not in ACCEPTED.get((name, parameter.name), ()):
                assert line, (parameter.name, kind)
                end = Path(value).name
                named = (printable(end), repr(end)[1:-1], f"'{parameter.opts[0]}'")
                assert any(word in line for word in named), (parameter.name, kind, line)


@pytest.mark.parametrize("name", VALID)
@pytest.mark.usefixtures("place")
def test_arguments_that_are_absent_or_unknown_are_a_line(name: str) -> None:
    words = line_of(name, VALID[name])
    assert "No such option: --nothing" in complaint([*words, "--nothing"])
    needed = [p for p in COMMANDS[name].params if p.required]
    for parameter in needed:
        without = {k: v for k, v in VALID[name].items() if k != parameter.name}
        assert "Missing " in complaint(line_of(name, without))
    if not any(p.nargs == -1 for p in COMMANDS[name].params):
        extra = ["one", "two", "three"]
        assert "unexpected extra argument" in complaint([*words, *extra])


@pytest.mark.parametrize("name", VALID)
def test_no_help_loses_words_to_markup(name: str) -> None:
    texts = [COMMANDS[name].help, *(getattr(p, "help", None) for p in COMMANDS[name].params)]
    for text in filter(None, texts):
        assert render(text).plain == text
