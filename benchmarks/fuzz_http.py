"""Requests that the fuzzer mutates, and the running app that answers them."""

import io
import json
import re
import socket
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from http.client import HTTPResponse
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote_from_bytes, urlsplit

import numpy as np

from benchmarks import ROOT
from ser_core.errors import SerError
from ser_core.model.emotion_model import EmotionModel
from ser_core.model.manifest import Manifest
from ser_core.predictor import Predictor
from ser_core.switch import ModelSwitch
from ser_core.web.page import start

MODEL = ROOT / "model" / "compact"
API = "/gradio_api"
TIMEOUT_S = 60.0
"""Without any response, on a busy machine too."""
LOG = io.StringIO()
"""What the app prints."""
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_HEADER = re.compile(rb"[\w!#$%&'*+.^`|~-]+:[\x20-\x7e\x80-\xff]*")
_FRAMING = re.compile(rb"(content-length|transfer-encoding|connection|expect|upgrade):", re.I)


@cache
def start_app() -> tuple[dict[str, int], tuple[str, int]]:
    """Start the page in a thread of this process, with a constant instead of the network.

    Returns:
        The numbers of its events by name, and its host and port.
    """
    model = EmotionModel(MODEL, Manifest.parse(MODEL))
    row = np.full(len(model.labels), 1 / len(model.labels))
    model._serve = lambda features, **_: {
        "probabilities": np.tile(row, (len(features), 1)),
        "intensity": np.zeros(len(features), np.float32),
    }
    with redirect_stdout(LOG), redirect_stderr(LOG):
        page = start(ModelSwitch(Predictor(model)), Path(mkdtemp()))
    address = urlsplit(page.local_url)
    events = {str(event.api_name): number for number, event in page.fns.items()}
    return events, (str(address.hostname), int(address.port or 0))


def make_requests(clip: bytes) -> dict[str, bytes]:
    """Return a valid request of each kind, by suffix."""
    upload = _upload(clip)
    (path,) = json.loads(send(upload)[1])
    file = {"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": "clip.wav"}
    requests = {
        "upload": _upload(clip[:2_000]),
        "call": _post("/call/predict", {"data": [file, "auto", False]}),
        "call_v2": _post("/call/v2/explain", {"audio": file, "model": "compact", "denoise": True}),
        "batch": _post("/call/batch", {"data": [[file] * 3]}),
        "run": _post("/run/update", {"data": []}),
        "show": _join("show", [file, "auto", False, None]),
        "stream": _join("stream", [file, None]),
        "files": _join("run", [[file]]),
        "enroll": _join("enroll", [file]),
        "profile": _join("load_profile", [file]),
        "example": _join("load_example", [0]),
        "reset": _post("/reset", {"event_id": "a"}),
        "cancel": _post("/cancel", {"session_hash": "a", "fn_index": 1, "event_id": "a"}),
        "messages": _request("GET", f"{API}/queue/data?session_hash=a"),
        "answer": _request("GET", f"{API}/call/predict/a"),
        "file": _request("GET", f"{API}/file={path}", "Range: bytes=0-99"),
        "info": _request("GET", f"{API}/info?all_endpoints=true"),
        "page": _request("GET", "/?__theme=dark", "Cookie: session=a; b=c", "Accept: text/html"),
    }
    return {f"{name}.http": request for name, request in requests.items()}


def _request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    lines = ("Host: localhost", "Accept-Language: es-MX, en;q=0.5", "X-Forwarded-For: 10.0.0.1")
    head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, *headers])
    return head.encode() + b"\r\n\r\n" + body


def _post(route: str, content: dict[str, Any]) -> bytes:
    body = json.dumps(content).encode()
    return _request("POST", API + route, "Content-Type: application/json", body=body)


def _join(event: str, data: list[Any]) -> bytes:
    fields = {"session_hash": "a", "trigger_id": 1, "event_data": None}
    return _post("/queue/join", {"data": data, "fn_index": start_app()[0][event]} | fields)


def _upload(clip: bytes) -> bytes:
    kind = "Content-Type: multipart/form-data; boundary=edge"
    part = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="clip.wav"\r\n\r\n'
    body = part + clip + b"\r\n--edge--\r\n"
    return _request("POST", f"{API}/upload?upload_id=a", kind, body=body)


def send(request: bytes) -> tuple[int, bytes]:
    """Send a request, and return status and body of the response; of a stream, no body."""
    framed = _frame(request)
    with socket.create_connection(start_app()[1], TIMEOUT_S) as connection:
        connection.sendall(framed)
        with HTTPResponse(connection, method=framed.partition(b" ")[0].decode()) as response:
            response.begin()
            return response.status, response.read() if response.length is not None else b""


def _frame(request: bytes) -> bytes:
    """Return a request that the HTTP parser accepts, so that the app has to answer it."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, *_ = [*first.split(b" "), b"", b""]
    headers = [line for line in lines if _HEADER.fullmatch(line) and not _FRAMING.match(line)]
    verb = re.sub(rb"[^A-Z]", b"", method) or b"GET"
    place = quote_from_bytes(target, _VISIBLE).encode() or b"/"
    frame = [b"Connection: close", b"Content-Length: %d" % len(body), b"", body]
    return b"\r\n".join([b"%s %s HTTP/1.1" % (verb, place), *headers, *frame])


def read_request(path: Path) -> None:
    """Send a request, and check that the app still works and has printed no traceback.

    Raises:
        SerError: The response is 4xx.
        RuntimeError: It is 5xx, the app is ill, or it printed a traceback.
    """
    with redirect_stderr(LOG):
        status, _ = send(path.read_bytes())
        health, _ = send(_request("GET", "/healthz"))
    printed = LOG.getvalue()
    LOG.seek(0)
    LOG.truncate()
    if "Traceback" in printed:
        raise RuntimeError(" ".join(printed.splitlines()[-3:]))
    if status >= 500 or health != 200:
        raise RuntimeError(f"Status {status}, and then {health}.")
    if status >= 400:
        raise SerError(f"Status {status}.")
