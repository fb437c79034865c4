"""Limits of the server on one client and on all together, tested without a server."""

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from starlette.types import Message, Receive, Scope, Send

from ser_core.web import limits
from ser_core.web.cleanup import _files_in_use
from ser_core.web.language import CATALOGUES
from ser_core.web.limits import UPLOAD, Budgets, RefusalError, RequestLimits, UploadBudget

SMALL = Budgets(
    body_bytes=1_000,
    body_items=20,
    client_bytes=10_000,
    all_bytes=15_000,
    free_bytes=0,
    file_bytes=100,
    client_requests=3,
    client_turns=1,
    idle_s=30.0,
    bytes_per_s=10_000,
)
JOIN = "/gradio_api/queue/join"


class EmptyQueue:
    """Gradio's queue without events."""

    event_ids_to_events: ClassVar = {}
    event_queue_per_concurrency_id: ClassVar = {}
    active_jobs = ()


async def app(_scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the number of bytes in the body."""
    n_bytes, more = 0, True
    while more:
        message = await receive()
        n_bytes += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % n_bytes})


def request(
    middleware: RequestLimits,
    path: str,
    chunks: AsyncIterator[bytes] | list[bytes] | None = None,
    *,
    method: str = "POST",
    client: str = "10.0.0.1",
    **headers: str,
) -> tuple[int, str, dict[str, str], int]:
    """Return status, text and headers of a response, and how many chunks were read before it."""
    return asyncio.run(send_request(middleware, path, chunks, method, client, **headers))


async def send_request(
    middleware: RequestLimits,
    path: str,
    chunks: AsyncIterator[bytes] | list[bytes] | None,
    method: str,
    client: str,
    **headers: str,
) -> tuple[int, str, dict[str, str], int]:
    sent: list[Message] = []
    n_read = 0
    pending = [*chunks] if isinstance(chunks, list) else chunks

    async def receive() -> Message:
        nonlocal n_read
        n_read += 1
        if isinstance(pending, list):
            body = pending.pop(0) if pending else b""
            return {"type": "http.request", "body": body, "more_body": bool(pending)}
        body = await anext(pending) if pending else b""
        return {"type": "http.request", "body": body, "more_body": pending is not None}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    blocks = SimpleNamespace(_queue=EmptyQueue())
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": raw,
        "client": (client, 1),
        "app": SimpleNamespace(get_blocks=lambda: blocks),
        "query_string": b"",
    }
    await middleware(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return sent[0]["status"], text, found, n_read


@pytest.fixture
def middleware(tmp_path: Path) -> RequestLimits:
    return RequestLimits(app, tmp_path, SMALL)


def failing(error: Exception, tmp_path: Path) -> RequestLimits:
    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    return RequestLimits(fail, tmp_path, SMALL)


def test_a_body_passes_whole(middleware: RequestLimits) -> None:
    assert request(middleware, JOIN, [b"a" * 400, b"b" * 600])[:2] == (200, "1000")


@pytest.mark.parametrize(
    ("chunks", "headers", "n_read"),
    [
        ([b"a" * 100] * 1_000, {}, 11),
        ([b"a" * 100] * 1_000, {"content_length": "100000"}, 0),
        ([b"[0]," * 20], {}, 1),
        ([b'{"a":1},' * 20], {}, 1),
    ],
    ids=["chunked", "declared", "lists", "objects"],
)
@pytest.mark.parametrize("path", [JOIN, "/gradio_api/call/predict", "/gradio_api/reset", "/login"])
def test_a_body_is_refused_before_it_is_read_whole(
    middleware: RequestLimits, path: str, chunks: list[bytes], headers: Any, n_read: int
) -> None:
    status, text, _, read = request(middleware, path, chunks, **headers)
    assert (status, read) == (413, n_read)
    assert json.loads(text) == {"detail": CATALOGUES["en"]["refused_too_large"]}


def upload(
    middleware: RequestLimits,
    n_bytes: int,
    *,
    n_files: int = 0,
    boundary: str = "edge",
    **options: Any,
) -> Any:
    """Upload, with each boundary cut into single bytes."""
    kind = f"multipart/form-data; boundary={boundary}"
    files = [bytes([byte]) for byte in f"--{boundary}".encode()] * n_files
    return request(middleware, UPLOAD, [*files, bytes(n_bytes)], content_type=kind, **options)


def test_uploads_of_a_client_and_of_all_have_budgets(middleware: RequestLimits) -> None:
    assert upload(middleware, 20_000)[0] == 413
    assert upload(middleware, 20_000, content_length="20000")[3] == 0
    assert upload(middleware, 9_000, client="10.0.0.2")[0] == 200
    status, text, *_ = upload(middleware, 2_000, client="10.0.0.2", accept_language="es-MX")
    assert (status, text) == (429, CATALOGUES["es"]["refused_too_many"])
    status, text, *_ = upload(middleware, 9_000, client="10.0.0.3", accept_language="zh")
    assert (status, text) == (507, CATALOGUES["zh"]["refused_disk_full"])


@pytest.mark.parametrize("boundary", ["edge", "x", "a-longer-one" * 4])
def test_many_empty_files_are_counted(middleware: RequestLimits, boundary: str) -> None:
    assert upload(middleware, 0, n_files=50, boundary=boundary)[0] == 200
    assert upload(middleware, 0, n_files=50, boundary=boundary)[0] == 429


def test_a_budget_is_free_again_once_the_files_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now_s=0.0)
    clock.monotonic = lambda: clock.now_s
    monkeypatch.setattr(limits, "time", clock)
    budget = UploadBudget(tmp_path, SMALL)
    budget.spend("a", 10_000)
    budget.schedule_deletion("a", 10_000)
    with pytest.raises(RefusalError):
        budget.spend("a", 1)
    clock.now_s += limits.DELETED_AFTER_S + 1
    budget.spend("a", 10_000)


def test_a_nearly_full_disk_refuses_uploads(tmp_path: Path) -> None:
    strict = RequestLimits(app, tmp_path, replace(SMALL, free_bytes=10**18))
    assert upload(strict, 10)[:2] == (507, CATALOGUES["en"]["refused_disk_full"])


@pytest.mark.parametrize("path", [JOIN, UPLOAD])
def test_a_body_that_trickles_is_given_up(tmp_path: Path, path: str) -> None:
    impatient = RequestLimits(app, tmp_path, replace(SMALL, idle_s=0.2))

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.05)
            yield b"a"

    status, _, headers, n_read = request(impatient, path, trickle())
    assert (status, headers["connection"]) == (408, "close")
    assert n_read < 10


@pytest.mark.parametrize(
    "error",
    [
        KeyError("fn"),
        ValueError("embedded null byte"),
        TypeError("no file"),
        AttributeError("file"),
        RecursionError(),
        OSError(errno.ENAMETOOLONG, "too long"),
    ],
    ids=repr,
)
def test_what_gradio_cannot_read_is_refused_without_a_trace(
    error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status, text, *_ = request(failing(error, tmp_path), JOIN, accept_language="hi,en;q=0.5")
    assert (status, json.loads(text)) == (400, {"detail": CATALOGUES["hi"]["refused_odd"]})
    assert caplog.records == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_sentence(code: int, tmp_path: Path) -> None:
    status, text, *_ = upload(failing(OSError(code, "full"), tmp_path), 10)
    assert (status, text) == (507, CATALOGUES["en"]["refused_disk_full"])


@pytest.mark.parametrize(
    "path",
    [
        "process_recording",
        "process_recording/",
        "component_server",
        "deep_link",
        "vibe-edit/",
        "file=https://example.org/a.wav",
        "file=HTTP://example.org/a.wav",
        "proxy=http://x.hf.space/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_routes_of_features_that_are_off_are_closed(
    middleware: RequestLimits, path: str, method: str
) -> None:
    assert request(middleware, f"/gradio_api/{path}", method=method)[0] == 404


def test_every_response_has_the_headers(middleware: RequestLimits) -> None:
    for path in ("/", UPLOAD, "/gradio_api/proxy="):
        *_, headers, _ = request(middleware, path, method="GET")
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]


async def gather(tmp_path: Path, clients: list[str]) -> tuple[list[int], int]:
    """Return the statuses of simultaneous requests, and how many the app worked on at a time."""
    n_active = n_most = 0

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal n_active, n_most
        n_active += 1
        n_most = max(n_most, n_active)
        await asyncio.sleep(0.01)
        n_active -= 1
        await app(scope, receive, send)

    middleware = RequestLimits(slow, tmp_path, SMALL)
    sent = [send_request(middleware, "/", None, "GET", client) for client in clients]
    responses = await asyncio.gather(*sent)
    assert not middleware._n_requests
    return [status for status, *_ in responses], n_most


def test_requests_of_a_client_take_turns(tmp_path: Path) -> None:
    assert asyncio.run(gather(tmp_path, ["a"] * 3)) == ([200] * 3, 1)
    assert asyncio.run(gather(tmp_path, ["a", "b", "c"])) == ([200] * 3, 3)
    statuses, _ = asyncio.run(gather(tmp_path, ["a"] * 5 + ["b"]))
    assert statuses == [200] * 3 + [429] * 2 + [200]


def make_queue(waiting: str, running: str = "") -> Any:
    """A queue of events, a letter for the client of each."""

    def make(client: str) -> Any:
        request = SimpleNamespace(scope={"client": (client, 1)})
        return type("E", (), {"client": client, "request": request})()

    events = SimpleNamespace(queue=[make(client) for client in waiting])
    jobs = [[make(client)] for client in running] + [None]
    return SimpleNamespace(active_jobs=jobs, event_queue_per_concurrency_id={"a": events})


@pytest.mark.parametrize(
    ("waiting", "running", "expected"),
    [
        ("aaaab", "", "abaaa"),
        ("aaaabb", "aa", "bbaaaa"),
        ("abcabc", "", "abcabc"),
        ("aaab", "b", "aabaa"[:2] + "ba"),
        ("", "ab", ""),
    ],
)
def test_clients_take_turns_in_the_queue(waiting: str, running: str, expected: str) -> None:
    queue = make_queue(waiting, running)
    limits.order_fairly(queue)
    (events,) = queue.event_queue_per_concurrency_id.values()
    assert "".join(event.client for event in events.queue) == expected


def test_files_of_waiting_events_are_found_at_any_depth() -> None:
    def event(data: Any) -> Any:
        return SimpleNamespace(data=data and SimpleNamespace(data=data))

    file: Callable[[str], Any] = lambda path: {"path": path, "meta": {}}  # noqa: E731
    data = [[file("a"), [file("b")], {"audio": file("c")}, 5, None, {"path": 5}], None, [file("d")]]
    queue: Any = SimpleNamespace(event_ids_to_events=dict(enumerate(map(event, data))))
    assert _files_in_use(queue) == {"a", "b", "c", "d"}


def test_a_proxy_that_is_not_named_is_reported_once(
    middleware: RequestLimits, caplog: pytest.LogCaptureFixture
) -> None:
    request(middleware, "/", method="GET", x_forwarded_for="10.0.0.1")
    assert caplog.records == []
    for _ in range(3):
        request(middleware, "/", method="GET", x_forwarded_for="203.0.113.7")
    (record,) = caplog.records
    assert "FORWARDED_ALLOW_IPS" in record.message
