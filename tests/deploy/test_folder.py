"""What is pushed, and that it runs by itself."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ser_core.deploy.folder import CLIP, space_files
from ser_core.deploy.space import fresh_environment, query_app, smoke_test
from ser_core.errors import HubError
from tests.conftest import ROOT, needs_program

NOT_SERVING = {"__main__.py", "cli", "deploy", "score"}


def test_a_space_gets_what_serving_needs_and_nothing_else() -> None:
    names = set(space_files(ROOT))
    assert {"app.py", "model/compact/saved_model/saved_model.pb", CLIP} <= names
    assert {name.split("/")[0] for name in names if "/" in name} == {
        "ser_core",
        "model",
        "examples",
    }
    package = {path.relative_to(ROOT / "ser_core") for path in (ROOT / "ser_core").rglob("*.*")}
    assert {name for name in names if name.startswith("ser_core/")} == {
        f"ser_core/{path.as_posix()}"
        for path in package
        if path.suffix != ".pyc" and path.parts[0] not in NOT_SERVING
    }
    assert not [name for name in names if name.startswith("examples/") and name.endswith(".py")]


def test_all_that_a_space_imports_of_the_project_is_in_it(folder: Path) -> None:
    for path in folder.rglob("*.py"):
        pattern = r"^\s*(?:from|import) (ser_(?:core|lab)[\w.]*)"
        for name in re.findall(pattern, path.read_text(encoding="utf-8"), re.M):
            module = folder.joinpath(*name.split("."))
            assert module.is_dir() or module.with_suffix(".py").is_file(), f"{path}: {name}"


def test_a_folder_that_is_not_the_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"contains no app\.py, .* so it is not the whole project"):
        space_files(tmp_path)


@needs_program("git")
def test_a_file_that_is_not_under_version_control_is_not_pushed(copy: Path) -> None:
    assert "app.py" in space_files(copy)
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", copy, *command], check=True)
    assert "app.py" in space_files(copy)
    (copy / "examples" / "myself.flac").touch()
    with pytest.raises(HubError, match=r"^examples/myself\.flac would be uploaded but is not"):
        space_files(copy)


@needs_program("git")
def test_the_page_of_the_browser_is_pushed_where_it_is_built(copy: Path) -> None:
    assert not [name for name in space_files(copy) if "browser" in name]
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", copy, *command], check=True)
    built = copy / "examples" / "browser" / "dist"
    built.mkdir(parents=True)
    names = ["index.html", "manifest.json", "model.onnx", "page.js", "run.mjs", "run.wasm"]
    for name in (*names, "myself.flac"):
        (built / name).touch()
    pushed = [name for name in space_files(copy) if "browser" in name]
    assert pushed == [f"examples/browser/dist/{name}" for name in names]


@pytest.mark.slow
def test_the_folder_alone_runs_and_answers(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    told = smoke_test(folder, Path(sys.executable))
    assert re.fullmatch(
        r"smoke test: compact \S+ recognises \w+ \(\d+%\) in synthetic-angry\.flac", told
    )
    assert sorted(folder.rglob("*")) == before


def test_a_folder_that_does_not_run_says_why(copy: Path) -> None:
    (copy / "ser_core" / "web" / "words.py").unlink()
    with pytest.raises(HubError, match=r"The app does not start from that folder: .*words"):
        smoke_test(copy, Path(sys.executable))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of one package, `tiny`, in place of PyPI."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "SIZE = 1\n")
        wheel.writestr(
            "tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        )
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return tmp_path


def test_a_fresh_environment_holds_the_requirements_and_nothing_of_this_one(index: Path) -> None:
    (index / "requirements.txt").write_text("tiny==1.0\n")
    python = fresh_environment(index / "requirements.txt", index / "venv")
    script = "import importlib.util as u, tiny; print(tiny.SIZE, u.find_spec('numpy'))"
    done = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1 None"


def test_requirements_that_cannot_be_installed_are_named(index: Path) -> None:
    (index / "requirements.txt").write_text("tiny==2.0\n")
    with pytest.raises(HubError, match=r"cannot be installed .*No matching .*tiny==2\.0"):
        fresh_environment(index / "requirements.txt", index / "venv")


def test_an_app_that_gives_no_answer_is_told(folder: Path) -> None:
    with pytest.raises(HubError, match=r"does not answer for synthetic-angry\.flac"):
        query_app("http://127.0.0.1:9/", folder / CLIP)
