"""The tab "Batch" in Chromium."""

import re
import shutil
import zipfile
from pathlib import Path
from urllib.parse import unquote

import pytest
import soundfile
from playwright.sync_api import Page, expect

from ser_core.label_studio import read_tasks
from ser_core.labels import LABELS
from ser_core.web import words
from ser_core.web.language import translate
from ser_lab.data.tables import clips_from_csv
from tests.browser.conftest import ANSWER_WITHIN_MS, EXAMPLE
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


def test_recordings_are_labelled_by_keys_the_least_certain_first(
    page: Page, voice: Path, tmp_path: Path
) -> None:
    files = [Path(shutil.copy(voice, tmp_path / name)) for name in ("=a, b.wav", "c.wav")]
    quieter, rate_hz = soundfile.read(EXAMPLE)
    soundfile.write(tmp_path / "d.wav", quieter, rate_hz)
    files.append(tmp_path / "d.wav")
    open_tab(page, files)
    page.get_by_role("button", name=translate("batch_analyse")).click()
    expect(page.locator("#batch-note")).to_contain_text(translate("batch_done", n=3), **WAIT)
    table, tools = page.locator("#batch-table"), page.locator("#batch-labels")
    expect(table.locator("select").first).to_be_hidden()
    tools.get_by_role("button", name=translate("batch_label_start")).click()
    cells = table.locator(".mm-choice")
    confidences = [float(cell.get_attribute("data-confidence") or 2) for cell in cells.all()]
    assert confidences == sorted(confidences)
    expect(table.locator("select").nth(0)).to_be_focused()
    expect(table.locator(".mm-playing")).to_have_count(1)
    predicted = cells.nth(0).get_attribute("data-predicted")
    keys = {label: f"{i}" for i, label in enumerate(LABELS, 1)}
    page.keyboard.press(keys[str(predicted)])
    expect(table.locator("select").nth(1)).to_be_focused()
    wrong = "calm" if cells.nth(1).get_attribute("data-predicted") != "calm" else "sad"
    page.keyboard.press(keys[wrong])
    half = translate("batch_agreement", n=2, all=3, agree=1, percent=words.percent(0.5))
    expect(tools.get_by_role("status")).to_have_text(half)
    table.locator(".mm-speaker input").first.fill("Ada")
    table.locator(".mm-speaker input").first.press("Tab")
    page.get_by_label(translate("one_voice")).click()  # draws the table again
    expect(tools.get_by_role("status")).to_contain_text("2")
    first, second = (link.get_attribute("href") or "" for link in tools.locator("a").all())
    (tmp_path / "labels.csv").write_text(unquote(first.partition(",")[2]), encoding="utf-8")
    clips = clips_from_csv(tmp_path / "labels.csv", needs_speaker=False)
    assert {clip.emotion for clip in clips} == {predicted, wrong}
    assert sum(clip.speaker == "labels/Ada" for clip in clips) == 1
    (tmp_path / "export.json").write_text(unquote(second.partition(",")[2]), encoding="utf-8")
    assert {row["label"] for _, row in read_tasks(tmp_path / "export.json")} == {predicted, wrong}
    table.locator("select").first.focus()
    screenshots = ROOT / "artifacts" / "screenshots"
    screenshots.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=screenshots / "labels.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path=screenshots / "labels-390.png", full_page=True)


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
