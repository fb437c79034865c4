"""Long clips and their sound: a growing result, stretches that a click plays, a card to share."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, Route, expect

from ser_core.labels import LABELS, find_emotion
from ser_core.segment_formats import read_segments
from ser_core.web.language import translate
from tests.browser.conftest import ANSWER_WITHIN_MS, EXAMPLE, app_process, slowed
from tests.conftest import data_folder

pytestmark = pytest.mark.browser

WAIT = {"timeout": ANSWER_WITHIN_MS}
SOUND = "document.querySelector('#clip #waveform > div').shadowRoot.querySelector('audio')"
"""JavaScript for the sound of Gradio's player."""
PLAYHEAD = "parseFloat(document.getElementById('result').style.getPropertyValue('--at'))"
FOCUS = "document.activeElement !== document.body"
TOLERANCE_S = 0.3
PAIR = ("angry", "sad")


def example_of(duration_s: float, path: Path) -> Path:
    samples, rate_hz = soundfile.read(EXAMPLE)
    n_samples = round(duration_s * rate_hz)
    soundfile.write(path, np.resize(samples, n_samples), rate_hz)
    return path


@pytest.fixture
def talk(page: Page, tmp_path: Path) -> Iterator[Page]:
    """The page with the result of twelve seconds."""
    page.get_by_role("button", name="Upload file").click()
    page.get_by_test_id("file-upload").set_input_files(example_of(12.0, tmp_path / "talk.wav"))
    expect(page.locator("#result .mm-passages button").first).to_be_visible(**WAIT)
    expect(page.locator("#result").get_by_role("progressbar")).to_have_count(0, **WAIT)
    expect(page.locator("#clip time#duration")).to_have_text("0:12", **WAIT)
    page.evaluate(f"{SOUND}.muted = true")
    yield page
    page.evaluate(f"{SOUND}.pause()")


@pytest.mark.needs_data
def test_two_voices_joined_are_told_as_mixed_with_their_course(page: Page, tmp_path: Path) -> None:
    parts = []
    for name in ("03-01-05-02-01-01-12", "03-01-02-01-01-01-05"):  # angry, then calm
        samples, rate_hz = soundfile.read(data_folder() / "ravdess" / f"{name}.opus")
        parts.append(samples / np.abs(samples).max())
    soundfile.write(tmp_path / "joined.wav", np.concatenate(parts), rate_hz)
    page.get_by_role("button", name="Upload file").click()
    page.get_by_test_id("file-upload").set_input_files(tmp_path / "joined.wav")
    headline = page.locator("#result h2")
    expect(headline).to_have_text(
        re.compile(r"Mixed: angry from .+\ss, then calm from .+\ss\.$"), **WAIT
    )
    buttons = page.locator("#result .mm-passages button")
    expect(buttons).to_have_count(2)


def stretch_of(page: Page, selector: str) -> tuple[float, float]:
    style = page.locator(selector).first.get_attribute("style") or ""
    values = dict(part.split(":") for part in style.split(";") if ":" in part)
    return float(values["--from"]), float(values["--to"])


@pytest.mark.parametrize(
    "selector",
    [
        ".mm-lane span:nth-child(3)",
        ".mm-heat span:nth-child(2)",
        ".mm-bars li:nth-child(2)",
        ".mm-passages li:last-child button",
    ],
)
def test_a_click_on_a_moment_cell_bar_or_passage_plays_it(talk: Page, selector: str) -> None:
    selector = f"#result {selector}"
    start_s, end_s = stretch_of(talk, selector)
    talk.locator(selector).first.click()
    talk.wait_for_function(f"{SOUND}.currentTime > {start_s} && !isNaN({PLAYHEAD})")
    assert talk.evaluate(f"{SOUND}.currentTime") < end_s + TOLERANCE_S
    assert start_s <= talk.evaluate(PLAYHEAD) <= end_s + TOLERANCE_S
    for pictures in (".mm-time", ".mm-heat"):
        line = "one => getComputedStyle(one, '::after').width"
        assert talk.locator(f"#result {pictures}").first.evaluate(line) == "2px"
    talk.wait_for_function(f"{SOUND}.paused", **WAIT)
    assert talk.evaluate(f"{SOUND}.currentTime") == pytest.approx(end_s, abs=TOLERANCE_S)
    expect(talk.locator(".mm-playing")).to_have_count(0)


def test_the_waveform_plays_from_a_click_and_moves_by_keys(talk: Page) -> None:
    seek = talk.get_by_role("slider", name=translate("seek"))
    box = seek.bounding_box()
    assert box is not None
    seek.click(position={"x": box["width"] / 2, "y": 10})
    talk.wait_for_function(f"{SOUND}.currentTime >= 6")
    expect(seek).to_be_focused()
    talk.keyboard.press(" ")
    talk.wait_for_function(f"{SOUND}.paused")
    talk.keyboard.press("Home")
    talk.keyboard.press("ArrowRight")
    talk.wait_for_function(f"Math.abs({PLAYHEAD} - 12 / 50) < 0.05")
    expect(seek).to_have_attribute("aria-valuetext", "0:00.2")


def test_an_axis_has_more_times_when_it_is_zoomed(talk: Page) -> None:
    labels = talk.locator(".mm-timeline .mm-axis span:visible")
    n_before = labels.count()
    talk.get_by_label(translate("timeline_zoom")).fill("10")
    assert labels.count() >= 4 * n_before


@pytest.mark.slow
def test_a_long_clip_grows_with_its_progress_and_keeps_what_is_done_when_stopped(
    page: Page, app_url: str, tmp_path: Path
) -> None:
    page.get_by_role("button", name="Upload file").click()
    page.get_by_test_id("file-upload").set_input_files(example_of(590.0, tmp_path / "long.wav"))
    with slowed(app_process(app_url)):
        bar = page.locator("#result").get_by_role("progressbar")
        expect(bar).to_be_visible(timeout=2 * ANSWER_WITHIN_MS)
        expect(page.locator("#result h2")).to_be_focused(**WAIT)
        n_cells = page.locator("#result .mm-heat").first.locator("span").count()
        assert 0 < n_cells < 190
        page.get_by_role("button", name=translate("stop"), exact=True).first.click()
    expect(page.locator(".mm-stopped")).to_contain_text("9:50", **WAIT)
    n_done = page.locator("#result .mm-heat").first.locator("span").count()
    assert n_cells <= n_done < 190
    expect(page.locator("#result").get_by_role("link", name="moodmirror.json")).to_be_visible()
    expect(page.locator("#clip time#duration")).to_have_text("9:50")


@pytest.fixture
def turns(tmp_path: Path) -> Path:
    """Two utterances with a pause between."""
    parts = [soundfile.read(EXAMPLE.with_name(f"synthetic-{name}.flac")) for name in PAIR]
    path = tmp_path / "turns.wav"
    soundfile.write(path, np.concatenate([np.pad(x, 8_000) for x, _ in parts]), parts[0][1])
    return path


def test_utterances_are_reached_by_keys_played_and_saved_as_a_chosen_format(
    page: Page, turns: Path, tmp_path: Path
) -> None:
    page.get_by_role("button", name="Upload file").click()
    page.get_by_test_id("file-upload").set_input_files(turns)
    rows = page.locator("#result .mm-segments tbody tr")
    expect(rows.first).to_be_visible(**WAIT)
    n_rows = rows.count()
    assert n_rows >= 2
    expect(page.locator("#result .mm-speaker-lane .mm-heat span")).to_have_count(n_rows)
    expect(page.locator("#clip time#duration")).to_be_visible(**WAIT)
    page.evaluate(f"{SOUND}.muted = true")
    buttons = rows.get_by_role("button")
    buttons.first.focus()
    page.keyboard.press("ArrowDown")
    expect(buttons.nth(1)).to_be_focused()
    start_s, end_s = stretch_of(page, "#result tbody tr:nth-child(2) .mm-plays")
    page.keyboard.press("Enter")
    expect(rows.nth(1)).to_have_class("mm-current", **WAIT)
    assert start_s <= page.evaluate(f"{SOUND}.currentTime") <= end_s + TOLERANCE_S
    page.keyboard.press("Enter")
    page.wait_for_function(f"{SOUND}.paused", **WAIT)
    assert Axe().run(page, context="#result").response["violations"] == []
    page.get_by_label(translate("file_format")).select_option(label="TextGrid (Praat)")
    with page.expect_download() as download:
        page.get_by_role("link", name="moodmirror.TextGrid").click()
    download.value.save_as(tmp_path / "saved.TextGrid")
    assert len(read_segments(tmp_path / "saved.TextGrid")) == n_rows


def test_segments_from_a_file_are_analysed_and_a_bad_file_is_a_sentence(
    page: Page, turns: Path, tmp_path: Path
) -> None:
    own, bad = tmp_path / "turns.srt", tmp_path / "bad.srt"
    own.write_text("1\n00:00:00,500 --> 00:00:01,700\n[Ada]: <b>We</b> meet & talk.\n")
    bad.write_text("1\n00:00:00 -> soon\nHi\n")
    page.get_by_role("button", name=translate("options")).click()
    field = page.locator("#own-segments input[type=file]")
    field.set_input_files(bad)
    expect(page.locator("#own-segments")).to_contain_text("bad", **WAIT)
    page.get_by_role("button", name="Upload file").click()
    page.locator("#clip").get_by_test_id("file-upload").set_input_files(turns)
    expect(page.locator("#result [role=alert]")).to_contain_text("bad.srt", **WAIT)
    page.locator("#own-segments").get_by_role("button").first.click()
    field.set_input_files(own)
    expect(page.locator("#own-segments")).to_contain_text("turns", **WAIT)
    page.get_by_role("button", name=translate("analyse"), exact=True).click()
    row = page.locator("#result .mm-segments tbody tr")
    expect(row).to_have_count(1, **WAIT)
    expect(row).to_contain_text("Ada")
    expect(row).to_contain_text("We meet & talk.")


def test_the_focus_never_falls_to_the_body(page: Page) -> None:
    """Each of these buttons is replaced, hidden or inactive once it is used."""
    recorder = page.locator("#clip")

    def press(name: str) -> None:
        recorder.get_by_role("button", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        page.wait_for_function(FOCUS)

    expect(recorder.get_by_role("button", name="Record", exact=True)).to_be_visible(**WAIT)
    press("Record")
    expect(recorder.get_by_role("button", name="Stop", exact=True)).to_be_visible(**WAIT)
    page.wait_for_timeout(1_500)
    press("Stop")
    expect(page.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
    expect(page.locator("#result h2")).to_be_focused(**WAIT)
    press("Clear")
    expect(page.locator("#result")).to_contain_text(translate("empty_heading"), **WAIT)
    page.wait_for_function(FOCUS)
    page.locator("#extras .gallery-item").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
    page.wait_for_function(FOCUS)
    page.locator("body").click(position={"x": 2, "y": 2})
    page.wait_for_timeout(300)
    assert not page.evaluate(FOCUS)  # the visitor's own doing


def test_a_result_is_a_picture_to_share_without_its_sound(page: Page, app_url: str) -> None:
    page.goto(f"{app_url}?example=angry")
    expect(page.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
    with page.expect_download() as download:
        page.get_by_role("button", name=translate("save_card"), exact=True).click()
    assert download.value.suggested_filename == "moodmirror.png"
    content = download.value.path().read_bytes()
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    assert picture.size == (1200, 630)
    assert len(content) < 300_000
    colours = {colour for _, colour in picture.getcolors(1 << 20)}
    for label in LABELS:
        drawn = find_emotion(label).colour.lstrip("#")
        assert tuple(bytes.fromhex(drawn)) in colours, label


def test_a_recording_made_before_gradio_is_there_is_analysed(page: Page, app_url: str) -> None:
    held: list[Route] = []
    sizes: list[int] = []
    page.route("**/assets/index-*.js", lambda route: held.append(route))
    page.on("response", lambda answer: "hls-" in answer.url and sizes.append(len(answer.body())))
    page.goto(app_url, wait_until="commit")
    button = page.locator("#early").get_by_role("button")
    expect(button).to_have_text(translate("early_record"), **WAIT)
    button.click()
    expect(button).to_have_text(translate("early_stop"))
    expect(page.locator("#early .mm-watch")).to_have_text("0:02", **WAIT)
    for route in held:
        route.continue_()
    expect(page.locator("#clip .record-button")).to_be_attached(**WAIT)
    expect(button).to_be_visible()  # it would lose a recording that goes on
    button.click()
    expect(page.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)
    expect(page.locator("#early")).to_have_count(0)
    expect(page.locator("#clip time#duration")).to_have_text(re.compile(r"0:(0[2-9]|\d\d)"))
    assert all(size < 1_000 for size in sizes)
