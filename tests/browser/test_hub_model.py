"""The app with a model of the Hub, by its address alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from tests.browser.conftest import EXAMPLE, run_app
from tests.conftest import ROOT
from tests.fake_hub import FakeHub, serve_hub
from tests.fake_repos import Repo

pytestmark = pytest.mark.browser

ADDRESS = "hf://tester/voice"


@pytest.fixture
def hub(bundled_model: Path) -> Iterator[FakeHub]:
    """A Hub that holds the compact model."""
    with serve_hub() as hub:
        hub.repos.repos["models/tester/voice"] = Repo.of_folder(bundled_model)
        yield hub


def test_the_app_answers_with_a_model_of_the_hub_and_logs_its_commit(
    hub: FakeHub, tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache")}
    with run_app([str(ROOT / "app.py")], log, MOODMIRROR_MODEL=ADDRESS, **settings) as url:
        assert httpx.get(f"{url}healthz", timeout=30).json()["model"].startswith("compact ")
        client = Client(url, verbose=False, analytics_enabled=False)
        answer = client.predict(audio=handle_file(EXAMPLE), api_name="/predict")
        assert answer["model"].startswith("compact ")
    commit = hub.repos.repos["models/tester/voice"].commit
    assert f"is currently hf://tester/voice@{commit}" in log.read_text()


def test_the_app_does_not_start_with_a_tampered_model(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos.repos["models/tester/voice"].files["network.keras"] += b"\0"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("MOODMIRROR_MODEL", ADDRESS)
    done = subprocess.run([sys.executable, "app.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    refusal = done.stderr.splitlines()[-1]
    assert refusal.startswith(f"MoodMirror cannot start. {ADDRESS}@")
    assert "network.keras is not the file that the manifest describes" in refusal
