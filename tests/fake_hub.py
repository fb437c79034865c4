"""The Hub's few answers that a download needs, on loopback, with its ill moods."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ser_core.whisper import EncoderConfig

CONFIG = EncoderConfig(blocks=(1,))
PATH = f"/{CONFIG.repo}/resolve/{CONFIG.revision}/{CONFIG.file}"


@dataclass
class FakeHub:
    """A Hub with one file.

    Attributes:
        content: The file's bytes; empty where the Hub does not have it.
        url: Where it listens.
        requests: Method and path of each request so far.
        authorised: Whether any request carried a token.
        answers: Cleared, it makes requests wait.
        sends: Cleared, it makes downloads wait after their first half.
    """

    content: bytes = b""
    url: str = ""
    requests: list[str] = field(default_factory=list)
    authorised: bool = False
    answers: threading.Event = field(default_factory=threading.Event)
    sends: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve_hub(content: bytes = b"") -> Iterator[FakeHub]:
    """Run a fake Hub that answers and sends at once until told otherwise."""
    hub = FakeHub(content)
    hub.answers.set()
    hub.sends.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(b"")

        def do_GET(self) -> None:
            self._answer(hub.content)

        def _answer(self, body: bytes) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            hub.authorised |= "Authorization" in self.headers
            hub.answers.wait()
            found = self.path == PATH and hub.content
            self.send_response(200 if found else 404)
            self.send_header("X-Repo-Commit", CONFIG.revision)
            self.send_header("ETag", '"0123456789abcdef"')
            self.send_header("Content-Length", str(len(hub.content) if found else 0))
            body = body if found else b""
            with suppress(ConnectionError):  # whoever asked may have given up
                self.end_headers()
                if body:
                    self.wfile.write(body[: len(body) // 2])
                    hub.sends.wait()
                    self.wfile.write(body[len(body) // 2 :])

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
