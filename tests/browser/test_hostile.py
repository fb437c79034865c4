"""Requests that mean harm, straight at the running app; docs/security.md lists them."""

import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from playwright.sync_api import Page, expect

from benchmarks.load import LiveClient
from ser_core.web.language import translate
from tests.browser.conftest import ANSWER_WITHIN_MS, to_wav
from tests.conftest import ROOT

pytestmark = pytest.mark.browser
WAIT = {"timeout": ANSWER_WITHIN_MS}
SECRET = ROOT / "README.md"


@pytest.fixture(scope="module")
def http(app_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app_url, timeout=30.0) as client:
        yield client


def upload(http: httpx.Client, name: str, content: bytes) -> str:
    answer = http.post("gradio_api/upload", files={"files": (name, content)})
    assert answer.status_code == 200
    return str(answer.json()[0])


def call(http: httpx.Client, data: Any, *, endpoint: str = "predict") -> str:
    """What the caller is told in the end: the status of a refusal, or the event stream."""
    begun = http.post(f"gradio_api/call/{endpoint}", json={"data": data})
    if begun.status_code != 200:
        return f"refused {begun.status_code}"
    return http.get(f"gradio_api/call/{endpoint}/{begun.json()['event_id']}").text


def file_data(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "meta": {"_type": "gradio.FileData"}} | more


@contextmanager
def neighbour() -> Iterator[tuple[str, list[str]]]:
    """A server beside the app, and the paths that somebody asked it for."""
    asked: list[str] = []

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()


@pytest.fixture(autouse=True)
def still_answers(http: httpx.Client, voice: Path) -> Iterator[None]:
    """Whatever a test sends, the next visitor is answered."""
    yield
    clip = upload(http, "clip.wav", voice.read_bytes())
    assert "event: complete" in call(http, [file_data(clip), "auto", False])


@pytest.mark.parametrize("key", ["path", "url"])
def test_no_address_is_fetched_for_anybody(http: httpx.Client, key: str) -> None:
    with neighbour() as (address, asked):
        clip = file_data("clip.wav") | {key: f"{address}/clip.wav"}
        told = call(http, [clip, "auto", False])
        many = call(http, [[clip]], endpoint="batch")
    assert asked == []
    for answer in (told, many):
        assert "event: complete" not in answer
    if key == "path":
        assert "does not download from links" in told


@pytest.mark.parametrize(
    "path",
    [
        str(SECRET),
        "/etc/passwd",
        "/ETC/PASSWD",
        "../../../../etc/passwd",
        "/proc/self/environ",
        str(ROOT / "model" / "compact" / "manifest.json"),
    ],
)
def test_no_file_of_the_server_is_read(http: httpx.Client, path: str) -> None:
    for answer in (
        http.get(f"gradio_api/file={path}"),
        http.get(f"gradio_api/file={path.replace('/', '%2f').replace('.', '%2e')}"),
    ):
        assert answer.status_code in (400, 403, 404)
    told = call(http, [file_data(path), "auto", False])
    assert "event: complete" not in told
    assert "root:" not in told


def test_nobody_is_led_elsewhere(http: httpx.Client) -> None:
    for path in (
        "gradio_api/file=http://evil.example/",
        "gradio_api/file=https://evil.example/clip.wav",
        "logout?_target_url=//evil.example",
        "login/callback?_target_url=https://evil.example",
    ):
        answer = http.get(path, follow_redirects=False)
        assert "evil.example" not in answer.headers.get("location", "")


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/proxy=http://127.0.0.1:1/",
        "monitoring",
        "gradio_api/monitoring",
        "gradio_api/custom_component/../../../etc/passwd/client/component/index.js",
        "gradio_api/theme.css/../../app.py",
        "static/../../app.py",
        "assets/../../app.py",
    ],
)
def test_gradios_side_doors_are_shut(http: httpx.Client, path: str) -> None:
    answer = http.get(path, follow_redirects=False)
    assert "SystemExit" not in answer.text
    assert "root:" not in answer.text
    assert answer.status_code != 200 or "<!doctype html>" in answer.text.lower()


def test_a_component_cannot_be_made_to_run_its_methods(http: httpx.Client) -> None:
    body = {
        "component_id": "1",
        "fn_name": "move_resource_to_block_cache",
        "session_hash": "x",
        "data": str(SECRET),
    }
    answer = http.post("gradio_api/component_server", json=body)
    assert answer.status_code >= 400
    assert "MoodMirror shows" not in answer.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://evil.example:443"])
def test_another_sites_page_may_not_read_the_answers(http: httpx.Client, origin: str) -> None:
    answer = http.get("config", headers={"Origin": origin, "Cookie": "session=1"})
    assert answer.headers.get("access-control-allow-origin") not in (origin, "*")


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "script.js"])
def test_what_was_uploaded_never_runs_in_a_browser(http: httpx.Client, name: str) -> None:
    script = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    path = upload(http, name, script)
    answer = http.get(f"gradio_api/file={path}")
    if answer.status_code == 200:
        assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [5, "auto", False],
        ["clip.wav", "auto", False],
        [{"path": 5}, "auto", False],
        [file_data(""), "auto", False],
        [[file_data("a")] * 5, "auto", False],
        [None, None, None],
        [None, "../../model", False],
        [None, "auto", {"a": [1]}],
        [None, "auto", False, 1, 2, 3],
        [file_data("x" * 100_000), "auto", False],
    ],
    ids=range(12),
)
def test_data_of_wrong_types_is_refused(http: httpx.Client, data: Any) -> None:
    told = call(http, data)
    assert "event: complete" not in told
    assert "Traceback" not in told


def test_a_body_that_is_no_json_and_a_huge_one_are_refused(http: httpx.Client) -> None:
    for content in (b"{" * 100_000, b"\xff\xfe", json.dumps({"data": ["a" * 5_000_000]}).encode()):
        answer = http.post(
            "gradio_api/call/predict",
            content=content,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code != 200 or "event_id" in answer.text


def test_a_file_larger_than_allowed_is_refused_while_it_comes(http: httpx.Client) -> None:
    answer = http.post("gradio_api/upload", files={"files": ("big.wav", bytes(60_000_000))})
    assert answer.status_code == 413


class Attacker(LiveClient):
    """A visitor of the live tab who sends one chunk."""

    def attack(self, chunk: dict[str, Any]) -> str:
        """Return what the panel says."""
        event = self._join("stream", [chunk, None])
        panels = []
        for message, (_, panel, _) in self._follow(event):
            panels.append(unescape(str(panel)))
            if message != "process_completed":
                self._http.post(f"stream/{event}/close").raise_for_status()
        self.close()
        return panels[0]


def hours_of_silence() -> bytes:
    content = io.BytesIO()
    with soundfile.SoundFile(content, "w", 8_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(90):
            file.write(np.zeros(60 * 8_000, np.int16))
    return content.getvalue()


def test_no_live_chunk_stalls_the_page(app_url: str, http: httpx.Client, voice: Path) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{voice}\n#EXT-X-ENDLIST\n"
    bombs = [*45 * [playlist.encode()], *8 * [hours_of_silence()]]
    assert max(map(len, bombs)) < 1_000_000

    def attack(content: bytes) -> str:
        attacker = Attacker(app_url, np.zeros(1, np.float32), 8_000)
        return attacker.attack(file_data(upload(http, "chunk.wav", content)))

    with ThreadPoolExecutor(16) as threads:
        began = time.monotonic()
        panels = [threads.submit(attack, bomb) for bomb in bombs]
        clip = file_data(upload(http, "clip.wav", voice.read_bytes()))
        while not all(panel.done() for panel in panels):
            asked = time.monotonic()
            assert http.get("healthz").status_code == 200
            assert time.monotonic() - asked < 20.0
            assert "event: complete" in call(http, [clip, "auto", False])
            assert time.monotonic() - asked < 60.0
        assert time.monotonic() - began < 240.0
    for panel, reason in zip(panels, 45 * ["couldn't read"] + 8 * ["is longer than"], strict=True):
        assert f"chunk.wav {reason}" in panel.result() or f"{reason} chunk.wav" in panel.result()


def test_names_are_text_on_the_page(page: Page, voice: Path, tmp_path: Path) -> None:
    clip = to_wav(voice, tmp_path).rename(tmp_path / "<img src=x onerror=document.title=1>.wav")
    page.get_by_role("tab", name=translate("batch_tab")).click()
    page.locator("#batch-files input[type=file]").set_input_files([clip])
    expect(page.locator("#batch-files")).to_contain_text("wav", **WAIT)
    page.get_by_role("button", name=translate("batch_analyse")).click()
    expect(page.locator("#batch-note")).to_contain_text(translate("batch_done", n=1), **WAIT)
    assert page.title() == "MoodMirror"
    assert page.locator("#batch-table img").count() == 0
