"""The page in Chromium: what a visitor does, and what he sees."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Locator, Page, expect

from ser_core.labels import LABELS
from ser_core.predictor import Predictor
from ser_core.web.language import translate
from ser_core.web.theme import FAVICON
from tests.browser.conftest import ANSWER_WITHIN_MS, EXAMPLE, REAL_CLIP, to_wav
from tests.conftest import ROOT, data_folder

pytestmark = pytest.mark.browser

SCREENSHOTS = ROOT / "artifacts" / "screenshots"
WAIT = {"timeout": ANSWER_WITHIN_MS}
SHIFT = """
    window.shift = 0;
    new PerformanceObserver(list => list.getEntries().forEach(entry => {
        if (!entry.hadRecentInput) window.shift += entry.value;
    })).observe({ type: "layout-shift", buffered: true });
"""
"""JavaScript that sums up layout shifts (CLS)."""


@pytest.fixture(scope="module")
def predictor(model_folder: Path) -> Predictor:
    return Predictor.from_folder(model_folder)


def upload(page: Page, clip: Path) -> None:
    clear = page.get_by_role("button", name="Clear")
    if clear.is_visible():
        clear.click()
    page.get_by_role("button", name="Upload file").click()
    page.get_by_test_id("file-upload").set_input_files(clip)


def answer(page: Page) -> Locator:
    """The panel, once it holds an answer."""
    expect(page.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
    return page.locator("#result")


def bars(page: Page) -> dict[str, float]:
    """Percentage of each emotion, in the order of the page."""
    answer(page)
    return {
        meter.get_attribute("aria-label") or "": float(
            meter.get_attribute("aria-valuenow") or "nan"
        )
        for meter in page.get_by_role("meter").all()
    }


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_paint_stays_where_it_is(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.add_init_script(SHIFT)
    response = page.reload()
    assert response is not None
    assert response.headers["content-encoding"] == "gzip"
    expect(page.get_by_role("button", name="Record", exact=True)).to_be_visible(**WAIT)
    page.wait_for_timeout(2_000)
    assert page.evaluate("shift") < 0.1


def test_the_page_has_its_own_name_and_icon(page: Page, app_url: str) -> None:
    expect(page).to_have_title("MoodMirror")
    icon = page.request.get(f"{app_url}favicon.ico")
    assert icon.headers["content-type"] == "image/svg+xml"
    assert icon.body() == FAVICON.read_bytes()


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(data_folder() / REAL_CLIP, id="real", marks=pytest.mark.needs_data),
        pytest.param(EXAMPLE, id="synthetic"),
    ],
)
def test_an_upload_is_answered_as_the_predictor_answers(
    page: Page, predictor: Predictor, tmp_path: Path, source: Path
) -> None:
    clip = to_wav(source, tmp_path)
    upload(page, clip)
    shown = bars(page)
    expected = predictor.predict(clip)
    assert tuple(shown) == LABELS
    assert sum(shown.values()) == pytest.approx(100, abs=0.5)
    np.testing.assert_allclose(
        list(shown.values()), 100 * np.array(expected.probabilities), atol=1.0
    )
    assert page.get_by_role("img", name=translate("waveform")).is_visible()
    expect(page.locator("#result")).to_contain_text(f"Analysed by {expected.model}")


def test_a_recording_is_answered_by_itself(page: Page, predictor: Predictor) -> None:
    page.get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(3_000)
    with page.expect_response(re.compile("/upload")) as upload_done:
        page.get_by_role("button", name="Stop", exact=True).click()
    recording = Path(upload_done.value.json()[0])
    assert soundfile.info(recording).format == "WAV"
    assert soundfile.info(recording).samplerate == 44_100
    assert soundfile.info(recording).duration == pytest.approx(3.0, abs=0.5)
    expected = 100 * np.array(predictor.predict(recording).probabilities)
    np.testing.assert_allclose(list(bars(page).values()), expected, atol=1.0)


def test_an_example_is_answered_by_a_click(page: Page, predictor: Predictor) -> None:
    expect(page.get_by_text(translate("examples"))).to_be_visible(**WAIT)
    page.get_by_role("button", name="😠 angry").click()
    expected = 100 * np.array(predictor.predict(EXAMPLE).probabilities)
    np.testing.assert_allclose(list(bars(page).values()), expected, atol=1.0)
    expect(page.locator("#result")).to_contain_text(translate("example_meant", emotion="angry"))


def test_junk_is_explained_and_the_next_clip_is_answered(
    page: Page, voice: Path, tmp_path: Path, app_log: Path
) -> None:
    junk = tmp_path / "junk.wav"
    junk.write_text("This is no sound.")
    logged_before = app_log.read_text()
    upload(page, junk)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("junk.wav", **WAIT)
    assert app_log.read_text() == logged_before
    upload(page, voice)
    answer(page)
    expect(alert).to_have_count(0)


def test_silence_holds_no_speech(page: Page, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(32_000), 16_000)
    upload(page, silence)
    expect(page.get_by_role("alert")).to_contain_text("We heard only silence", **WAIT)


def test_a_faint_clip_is_answered_with_a_warning(page: Page, voice: Path, tmp_path: Path) -> None:
    samples, rate_hz = soundfile.read(voice)
    faint = tmp_path / "faint.wav"
    soundfile.write(faint, samples * 0.004 / np.abs(samples).max(), rate_hz, subtype="FLOAT")
    upload(page, faint)
    expect(answer(page).get_by_role("note")).to_contain_text("very quiet")


def test_clearing_the_clip_clears_the_answer(page: Page, voice: Path) -> None:
    upload(page, voice)
    answer(page)
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text(translate("empty_heading"))).to_be_visible(**WAIT)
    expect(page.get_by_role("meter")).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 390])
def test_arrow_keys_move_from_tab_to_tab(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    tabs = [translate(f"{name}_tab") for name in ("listen", "live", "batch", "voice", "about")]
    page.get_by_role("tab", name=tabs[0], exact=True).focus()
    steps = [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 4), ("ArrowRight", 0)]
    for key, at in [*steps, ("ArrowLeft", 4), ("Home", 0)]:
        page.keyboard.press(key)
        tab = page.get_by_role("tab", name=tabs[at], exact=True)
        expect(tab).to_be_focused()
        expect(tab).to_have_attribute("aria-selected", "true")
