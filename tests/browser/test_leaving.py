"""What is left when a visitor closes the page while he talks.

A module of its own: Chromium's microphone of tape is silent when it is opened a second time.
"""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ser_core.labels import LABELS
from ser_core.live import LiveSession
from ser_core.switch import ModelSwitch
from ser_core.web.language import translate
from ser_core.web.page import build_page, launch_options
from tests.browser.conftest import ANSWER_WITHIN_MS

pytestmark = pytest.mark.browser
WAIT = {"timeout": ANSWER_WITHIN_MS}


def test_closing_the_page_lets_go_of_the_sound(
    browser: Browser, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    discard_audio = LiveSession.discard_audio

    def watched(session: LiveSession) -> None:
        held.append(session._window is not None)
        discard_audio(session)
        assert session._window is None

    monkeypatch.setattr(LiveSession, "discard_audio", watched)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    models = ModelSwitch.open(str(model_folder))
    page = build_page(models, examples=tmp_path)
    _, url, _ = page.launch(
        **launch_options(models, clips=tmp_path), prevent_thread_lock=True, quiet=True
    )
    try:
        visitor = browser.new_page()
        visitor.goto(url)
        visitor.get_by_role("tab", name=translate("live_tab")).click()
        visitor.wait_for_timeout(2_000)  # Gradio fetches its recorder after it shows the button
        visitor.get_by_role("button", name="Record", exact=True).click()
        expect(visitor.get_by_role("button", name="Stop", exact=True)).to_be_visible(**WAIT)
        expect(visitor.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
        assert held == []
        visitor.close()
        deadline = time.monotonic() + 20
        while not held and time.monotonic() < deadline:
            time.sleep(0.1)
        assert held == [True]
    finally:
        page.close()
