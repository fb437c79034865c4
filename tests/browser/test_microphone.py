"""The microphone on the page: recording, refused, missing, in use, and taken away."""

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from ser_core.labels import LABELS
from ser_core.web.language import translate
from tests.browser.conftest import ANSWER_WITHIN_MS, launch

pytestmark = pytest.mark.browser
WAIT = {"timeout": ANSWER_WITHIN_MS}
REFUSED = """
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async wanted => {
        if (window.reason) throw new DOMException("", window.reason);
        return open(wanted);
    };
"""
"""JavaScript that lets a test choose why the microphone does not start."""


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=translate(f"{name}_tab"), exact=True).click()


def microphone(page: Page) -> Locator:
    """The note on the microphone in the open tab."""
    return page.locator(".mm-microphone").filter(visible=True)


def record(page: Page) -> None:
    page.get_by_role("button", name="Record", exact=True).click()


@pytest.fixture
def take_away(page: Page, app_url: str) -> Iterator[Callable[[], None]]:
    """A function that takes the microphone away from the page."""
    session = page.context.new_cdp_session(page)
    context = session.send("Target.getTargetInfo")["targetInfo"]["browserContextId"]

    def take() -> None:
        permission = {"permission": {"name": "microphone"}, "setting": "denied"}
        where = {"origin": app_url.rstrip("/"), "browserContextId": context}
        session.send("Browser.setPermission", permission | where)

    yield take
    session.detach()


def test_analyse_waits_for_a_clip_and_ends_a_recording(page: Page) -> None:
    analyse = page.get_by_role("button", name=translate("analyse"), exact=True)
    expect(analyse).to_be_disabled()
    expect(page.get_by_text("No microphone found")).to_have_count(0)
    record(page)
    expect(microphone(page)).to_contain_text(re.compile(r"Listening … 0:0[1-9]"), **WAIT)
    analyse.click()
    expect(page.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
    expect(microphone(page)).to_have_text("")
    page.get_by_role("button", name="Clear").click()
    expect(analyse).to_be_disabled()


def test_what_came_before_a_lost_microphone_is_analysed(
    page: Page, take_away: Callable[[], None]
) -> None:
    record(page)
    expect(microphone(page)).to_contain_text("0:02", **WAIT)
    take_away()
    expect(page.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
    expect(microphone(page)).to_contain_text(translate("microphone_lost"))


def test_a_session_ends_with_a_lost_microphone(page: Page, take_away: Callable[[], None]) -> None:
    open_tab(page, "live")
    record(page)
    panel = page.locator("#live-result")
    expect(panel).to_contain_text(translate("live_history"), **WAIT)
    take_away()
    expect(panel).to_contain_text(
        re.compile(f"{translate('live_summary_eyebrow')}|{translate('live_nothing')}"), **WAIT
    )
    expect(microphone(page)).to_contain_text(translate("microphone_lost"))


def test_a_session_started_while_gradio_loads_its_recorder_starts_then(
    browser: Browser, app_url: str
) -> None:
    held: list[Route] = []
    is_slow = True

    def hold(route: Route) -> None:
        if is_slow:
            held.append(route)
        else:
            route.continue_()

    with contextlib.closing(browser.new_context()) as context:
        context.set_default_timeout(ANSWER_WITHIN_MS)
        uncaught: list[str] = []
        context.on("weberror", lambda error: uncaught.append(str(error.error)))
        page = context.new_page()
        page.route("**/assets/module-*.js", hold)
        page.goto(app_url)
        open_tab(page, "live")
        record(page)
        page.wait_for_timeout(3_000)
        assert held
        open_tab(page, "listen")
        page.wait_for_timeout(1_500)
        expect(page.get_by_role("button", name="Record", exact=True)).to_be_visible()
        open_tab(page, "live")
        record(page)
        is_slow = False
        for route in held:
            route.continue_()
        expect(page.locator("#live-result")).to_contain_text(translate("live_history"), **WAIT)
        expect(microphone(page)).to_contain_text(re.compile(r"0:0\d"))
        assert uncaught == []


def test_a_microphone_that_does_not_start_is_explained_on_every_tab(
    browser: Browser, app_url: str
) -> None:
    options = ("--deny-permission-prompts", "--use-fake-device-for-media-stream")
    with launch(browser.browser_type, *options) as other:
        page = other.new_page()
        page.add_init_script(REFUSED)
        page.goto(app_url)
        ways_out = {
            "listen": translate("microphone_upload"),
            "live": translate("microphone_upload_tab", tab=translate("listen_tab")),
            "voice": translate("microphone_upload"),
        }
        for tab, way_out in ways_out.items():
            open_tab(page, tab)
            record(page)
            for text in ("microphone_denied", "microphone_allow_chromium"):
                expect(microphone(page)).to_contain_text(translate(text), **WAIT)
            expect(microphone(page)).to_contain_text(way_out)
            expect(page.get_by_text("Error", exact=True)).to_have_count(0)
        for reason, key in {"NotFoundError": "none", "NotReadableError": "busy"}.items():
            page.evaluate(f"window.reason = '{reason}'")
            record(page)
            expect(microphone(page)).to_contain_text(translate(f"microphone_{key}"), **WAIT)
        open_tab(page, "live")
        expect(page.locator("#live-result")).to_contain_text(translate("live_empty_heading"))
