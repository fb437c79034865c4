"""Clips and visits that are over, taken from under an app that goes on answering."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
import soundfile
from playwright.sync_api import Browser, expect

from benchmarks.load import LiveClient, session_of
from ser_core.labels import LABELS
from ser_core.paths import bundled
from ser_core.prediction import Analysis
from ser_core.switch import ModelSwitch
from ser_core.web import cleanup
from ser_core.web.page import build_page, launch_options
from tests.browser.conftest import ANSWER_WITHIN_MS
from tests.browser.test_hostile import call, file_data, upload

pytestmark = pytest.mark.browser
WAIT = {"timeout": ANSWER_WITHIN_MS}
LIFE_S = 3.0
N_VISITS = 30


@pytest.fixture
def swept(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[gr.Blocks, str]]:
    """An app that is swept all the time, and its address."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(cleanup, "CLEANUP_EVERY_S", 0.2)
    monkeypatch.setattr(cleanup, "CLIP_LIFE_S", LIFE_S)
    models = ModelSwitch.open(str(model_folder))
    page = build_page(models, examples=bundled("examples"))
    options = launch_options(models, clips=tmp_path)
    _, url, _ = page.launch(**options, prevent_thread_lock=True, quiet=True)
    yield page, url
    page.close()


def files(folder: Path) -> list[Path]:
    """All files, while folders may go; `rglob` fails then."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def wait_until_cleaned(folder: Path) -> None:
    deadline = time.monotonic() + 10 * LIFE_S
    while files(folder):
        assert time.monotonic() < deadline, files(folder)
        time.sleep(0.1)


def test_nothing_is_left_of_visits_that_are_over_and_who_talks_is_heard_to_the_end(
    swept: tuple[gr.Blocks, str], tmp_path: Path, voice: Path
) -> None:
    page, url = swept
    page._queue.pending_messages_per_session.max_size = N_VISITS // 2
    client = LiveClient(url, *soundfile.read(voice, dtype="float32"))
    with httpx.Client(base_url=url, timeout=30.0) as http, ThreadPoolExecutor() as pool:
        talk = pool.submit(client.stream, 3 * LIFE_S)
        for i in range(N_VISITS):
            clip = upload(http, f"clip-{i}.wav", voice.read_bytes())
            assert "event: complete" in call(http, [file_data(clip), "auto", False])
        assert files(tmp_path)
        *_, summary = talk.result()
    client.close()
    assert session_of(summary)["answers"]
    wait_until_cleaned(tmp_path)
    assert not any(page.temp_file_sets)
    assert len(page._queue.pending_messages_per_session) == 0
    assert len(page.state_holder.session_data) == 1  # the talker's, whose state Gradio keeps


@pytest.mark.slow
def test_a_clip_that_waits_or_is_analysed_stays_until_then(
    swept: tuple[gr.Blocks, str], tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = swept
    analyse = ModelSwitch.analyse

    def analyse_slowly(models: ModelSwitch, source: Any, **options: Any) -> Analysis:
        time.sleep(LIFE_S + 1.0)
        return analyse(models, source, **options)

    monkeypatch.setattr(ModelSwitch, "analyse", analyse_slowly)

    def ask(i: int) -> str:
        with httpx.Client(base_url=url, timeout=60.0) as http:
            clip = upload(http, f"clip-{i}.wav", voice.read_bytes() + bytes(2 * i))
            return call(http, [file_data(clip), "auto", False])

    with ThreadPoolExecutor(4) as visitors:
        assert all("event: complete" in told for told in visitors.map(ask, range(4)))
    wait_until_cleaned(tmp_path)


def test_an_example_answers_long_after_the_page_was_built(
    swept: tuple[gr.Blocks, str], browser: Browser, tmp_path: Path
) -> None:
    _, url = swept
    visitor = browser.new_page()
    visitor.goto(url)
    with httpx.Client(base_url=url) as http:
        upload(http, "another.wav", b"of another visitor")
    wait_until_cleaned(tmp_path)
    visitor.get_by_role("button", name="😠 angry").click()
    expect(visitor.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
    visitor.close()
