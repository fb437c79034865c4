"""The tab "Batch" in Chromium."""

import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ser_core.web.language import translate
from tests.browser.conftest import ANSWER_WITHIN_MS
from tests.conftest import ROOT

pytestmark = pytest.mark.browser
WAIT = {"timeout": 4 * ANSWER_WITHIN_MS}


def open_tab(page: Page, files: list[Path]) -> None:
    page.get_by_role("tab", name=translate("batch_tab")).click()
    page.locator("#batch-files input[type=file]").set_input_files(files)
    expect(page.locator("#batch-files")).to_contain_text(files[-1].stem, **WAIT)


def test_files_and_a_zip_are_judged_row_by_row(page: Page, voice: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk.wav"
    junk.write_text("This is no sound.")
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.write(voice, "../../escaped.wav")
    open_tab(page, [voice, junk, archive])
    page.get_by_role("button", name=translate("batch_analyse")).click()
    note = page.locator("#batch-note")
    done = f"{translate('batch_done', n=3)} {translate('batch_problems', n=1)}"
    expect(note).to_contain_text(done, **WAIT)
    table = page.locator("#batch-table")
    expect(table).to_contain_text("escaped.wav")
    expect(table).to_contain_text("junk.wav")
    expect(page.get_by_role("link", name="moodmirror.csv")).to_be_visible()
    names = table.locator("tbody th")
    expect(table.locator(".mm-play")).to_have_count(1)  # none for a member of a zip
    play = table.get_by_role("button", name=translate("play", what=voice.name))
    play.click()
    expect(play).to_have_class("mm-play mm-playing")
    play.click()
    expect(play).to_have_class("mm-play")
    play.click()
    expect(play).to_have_class("mm-play mm-playing")
    expect(play).to_have_class("mm-play", **WAIT)  # at its end
    expect(play).to_be_enabled()
    expect(names.first).not_to_have_text("junk.wav")
    table.get_by_role("button", name=translate("batch_result")).click()
    expect(names.first).to_have_text("junk.wav")
    table.get_by_role("button", name=translate("batch_result")).click()
    expect(names.last).to_have_text("junk.wav")
    page.set_viewport_size({"width": 390, "height": 844})
    results = table.locator("tbody td:nth-child(2)")
    assert all(
        (box := cell.bounding_box()) and box["x"] + box["width"] <= 390 for cell in results.all()
    )
    screenshots = ROOT / "artifacts" / "screenshots"
    screenshots.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=screenshots / "batch.png", full_page=True)


def test_two_hundred_files_can_be_stopped_half_way(page: Page, voice: Path, tmp_path: Path) -> None:
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for i in range(200):
            opened.write(voice, f"clip-{i:03d}.wav")
    open_tab(page, [archive])
    page.get_by_role("button", name=translate("batch_analyse")).click()
    note = page.locator("#batch-note")
    expect(note).to_contain_text(re.compile(r"\d+ of 200 analysed"), **WAIT)
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(note).to_contain_text("Stopped.", **WAIT)
    page.wait_for_timeout(2_000)
    expect(note).to_contain_text("Stopped.")
    expect(page.get_by_role("link", name="moodmirror.csv")).to_be_visible()


def test_a_zip_that_would_fill_the_disk_is_refused(page: Page, tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for i in range(6):
            opened.writestr(f"{i}.wav", bytes(100_000_000))
    assert archive.stat().st_size < 1_000_000
    open_tab(page, [archive])
    page.get_by_role("button", name=translate("batch_analyse")).click()
    note = page.locator("#batch-note")
    expect(note).to_contain_text("bomb.zip is larger than 500 MB when unpacked", **WAIT)
