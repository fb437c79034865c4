"""What those who run the app ask it, asked of a running app."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from prometheus_client.parser import text_string_to_metric_families

from tests.browser.conftest import run_app
from tests.conftest import RATE_HZ

pytestmark = pytest.mark.browser

WITHIN_S = 600
LATE = """
import os, time
from pathlib import Path
from ser_core.registry import ResolvedModel
opened = ResolvedModel.open
def late(model):
    while not Path(os.environ["GO"]).exists():
        time.sleep(0.05)
    if Path(os.environ["GO"]).read_text() == "fail":
        raise MemoryError("no room")
    return opened(model)
ResolvedModel.open = late
import app
app.main()
"""
"""The app whose first model is opened only when a file is there."""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def run_late_app(folder: Path, order: str) -> Iterator[tuple[str, httpx.Response]]:
    """Run it; yield its address, its model opened by order, and its health before."""
    go = folder / "go"
    settings = {"MOODMIRROR_MODEL": "auto", "MOODMIRROR_METRICS": "1", "HF_HUB_OFFLINE": "1"}
    with run_app(["-c", LATE], folder / "log.txt", GO=str(go), **settings) as url:
        before = httpx.get(f"{url}healthz", timeout=60)
        go.write_text(order)
        wait_until(lambda: httpx.get(f"{url}healthz", timeout=60).json().get("state") != "warming")
        yield url, before


@pytest.fixture(scope="module")
def late_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, httpx.Response]]:
    with run_late_app(tmp_path_factory.mktemp("late"), "open") as app:
        yield app


@pytest.fixture
def url(late_app: tuple[str, httpx.Response]) -> str:
    """An app that shows its metrics."""
    return late_app[0]


def check_health(url: str, before: httpx.Response, *, status: int) -> None:
    assert (before.status_code, before.json()) == (503, {"ready": False, "state": "warming"})
    assert before.headers["Retry-After"] == "2"
    after = httpx.get(f"{url}healthz", timeout=60)
    assert (after.status_code, after.json()["ready"]) == (status, status == 200)
    assert httpx.get(url, timeout=60).status_code == 200


def test_the_app_is_ready_only_when_a_model_is_warm(late_app: tuple[str, httpx.Response]) -> None:
    check_health(*late_app, status=200)


def test_the_app_is_not_ready_when_no_model_can_be_opened(tmp_path: Path) -> None:
    with run_late_app(tmp_path, "fail") as app:
        check_health(*app, status=503)


def read(url: str) -> dict[tuple[str, ...], float]:
    """Values of all samples, by name and labels."""
    answer = httpx.get(f"{url}metrics", timeout=60)
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_count_answers_stages_and_what_was_refused(
    url: str, voice: Path, tmp_path: Path
) -> None:
    silent = tmp_path / "secret-name.wav"
    soundfile.write(silent, np.zeros(RATE_HZ), RATE_HZ)
    client = Client(url, verbose=False, analytics_enabled=False)
    before = read(url)
    answer = client.predict(audio=handle_file(voice), api_name="/predict")
    with pytest.raises(AppError, match="heard only silence"):
        client.predict(audio=handle_file(silent), api_name="/predict")
    too_large = {"files": ("secret-name.wav", bytes(50_000_001))}
    assert httpx.post(f"{url}gradio_api/upload", files=too_large, timeout=60).status_code == 413
    after = read(url)

    def more(*sample: str) -> float:
        return after[sample] - before.get(sample, 0.0)

    outcome = "answered" if answer["certain"] else "uncertain"
    assert more("moodmirror_recordings_total", outcome) == 1
    assert more("moodmirror_recordings_total", "no_speech") == 1
    for stage in answer["timings_ms"]:
        assert more("moodmirror_stage_seconds_count", answer["model"], stage) == 1
    seconds = more("moodmirror_stage_seconds_sum", answer["model"], "total")
    assert seconds == pytest.approx(answer["timings_ms"]["total"] / 1_000)
    assert more("moodmirror_rejections_total", "too_large") == 1
    assert more("moodmirror_rejections_total", "queue_full") == 0
    assert more("moodmirror_responses_total", "upload", "200") == 2
    assert after["moodmirror_queue_waiting",] == 0
    assert after["moodmirror_ready",] == 1


def test_metrics_hold_no_name_of_a_file_and_grow_by_nothing_that_is_asked_for(
    url: str, voice: Path
) -> None:
    client = Client(url, verbose=False, analytics_enabled=False)
    client.predict(audio=handle_file(voice), api_name="/predict")
    for i in range(20):
        httpx.get(f"{url}made-up-{i}", timeout=60)
    text = httpx.get(f"{url}metrics", timeout=60).text
    assert "made-up" not in text
    assert voice.stem not in text
    routes = {
        line.split('route="')[1].split('"')[0] for line in text.splitlines() if "route=" in line
    }
    assert routes <= {"page", "healthz", "metrics", "upload", "join", "call", "other"}


def test_nobody_sees_metrics_unless_that_was_asked_for(app_url: str) -> None:
    assert "moodmirror_" not in httpx.get(f"{app_url}metrics", timeout=60).text
    assert httpx.get(f"{app_url}healthz", timeout=60).json()["ready"] is True
