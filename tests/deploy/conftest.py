"""A Hub on loopback, a stand-in for a Space, and the folder that becomes one."""

import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from huggingface_hub import HfApi

from ser_core.deploy.folder import CLIP, Files, copy_files, space_files
from ser_core.deploy.repository import open_hub
from tests.conftest import ROOT
from tests.fake_hub import FakeHub, serve_hub, use_hub

SPACE = "tester/mood"
PLACE = f"spaces/{SPACE}"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that becomes a Space."""
    folder = tmp_path_factory.mktemp("space")
    copy_files(space_files(ROOT), folder)
    return folder


@pytest.fixture(scope="session")
def files(folder: Path) -> Files:
    """A part of it, so that pushing takes no time."""
    names = ["README.md", "requirements.txt", CLIP, "model/accurate/head.keras"]
    return {name: folder / name for name in names}


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The folder, to be spoilt."""
    names = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    copy_files({n: p for n, p in names.items() if p.is_file()}, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="session")
def live() -> Iterator[str]:
    """A Space's app that answers as ours does."""

    def predict(audio: object) -> dict[str, object]:
        assert audio is not None
        shares = {"angry": 0.75, "calm": 0.25}
        answer = {"model": "stand-in 1", "emotion": "angry", "confidence": 0.75}
        return answer | {"probabilities": shares}

    with gr.Blocks(analytics_enabled=False) as page:
        gr.on([], predict, gr.Audio(type="filepath", label="audio"), gr.JSON(), api_name="predict")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield url
    page.close()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, live: str) -> Iterator[FakeHub]:
    """A Hub whose waits take no time, for a user who may write."""
    with serve_hub() as hub:
        use_hub(hub, monkeypatch, cache=tmp_path / "cache")
        hub.repos.new.host = live
        monkeypatch.setenv("HF_TOKEN", "hf_writes")
        monkeypatch.setattr("time.sleep", lambda _: None)
        yield hub


@pytest.fixture
def api(hub: FakeHub) -> HfApi:
    assert hub.url
    return open_hub()


def contents(files: Files) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in files.items()}


def replace_in(path: Path, pattern: str, replacement: str) -> None:
    text, n_changes = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), flags=re.M)
    assert n_changes > 0
    path.write_text(text, encoding="utf-8")
