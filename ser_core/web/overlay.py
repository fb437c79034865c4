"""A transparent page with the settled emotion of a live session, for OBS and similar programs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from ser_core.errors import SerError
from ser_core.labels import find_emotion
from ser_core.live import LiveAnswer

HOST, PORT = "127.0.0.1", 7870
_PAGE = Path(__file__).with_name("overlay.html")


class Overlay:
    """The page's server; nothing outside this machine reaches it.

    Attributes:
        url: Address of the page.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        """Take the server, whose address is the page's."""
        self.url = f"http://{HOST}:{server.server_port}/"
        self.state: dict[str, Any] | None = None

    def show(self, answer: LiveAnswer) -> None:
        """Show the settled emotion of an answer; nothing in silence."""
        prediction, settled = answer.prediction, answer.settled
        if prediction is None or settled is None:
            self.state = None
            return
        emotion = find_emotion(settled)
        self.state = {
            "emotion": settled,
            "sign": emotion.sign,
            "colour": emotion.colour,
            "probability": round(dict(prediction.ranked()).get(settled, 0.0), 3),
        }


@contextmanager
def serve_overlay(port: int = PORT) -> Iterator[Overlay]:
    """Serve the page while the context is open.

    Args:
        port: Port of this machine; 0 for any free one.

    Raises:
        SerError: The port is not available.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), _Handler)
    except (OSError, OverflowError) as error:
        raise SerError(
            f"Port {port} is not available: {error}. Choose another with --port."
        ) from error
    server.overlay = overlay = Overlay(server)  # type: ignore[attr-defined]
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield overlay
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        overlay: Overlay = self.server.overlay  # type: ignore[attr-defined]
        own = overlay.url.removeprefix("http://").rstrip("/")
        if self.headers.get("Host") not in (own, own.replace(HOST, "localhost")):
            self.send_error(403)  # another site's name for this machine
        elif self.path == "/":
            self._send("text/html; charset=utf-8", _PAGE.read_bytes())
        elif self.path == "/state":
            self._send("application/json", json.dumps(overlay.state).encode())
        else:
            self.send_error(404)

    def _send(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print no line per request."""
