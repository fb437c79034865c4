"""What a wheel carries, and the commands that it brings."""

import json
import queue
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from ser_core import __version__
from ser_core.cli import app
from ser_core.cli import serve as serve_commands
from ser_core.labels import LABELS
from ser_core.paths import bundled
from tests.conftest import RATE_HZ, ROOT, make_babble, needs_checkout
from tools.release import notes

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS = {
    "predict", "timeline", "explain", "compare", "batch", "teach", "draw", "score", "serve", "live",
    "train", "evaluate", "report", "robustness",
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built with the setuptools that are here, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    copy = folder / "checkout"
    names = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in names.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", build, str(folder)], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_every_package_goes_into_the_wheel() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for root in ("ser_core", "ser_lab")
        for path in (ROOT / root).rglob("__init__.py")
    }
    mapped = set(PROJECT["tool"]["setuptools"]["package-dir"])
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found | mapped


@needs_checkout
def test_a_wheel_carries_both_packages_the_models_and_the_examples(
    wheel: zipfile.ZipFile, bundled_model: Path
) -> None:
    names = set(wheel.namelist())
    for model in bundled_model.parent.iterdir():
        manifest = json.loads((model / "manifest.json").read_text())
        for name in ("manifest.json", *manifest["files"]):
            carried = wheel.read(f"ser_core/bundled/model/{model.name}/{name}")
            assert carried == (model / name).read_bytes()
    assert "ser_core/bundled/examples/synthetic-angry.flac" in names
    needed = {
        path.relative_to(ROOT).as_posix()
        for package in ("ser_core", "ser_lab")
        for path in (ROOT / package).rglob("*.*")
        if path.suffix != ".pyc"
    }
    assert names >= needed
    assert not [n for n in names if n.startswith(("tests/", "docs/", "tools/", "benchmarks/"))]


@needs_checkout
def test_the_wheels_metadata_says_what_the_package_says(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    text = wheel.read(metadata).decode()
    assert f"\nVersion: {__version__}\n" in text
    assert "Requires-Dist: gradio==" in text
    assert "Provides-Extra: cluster" in text
    (entries,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert wheel.read(entries).decode().split() == [
        "[console_scripts]", "moodmirror", "=", "ser_core.cli:app",
    ]  # fmt: skip


@needs_checkout
def test_a_wheel_without_a_checkout_finds_its_model(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = "from ser_core.registry import BUNDLED, resolve; print(BUNDLED); resolve('compact')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.strip() == str(tmp_path / "ser_core" / "bundled" / "model"), done.stderr


def test_a_checkout_finds_what_lies_in_its_root() -> None:
    assert bundled("model") == ROOT / "model"
    assert bundled("examples") == ROOT / "examples"


def test_every_command_has_a_help_text() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(commands) >= COMMANDS
    for name, command in commands.items():
        assert command.help, name
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


def test_the_microphone_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = CliRunner().invoke(app, ["live"])
    assert done.exit_code == 2
    assert "pip install 'moodmirror[microphone]'" in done.output


class Microphone:
    """What `live` uses of sounddevice; it gives three seconds of made-up speech at once."""

    PortAudioError = OSError

    class InputStream:
        def __init__(self, *, samplerate: int, callback: Any, device: Any, **_: Any) -> None:
            assert (samplerate, device) == (RATE_HZ, 3)
            self._hand_over = callback

        def __enter__(self) -> None:
            for block in np.array_split(make_babble()[RATE_HZ:-RATE_HZ], 8):
                self._hand_over(block[:, np.newaxis], len(block), None, None)

        def __exit__(self, *_: object) -> None:
            pass


class Interrupted(queue.Queue[Any]):
    """Ctrl-C, once all blocks are read."""

    def get(self, *_: Any) -> Any:
        if self.empty():
            raise KeyboardInterrupt
        return super().get()


def test_live_prints_results_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Microphone)
    monkeypatch.setattr(serve_commands.queue, "Queue", Interrupted)
    done = CliRunner().invoke(app, ["live", "--model", "compact", "--device", "3"])
    assert done.exit_code == 0, done.output
    *answers, summary = done.output.splitlines()
    assert [float(line.split()[0]) for line in answers] == [0.5, 1.0, 1.5, 2.0]
    assert answers[0].endswith("…")
    assert answers[-1].split()[2] in LABELS
    assert summary.startswith("2 s analysed. ")
    assert summary.endswith("%")


def test_serve_hands_on_where_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    served: dict[str, str] = {}
    monkeypatch.setattr("ser_core.web.page.serve", lambda model, **_: served.update(model=model))
    monkeypatch.setenv("GRADIO_SERVER_NAME", "")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7860")
    done = CliRunner().invoke(app, ["serve", "--port", "8123", "--model", "compact"])
    assert done.exit_code == 0, done.output
    assert serve_commands.os.environ["GRADIO_SERVER_PORT"] == "8123"
    assert served == {"model": "compact"}


def test_the_notes_are_the_versions_section() -> None:
    changelog = "# Changelog\n\n## Unreleased\n\n- soon\n\n## 0.2.0 - 2026-11-21\n\n- now\n"
    assert notes(changelog, "0.2.0") == "# MoodMirror 0.2.0 - 2026-11-21\n\n- now\n"
    assert "- soon" in notes(changelog, "0.3.0")
    with pytest.raises(SystemExit, match=r"no section 0\.3\.0"):
        notes("# Changelog\n", "0.3.0")
