"""The Hub's answers that fetching and publishing need, on loopback, with its ill moods."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_api

from ser_core.whisper.spec import EncoderConfig
from tests.fake_repos import Answer, FakeRepos

CONFIG = EncoderConfig(blocks=(1,))
PATH = f"/{CONFIG.repo}/resolve/{CONFIG.revision}/{CONFIG.file}"


@dataclass
class Fault:
    """Something that goes wrong.

    Attributes:
        where: Part of the method and path of the requests that it befalls.
        status: Of the answer; 0 breaks the connection off in the middle of the request.
        times: How often.
        headers: Of the answer.
    """

    where: str
    status: int
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeHub:
    """A Hub with Whisper's file and repositories.

    Attributes:
        content: The bytes of Whisper's file; empty where the Hub does not have it.
        url: Where it listens.
        requests: Method and path of each request so far.
        authorised: Whether any request carried a token.
        answers: Cleared, it makes requests wait.
        sends: Cleared, it makes downloads wait after their first half.
        repos: What else it holds.
        faults: What goes wrong.
    """

    content: bytes = b""
    url: str = ""
    requests: list[str] = field(default_factory=list)
    authorised: bool = False
    answers: threading.Event = field(default_factory=threading.Event)
    sends: threading.Event = field(default_factory=threading.Event)
    repos: FakeRepos = field(default_factory=FakeRepos)
    faults: list[Fault] = field(default_factory=list)

    def asked(self, part: str) -> int:
        """How many requests had this in their method and path."""
        return sum(part in request for request in self.requests)

    def fault(self, request: str) -> Fault | None:
        """What goes wrong with a request."""
        for fault in self.faults:
            if fault.where in request and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def answer(self, method: str, path: str, body: bytes, token: str) -> Answer:
        """The answer to a request without a fault."""
        if path.startswith(f"/{CONFIG.repo}/"):
            found = path == PATH and self.content
            headers = {"X-Repo-Commit": CONFIG.revision, "ETag": '"0123456789abcdef"'}
            return Answer(200 if found else 404, self.content if found else b"", headers)
        return self.repos.answer(method, path, body, token, self.url)


@contextmanager
def serve_hub(content: bytes = b"") -> Iterator[FakeHub]:
    """Run a fake Hub that answers and sends at once until told otherwise."""
    hub = FakeHub(content)
    hub.answers.set()
    hub.sends.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def _serve(self) -> None:
            request = f"{self.command} {self.path}"
            hub.requests.append(request)
            token = self.headers.get("Authorization", "")
            hub.authorised |= bool(token)
            hub.answers.wait()
            n_bytes = int(self.headers.get("Content-Length", 0))
            fault = hub.fault(request)
            if fault is not None and fault.status == 0:
                self.rfile.read(n_bytes // 2)
                self.close_connection = True
                self.connection.close()
                return
            body = self.rfile.read(n_bytes)
            if fault is not None:
                self._send(Answer(fault.status, headers=fault.headers))
            else:
                self._send(hub.answer(self.command, self.path, body, token))

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            with suppress(ConnectionError):  # whoever asked may have given up
                self.end_headers()
                if answer.body and self.command != "HEAD":
                    self.wfile.write(answer.body[: len(answer.body) // 2])
                    hub.sends.wait()
                    self.wfile.write(answer.body[len(answer.body) // 2 :])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            hub.answers.set()
            hub.sends.set()
            server.shutdown()


def use_hub(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, *, cache: Path) -> None:
    """Let huggingface_hub in this process ask a fake Hub, without Xet storage.

    Its settings come from the environment when it is imported.
    """
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
