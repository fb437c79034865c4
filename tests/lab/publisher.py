"""A publisher on loopback: files by path, and the ill moods of servers and networks."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Publisher:
    """A server with some files.

    Attributes:
        url: Where it listens.
        files: Content by path, query and all.
        requests: Path and `Range` header of each request so far.
        resumes: Whether it heeds `Range`.
        shifts: Bytes that it begins too late when it resumes.
        moods: HTTP codes that the next requests get instead of a file.
        breaks: Bytes after which the next answers break off.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    resumes: bool = True
    shifts: int = 0
    moods: list[int] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of visitors who leave early."""


@contextmanager
def serve_publisher() -> Iterator[Publisher]:
    """Run a publisher without any file yet."""
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            publisher.requests.append((self.path, wanted))
            content = publisher.files.get(self.path)
            if publisher.moods:
                self._answer(publisher.moods.pop(0), b"")
            elif content is None:
                self._answer(404, b"")
            elif wanted and publisher.resumes:
                self._resume(content, int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]))
            else:
                self._answer(200, content)

        def _resume(self, content: bytes, start: int) -> None:
            if start >= len(content):
                self._answer(416, b"", **{"Content-Range": f"bytes */{len(content)}"})
                return
            start += publisher.shifts
            told = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._answer(206, content[start:], **{"Content-Range": told})

        def _answer(self, code: int, content: bytes, **headers: str) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if publisher.breaks and content:
                self.wfile.write(content[: publisher.breaks.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    publisher.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
