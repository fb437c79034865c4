"""A client that takes all that it can get, and a visitor beside it, at a running app."""

import contextlib
import io
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, expect

from benchmarks.load import connect
from ser_core.web.language import CATALOGUES, translate
from ser_core.web.limits import BUDGETS
from ser_core.web.page import MAX_WAITING
from tests.browser.conftest import ANSWER_WITHIN_MS, app_process
from tests.browser.test_hostile import call, file_data, upload

pytestmark = pytest.mark.browser
RATE_HZ = 16_000
N_REQUESTS = 100
HANGS_S = 20.0
"""Longest wait on a busy machine; a longer one hangs."""
GREEDY = "127.0.0.2"
"""An address that is no proxy's."""


@pytest.fixture(scope="module")
def visitor(app_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app_url, timeout=60.0) as http:
        yield http


def greedy(app_url: str) -> httpx.Client:
    transport = httpx.HTTPTransport(local_address=GREEDY)
    return httpx.Client(base_url=app_url, timeout=120.0, transport=transport)


def leave(app_url: str, path: str) -> None:
    """Read an event's messages and leave, which gives up its place in the queue."""
    with (
        contextlib.suppress(httpx.TimeoutException),
        httpx.stream("GET", f"{app_url}gradio_api/{path}", timeout=0.5) as lines,
    ):
        next(lines.iter_lines(), None)


def fifty_megabytes() -> list[bytes]:
    """Noise as it fills the hour, in recordings of ten minutes."""
    content = io.BytesIO()
    noise = np.random.default_rng(0).normal(0.0, 0.1, 580 * RATE_HZ)
    soundfile.write(content, noise, RATE_HZ, format="WAV", subtype="PCM_16")
    return [content.getvalue()] * 2 + [bytes(12_000_000)]


REQUESTS: list[dict[str, Any]] = [
    {"url": "gradio_api/call/explain", "what": "clip"},
    {"url": "gradio_api/call/batch", "what": "batch"},
    {"url": "gradio_api/run/explain", "what": "clip"},
    {"url": "gradio_api/call/predict", "content": b'{"data":[' + b"[0]," * 120_000 + b"0]}"},
    {"url": "gradio_api/upload", "data": {f"field{i}": "x" * 100_000 for i in range(5)}},
    {"url": ""},
    {"url": "config"},
    {"url": "gradio_api/info"},
]


def test_a_greedy_client_stalls_nobody(app_url: str, visitor: httpx.Client, voice: Path) -> None:
    clip = file_data(upload(visitor, "clip.wav", voice.read_bytes()))
    app = app_process(app_url)
    http = greedy(app_url)
    clips = [upload(http, f"{i}.wav", sound) for i, sound in enumerate(fifty_megabytes())]

    def attack(i: int) -> httpx.Response:
        request = REQUESTS[i % len(REQUESTS)].copy()
        what = request.pop("what", None)
        if what:
            batch, long_clip = [[clip] * 200, False], [file_data(clips[0]), "auto", False]
            request["json"] = {"data": batch if what == "batch" else long_clip}
        return (http.post if len(request) > 1 else http.get)(**request)

    def ask() -> float:
        began = time.monotonic()
        assert "event: complete" in call(visitor, [clip, "auto", False])
        return time.monotonic() - began

    health_s, answers_s, memory = [0.0], [0.0], [0]
    with ThreadPoolExecutor(N_REQUESTS + 1) as pool:
        attacks = [pool.submit(attack, i) for i in range(N_REQUESTS)]
        answer = pool.submit(ask)
        end = time.monotonic() + 8.0
        while time.monotonic() < end or not answer.done():
            began = time.monotonic()
            visitor.get("healthz").raise_for_status()
            health_s.append(time.monotonic() - began)
            memory.append(app.memory_info().rss)
            if answer.done():
                answers_s.append(answer.result())
                answer = pool.submit(ask)
            time.sleep(0.05)
        answers_s.append(answer.result())
        responses = [attack.result() for attack in attacks]
        statuses = {response.status_code for response in responses}
        for response in responses:
            if "event_id" in response.text:
                leave(app_url, f"call/x/{response.json()['event_id']}")
    assert statuses <= {200, 400, 404, 413, 429}
    assert {200, 404, 413, 429} <= statuses
    assert max(health_s) < HANGS_S
    assert max(answers_s) < 3 * HANGS_S
    assert max(memory) < 2_000_000_000


def test_a_full_queue_says_so_in_the_visitors_language(
    app_url: str, browser: Browser, voice: Path
) -> None:
    page = browser.new_page()  # its console reports the refusal
    page.goto(app_url)
    page.wait_for_selector("#clip")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(app_url)) for _ in range(8)]
        clip = file_data(upload(clients[0], "clip.wav", voice.read_bytes()))
        config = clients[0].get("config").json()
        (batch,) = (d["id"] for d in config["dependencies"] if d["api_name"] == "batch")
        statuses = []
        for i, client in enumerate(clients):
            body = {"data": [[clip] * 200, False], "fn_index": batch, "session_hash": f"full-{i}"}
            for _ in range(MAX_WAITING // 4):
                sent = client.post("gradio_api/queue/join", json=body)
                statuses.append(sent.status_code)
        assert statuses.count(200) >= MAX_WAITING
        assert statuses[-1] == 429
        with connect(app_url) as late:
            sent = late.post(
                "gradio_api/call/predict",
                json={"data": [clip, "auto", False]},
                headers={"Accept-Language": "es-MX"},
            )
        told = sent.status_code, sent.json()["detail"]
        page.get_by_role("button", name="angry").first.click()
        shown = page.get_by_text(translate("refused_queue_full"))
        expect(shown.first).to_be_visible(timeout=ANSWER_WITHIN_MS)
        for i in range(len(clients)):
            leave(app_url, f"queue/data?session_hash=full-{i}")
    page.close()
    assert told == (429, CATALOGUES["es"]["refused_queue_full"])


@pytest.mark.parametrize("path", ["gradio_api/run/predict", "gradio_api/api/batch/"])
def test_nothing_passes_by_the_queue(visitor: httpx.Client, path: str) -> None:
    assert visitor.post(path, json={"data": [None, "auto", False]}).status_code == 404


def test_odd_requests_are_4xx_and_leave_no_trace(
    visitor: httpx.Client, app_url: str, app_log: Path
) -> None:
    before = len(app_log.read_text())
    bodies = (b"", b"{", b"5", b'{"data":5}', b"[" * 9_000, b"\xff", b'{"data":["\\ud800"]}')
    config = visitor.get("config").json()
    for path in ("queue/join", "call/none", "call/v2/none", "run/none", "cancel", "upload"):
        for body in bodies:
            sent = visitor.post(f"gradio_api/{path}", content=body)
            assert 400 <= sent.status_code < 500 or path == "cancel", (path, body)
    for event in config["dependencies"]:
        for data in ([], [5] * 9, [[{}]] * 9, [file_data("/etc/passwd")] * 9):
            body = {"data": data, "fn_index": event["id"], "session_hash": "odd"}
            assert visitor.post("gradio_api/queue/join", json=body).status_code < 500
            assert visitor.post("gradio_api/run/none", json=body).status_code < 500
        with visitor.stream("GET", "gradio_api/queue/data?session_hash=odd") as lines:
            assert any("close_stream" in line for line in lines.iter_lines())
    for field in ('name="files"', 'name="files"; filename=".."', "", 'name="a"; filename="a\0"'):
        part = f"--b\r\nContent-Disposition: form-data; {field}\r\n\r\nx\r\n--b--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        for query in ("", "?upload_id=x"):
            path = f"gradio_api/upload{query}"
            assert visitor.post(path, content=part.encode(), headers=kind).status_code < 500
    for path in ("static/%00", "gradio_api/file=%00", f"assets/{'a' * 5_000}", "?deep_link=%00"):
        assert visitor.get(path).status_code < 500
    for path in ("queue/data?session_hash=none", "call/predict/none", "stream/a/b/1/playlist-file"):
        assert visitor.get(f"gradio_api/{path}").status_code < 500
    address = urlsplit(app_url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(b"\x00\x01\r\n\r\n")
        assert b" 400 " in connection.recv(100)
    assert "Traceback" not in app_log.read_text()[before:]


@pytest.mark.slow
def test_connections_of_an_address_and_without_a_request_are_closed(
    app_url: str, visitor: httpx.Client
) -> None:
    address = urlsplit(app_url)
    place = str(address.hostname), address.port or 0

    def is_closed(connection: socket.socket) -> bool:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            return connection.recv(1) == b""
        return False

    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(place, source_address=(GREEDY, 0)))
            for _ in range(BUDGETS.client_requests + 40)
        ]
        for connection in connections:
            connection.setblocking(False)
        began = time.monotonic()
        while not all(map(is_closed, connections)):
            for connection in connections[:5]:
                with contextlib.suppress(OSError):
                    connection.send(b"G")  # a request that never gets ready
            assert time.monotonic() - began < 2 * BUDGETS.idle_s + HANGS_S
            assert visitor.get("healthz").status_code == 200
            time.sleep(1.0)
        assert time.monotonic() - began > BUDGETS.idle_s / 2
