"""Files on the page: films, and files dropped or pasted anywhere."""

import base64
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, Route, expect

from ser_core.labels import LABELS
from ser_core.web.language import translate
from tests.browser.conftest import ANSWER_WITHIN_MS

pytestmark = pytest.mark.browser
WAIT = {"timeout": ANSWER_WITHIN_MS}
GIVE = """(body, [kind, files]) => {
    const data = new DataTransfer();
    for (const [name, type, base64] of files) {
        const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
        data.items.add(new File([bytes], name, { type }));
    }
    const options = { bubbles: true, cancelable: true };
    body.dispatchEvent(
        kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data, ...options })
            : new ClipboardEvent("paste", { clipboardData: data, ...options })
    );
}"""
"""JavaScript that drops files on the page, or pastes them."""


def give(page: Page, kind: str, paths: Sequence[Path], mime: str = "audio/wav") -> None:
    files = [[path.name, mime, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.locator("body").evaluate(GIVE, [kind, files])


def make_film(path: Path, voice: Path, *, video: str, audio: str) -> Path:
    """Write a grey picture with the sound of `voice`."""
    samples, rate_hz = soundfile.read(voice, dtype="float32", always_2d=True)
    with av.open(str(path), "w") as film:
        picture = film.add_stream(video, rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        sound = film.add_stream(audio, rate=48_000, layout="mono")
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8))
            film.mux(picture.encode(frame))
        whole = av.AudioFrame.from_ndarray(samples.mean(axis=1)[np.newaxis].copy(), "flt", "mono")
        whole.sample_rate = rate_hz
        for part in av.AudioResampler(sound.format, "mono", 48_000, 960).resample(whole):
            film.mux(sound.encode(part))
        film.mux(picture.encode())
        film.mux(sound.encode())
    return path


def expect_answer(page: Page) -> None:
    expect(page.get_by_role("meter")).to_have_count(len(LABELS), **WAIT)


@pytest.mark.parametrize(
    ("name", "mime", "video", "audio"),
    [
        ("film.mp4", "video/mp4", "mpeg4", "aac"),
        ("film.mov", "video/quicktime", "mpeg4", "aac"),
        ("film.webm", "video/webm", "libvpx", "libopus"),
    ],
)
def test_a_film_is_answered(
    page: Page, voice: Path, tmp_path: Path, name: str, mime: str, video: str, audio: str
) -> None:
    film = make_film(tmp_path / name, voice, video=video, audio=audio)
    if mime == "video/mp4":  # by the button; the others by a drop
        page.get_by_role("button", name="Upload file").click()
        with page.expect_file_chooser() as chooser:
            page.locator("#clip .upload-container").click()
        assert "video" in (chooser.value.element.get_attribute("accept") or "")
        chooser.value.set_files(film)
    else:
        give(page, "drop", [film], mime)
    expect_answer(page)


def test_a_file_is_taken_before_gradio_is_there(page: Page, app_url: str, voice: Path) -> None:
    held: list[Route] = []
    page.route("**/assets/index-*.js", lambda route: held.append(route))
    page.goto(app_url, wait_until="commit")
    expect(page.locator("#early")).to_be_visible(**WAIT)
    give(page, "drop", [voice])
    page.wait_for_timeout(500)  # in which it must not be lost
    for route in held:
        route.continue_()
    expect_answer(page)


def test_a_file_is_taken_wherever_it_is_dropped_or_pasted(
    page: Page, voice: Path, tmp_path: Path
) -> None:
    page.get_by_role("tab", name=translate("about_tab")).click()
    give(page, "drop", [voice])
    expect_answer(page)
    note = tmp_path / "note.txt"
    note.write_text("This is no sound.")
    give(page, "paste", [note], "text/plain")
    expect(page.get_by_role("alert")).to_contain_text("note.txt", **WAIT)
    give(page, "paste", [voice])
    expect_answer(page)
    foreign = tmp_path / "foreign.json"
    foreign.write_text('{"hello": 1}')
    give(page, "drop", [foreign], "application/json")
    expect(page.locator("#voice-note")).to_contain_text("not a MoodMirror voice profile", **WAIT)
    give(page, "drop", [voice, note])
    expect(page.locator("#batch-files")).to_contain_text("note", **WAIT)
