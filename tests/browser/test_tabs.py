"""What the page offers beside an answer: closer looks, models, links, a taught voice, About."""

import json
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ser_core.labels import LABELS
from ser_core.plots import PICTURES
from ser_core.web.language import translate
from tests.browser.conftest import ANSWER_WITHIN_MS, EXAMPLE
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

WAIT = {"timeout": ANSWER_WITHIN_MS}
SCREENSHOTS = ROOT / "artifacts" / "screenshots"
TABS = {"live": "#live-result", "batch": "#batch-note", "voice": "#voice-note", "about": "#about"}
"""Beside the first tab: the names of the others, and something that each of them shows."""
AT_REST = """() => document.getAnimations().every(
    a => a.playState !== "running" || a.effect.getTiming().iterations === Infinity
)"""
SMALL_TARGETS = """() => [...document.querySelectorAll("button, a, summary, label:has(input)")]
    .filter(target => target.checkVisibility({ visibilityProperty: true }))
    .map(target => [target, target.getBoundingClientRect()])
    .filter(([, box]) => box.width && Math.ceil(Math.min(box.width, box.height)) < 44)
    .map(([target]) => target.outerHTML.slice(0, 200))"""


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Twelve seconds of the example voice."""
    samples, rate_hz = soundfile.read(EXAMPLE)
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.tile(samples, 1 + 12 * rate_hz // len(samples)), rate_hz)
    return path


def picture(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def open_tab(page: Page, name: str) -> None:
    """Open a tab and wait until it is at rest."""
    page.get_by_role("tab", name=translate(f"{name}_tab")).click()
    expect(page.locator(TABS[name])).to_be_visible(**WAIT)
    page.wait_for_function(AT_REST)


def open_example(page: Page, app_url: str, query: str = "") -> None:
    """Arrive by a shared link."""
    page.goto(f"{app_url}?example=angry{query}")
    expect(page.locator("#result")).to_contain_text(
        translate("answered_by", model="compact")[:-1], **WAIT
    )


def test_the_sound_is_drawn_when_it_is_asked_for(page: Page, app_url: str) -> None:
    open_example(page, app_url)
    expect(page.locator("#see-pictures img")).to_have_count(0)
    page.get_by_role("button", name=translate("see")).click()
    expect(page.locator("#see-pictures img")).to_have_count(len(PICTURES), **WAIT)
    for image in page.locator("#see-pictures img").all():
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    picture(page, "see")


def test_each_step_can_be_heard(page: Page, app_url: str) -> None:
    open_example(page, app_url, "&denoise=1")
    page.get_by_role("button", name=translate("steps")).click()
    players = page.locator("#steps-stages audio")
    expect(players).to_have_count(4, **WAIT)
    players.last.scroll_into_view_if_needed()
    players.last.evaluate("player => { player.muted = true; return player.play(); }")
    seconds = players.last.evaluate("player => player.duration")
    assert 1.0 < seconds < 4.0
    expect(page.locator("#steps-stages img")).to_have_count(1)
    picture(page, "steps")


def test_a_link_leads_back_to_the_same_setting(page: Page, app_url: str) -> None:
    open_example(page, app_url, "&model=compact&denoise=1")
    page.get_by_role("button", name=translate("options")).click()
    expect(page.get_by_label(translate("model_compact"))).to_be_checked()
    page.get_by_role("button", name=translate("share")).click()
    link = page.locator("#share-link a")
    expect(link).to_have_attribute("href", f"{app_url}?example=angry&model=compact&denoise=1")
    expect(page.locator("#share-link")).to_contain_text(translate("share_copied"))


def test_a_clip_that_no_link_can_hold_has_none(page: Page, voice: Path) -> None:
    page.get_by_role("button", name=translate("options")).click()
    share = page.get_by_role("button", name=translate("share"))
    expect(share).to_be_enabled()
    page.get_by_role("button", name="Upload file").click()
    page.get_by_test_id("file-upload").first.set_input_files(voice)
    expect(page.locator("#share-link")).to_contain_text(translate("share_refused"), **WAIT)
    expect(share).to_be_disabled()


def test_a_result_of_other_options_is_marked_and_made_again(page: Page, app_url: str) -> None:
    open_example(page, app_url)
    note = page.locator(".mm-outdated")
    expect(note).to_be_hidden()
    page.get_by_role("button", name=translate("options")).click()
    denoise = page.get_by_label(translate("denoise"), exact=True)
    denoise.check()
    expect(note).to_be_visible()
    denoise.uncheck()
    expect(note).to_be_hidden()
    page.get_by_label(translate("model_both")).check()
    note.get_by_role("button", name=translate("analyse_again")).click()
    result = page.locator("#result")
    expect(result).to_contain_text(translate("agreement_one", model="compact")[:-1], **WAIT)
    expect(note).to_be_hidden()
    expect(result.locator(".mm-lane")).to_have_count(1)
    expect(result.get_by_role("link", name="moodmirror.json")).to_be_visible()


def test_a_link_that_asks_for_nonsense_opens_the_page_as_ever(page: Page, app_url: str) -> None:
    page.goto(f"{app_url}?example=../../etc/passwd&model=other&denoise=x")
    expect(page.locator("#result")).to_contain_text(translate("empty_heading"), **WAIT)
    page.get_by_role("button", name=translate("options")).click()
    expect(page.get_by_label(translate("model_auto"))).to_be_checked()


def test_a_model_that_is_not_at_hand_is_a_sentence(page: Page, app_url: str) -> None:
    page.goto(f"{app_url}?example=angry&model=accurate")
    expect(page.locator("#result")).to_contain_text("accurate model is not available here", **WAIT)


def test_models_stand_side_by_side(page: Page, app_url: str) -> None:
    open_example(page, app_url, "&model=both")
    expect(page.locator("#result")).to_contain_text(
        translate("agreement_one", model="compact")[:-1]
    )


def test_a_voice_is_taught_corrected_kept_forgotten_and_loaded(
    page: Page, talk: Path, tmp_path: Path
) -> None:
    page.get_by_role("tab", name=translate("voice_tab")).click()
    page.locator("#voice-clip").get_by_role("button", name="Upload file").click()
    page.locator("#voice-clip").get_by_test_id("file-upload").set_input_files(talk)
    expect(
        page.locator("#voice-clip").get_by_role("button", name="Play", exact=True)
    ).to_be_visible(**WAIT)
    page.get_by_role("button", name=translate("voice_create")).click()
    note = page.locator("#voice-note")
    expect(note).to_contain_text("Your voice profile for compact", **WAIT)
    picture(page, "voice")
    with page.expect_download() as download:
        page.get_by_role("link", name="moodmirror-voice.json").click()
    kept = tmp_path / "kept.json"
    download.value.save_as(kept)
    assert json.loads(kept.read_text())["corrections"] == []

    page.get_by_role("tab", name=translate("listen_tab")).click()
    page.get_by_role("button", name=re.compile("angry$")).first.click()
    result = page.locator("#result")
    expect(result).to_contain_text(translate("voice_eyebrow"), **WAIT)
    expect(result.locator("h2")).to_have_count(1)
    meters = page.get_by_role("meter")
    expect(meters).to_have_count(len(LABELS))
    expect(meters.first).to_have_attribute("aria-valuetext", re.compile("without your profile"))
    headline = result.locator("h2").inner_text()
    picture(page, "relative")
    page.get_by_label(translate("correction")).click()
    page.get_by_role("option", name="sad").click()
    page.get_by_role("button", name=translate("correct"), exact=True).click()
    expect(page.locator("#correction-note")).to_contain_text(
        translate("corrected", n=1, most=20), **WAIT
    )
    expect(result.locator("h2")).not_to_have_text(headline, **WAIT)

    page.get_by_role("tab", name=translate("voice_tab")).click()
    expect(note).to_contain_text("corrections: 1")
    page.get_by_role("button", name=translate("voice_delete")).click()
    expect(note).to_contain_text(translate("voice_unknown"), **WAIT)
    expect(page.get_by_role("button", name=translate("voice_create"))).to_be_disabled(**WAIT)
    expect(result).not_to_contain_text(translate("voice_eyebrow"), **WAIT)
    expect(result).to_contain_text(translate("answer_eyebrow"))
    expect(page.locator("#correction")).to_be_hidden()
    page.locator("#voice-file input[type=file]").set_input_files(kept)
    expect(note).to_contain_text("Your voice profile for compact", **WAIT)


def test_a_profile_needs_a_clip_and_a_foreign_file_is_a_sentence(
    page: Page, tmp_path: Path
) -> None:
    page.get_by_role("tab", name=translate("voice_tab")).click()
    expect(page.get_by_role("button", name=translate("voice_create"))).to_be_disabled()
    note = page.locator("#voice-note")
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"hello": 1}')
    page.locator("#voice-file input[type=file]").set_input_files(foreign)
    expect(note).to_contain_text("not a MoodMirror voice profile", **WAIT)
    expect(note).to_contain_text(translate("voice_file_failed"))
    expect(note).not_to_contain_text(translate("hints_heading"))


def test_about_tells_figures_limits_and_licences(page: Page) -> None:
    page.get_by_role("tab", name=translate("about_tab")).click()
    about = page.locator("#about")
    for told in (translate("never_heading"), "UAR", "CC-BY-NC-SA-4.0", "no later than"):
        expect(about).to_contain_text(told)
    picture(page, "about")
    page.set_viewport_size({"width": 390, "height": 844})
    ends = "all => all.map(one => one.getBoundingClientRect().right)"
    assert max(about.locator("section, .mm-scroll").evaluate_all(ends)) <= 390


def list_barriers(page: Page) -> list[tuple[str, list[str]]]:
    """Rules that the open tab breaks, by axe, and the first places."""
    found = Axe().run(page).response["violations"]
    return [
        (violation["id"], [node["html"][:160] for node in violation["nodes"][:3]])
        for violation in found
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_tab_shuts_anybody_out(page: Page, app_url: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    open_example(page, app_url)
    page.get_by_role("button", name=translate("options")).click()
    page.wait_for_function(AT_REST)
    barriers = {"listen": list_barriers(page)}
    for tab in TABS:
        open_tab(page, tab)
        barriers[tab] = list_barriers(page)
    assert not any(barriers.values()), barriers


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_tab_fits_its_window(
    browser: Browser, app_url: str, scheme: Literal["light", "dark"], width: int
) -> None:
    """No sideways scrolling, room for fingers, the answer in view; keeps screenshots."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=width < 500
    )
    page = context.new_page()
    page.goto(app_url)

    def check(name: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert width > 500 or page.evaluate(SMALL_TARGETS) == [], name
        page.screenshot(
            path=SCREENSHOTS / f"{name}-{width}-{scheme}.png",
            full_page=True,
            animations="disabled",
        )

    expect(page.get_by_text(translate("empty_heading"))).to_be_visible(**WAIT)
    check("empty")
    page.get_by_role("button", name="😠 angry").click()
    meters = page.get_by_role("meter")
    expect(meters).to_have_count(len(LABELS), **WAIT)
    headline = page.locator("#result h2")
    expect(headline).to_be_focused(**WAIT)
    expect(headline).to_be_in_viewport()
    check("answer")
    boxes = [meter.bounding_box() for meter in meters.all()]
    assert all(box is not None and box["width"] >= 80 for box in boxes)
    for tab in TABS:
        open_tab(page, tab)
        check(tab)
    context.close()


def test_the_course_of_a_long_clip_can_be_widened_and_its_passages_heard(
    page: Page, talk: Path
) -> None:
    page.get_by_role("button", name="Upload file").click()
    page.get_by_test_id("file-upload").set_input_files(talk)
    course = page.locator(".mm-timeline ul")
    expect(course).to_be_visible(**WAIT)
    expect(page.locator("#result").get_by_role("progressbar")).to_have_count(0, **WAIT)
    before = course.bounding_box()
    page.get_by_label(translate("timeline_zoom")).fill("4")
    after = course.bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] == pytest.approx(4 * before["width"], rel=0.02)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    cell = page.locator(".mm-heat span").first
    assert re.search(r"\d–[\d.]+\ss: neutral", cell.get_attribute("title") or "")
    players = page.locator(".mm-passages").get_by_role("button")
    assert players.count() >= 1
    assert (players.first.get_attribute("aria-label") or "").startswith("Play ")
    players.first.click()
    page.wait_for_timeout(2_000)
    expect(players.first).to_have_class("mm-play mm-plays mm-playing")
    players.last.click()
    expect(page.locator(".mm-playing")).to_have_count(1)
    players.last.click()
    expect(page.locator(".mm-playing")).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 844})
    for passage in page.locator(".mm-passages li, .mm-passages button").all():
        box = passage.bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["x"] + box["width"] <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
    picture(page, "timeline")
