"""The page while one model passes to another, and where it cannot."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ser_core.web.language import translate
from tests.accurate import Parts, write_parts
from tests.browser.conftest import ANSWER_WITHIN_MS, run_app
from tests.browser.test_page import SCREENSHOTS, answer, upload
from tests.conftest import ROOT
from tests.fake_hub import FakeHub, serve_hub

pytestmark = pytest.mark.browser

APP = """
import sys
from pathlib import Path
import app
from ser_core import registry
from ser_core.model.manifest import Manifest
registry.BUNDLED = Path(sys.argv[1])
registry.PINNED = {name: Manifest.parse(registry.BUNDLED / name).digest for name in registry.PINNED}
app.main()
"""
"""The app with another bundle of models."""
StartApp = Callable[[str], tuple[str, Path]]
"""From the address of a Hub to the app's own, and its log."""
WAIT = {"timeout": 2 * ANSWER_WITHIN_MS}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return write_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def start_app(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartApp]:
    """Starts the app with both models and empty caches, against a Hub."""
    bundle = tmp_path / "model"
    shutil.copytree(ROOT / "model" / "compact", bundle / "compact")
    shutil.copytree(parts.folder, bundle / "accurate")
    monkeypatch.delenv("MOODMIRROR_ENCODER", raising=False)
    environment = {
        "MOODMIRROR_MODEL": "auto",
        "MOODMIRROR_CACHE": str(tmp_path / "cache"),
        "HF_HOME": str(tmp_path / "hub"),
    }
    with ExitStack() as stack:

        def start(hub_url: str) -> tuple[str, Path]:
            arguments, log = ["-c", APP, str(bundle)], tmp_path / "log.txt"
            running = run_app(arguments, log, HF_ENDPOINT=hub_url, **environment)
            return stack.enter_context(running), log

        yield start


@pytest.fixture
def hub(parts: Parts) -> Iterator[FakeHub]:
    with serve_hub(parts.weights.read_bytes()) as hub:
        yield hub


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(ANSWER_WITHIN_MS)
    yield context.new_page()
    context.close()


def test_the_page_answers_at_once_and_moves_over_by_itself(
    visitor: Page, start_app: StartApp, hub: FakeHub, voice: Path
) -> None:
    hub.sends.clear()
    url, log = start_app(hub.url)
    visitor.goto(url)
    note = visitor.get_by_role("status").filter(has_text="model")
    expect(note).to_have_text(translate("note_fetching", name="compact"), **WAIT)
    upload(visitor, voice)
    expect(answer(visitor)).to_contain_text("Analysed by compact")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    visitor.screenshot(path=SCREENSHOTS / "fetching.png", full_page=True)
    hub.sends.set()
    expect(note).to_have_text(translate("note_settled", name="accurate"), **WAIT)
    visitor.get_by_role("tab", name=translate("about_tab")).click()
    expect(visitor.locator("#about")).to_contain_text("accurate 0.1.0", **WAIT)
    visitor.get_by_role("tab", name=translate("listen_tab")).click()
    visitor.get_by_role("button", name=translate("analyse"), exact=True).click()
    expect(visitor.locator("#result")).to_contain_text("Analysed by accurate", **WAIT)
    assert "Traceback" not in log.read_text()


def test_without_a_network_the_page_says_so_and_answers(
    visitor: Page, start_app: StartApp, hub: FakeHub, voice: Path
) -> None:
    hub.answers.clear()
    url, log = start_app(hub.url)
    visitor.goto(url)
    note = visitor.get_by_role("status").filter(has_text="model")
    expect(note).to_have_text(translate("note_offline", name="compact"), **WAIT)
    upload(visitor, voice)
    expect(answer(visitor)).to_contain_text("Analysed by compact")
    said = log.read_text()
    assert said.count("the Hub cannot be reached") == 1
    assert "Traceback" not in said
