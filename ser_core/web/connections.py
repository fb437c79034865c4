"""Connections: limits on their number and waits, ends of streams, and the page as it is sent."""

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.protocols.http.h11_impl import H11Protocol

from ser_core.web.language import requested_language, use_language
from ser_core.web.limits import BUDGETS

SPACE_HOST = "SPACE_HOST"
"""Environment variable with the host name of a Space on the Hub."""
FRONTEND = Path(gr.__file__).with_name("templates") / "frontend" / "assets"
"""Gradio's scripts."""
_BUSY = object()
_HLS = re.compile(r"/assets/(hls-[\w-]+\.js)")
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[\da-fA-F:.]+\](:\d+)?")
_PREVIEW = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')
_BODY = re.compile(rb"<body[^>]*>")
JOIN, EVENTS = "/gradio_api/queue/join", "/gradio_api/queue/data"
"""Where a page starts an event, and where it reads the messages of all its events."""
END_READ_WITHIN_S = 0.1
_END = b'"msg":"close_stream"'
_SESSION = re.compile(rb'session_hash(?:=|":\s*")(\w+)')


class CompressedPage:
    """Compresses the page's HTML: Gradio compresses scripts and styles alone."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app, self._compressed = app, GZipMiddleware(app, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        app = self._compressed if scope.get("path") == "/" else self._app
        await app(scope, receive, send)


class PageHead:
    """Inserts elements into the page's HTML, before Gradio's own scripts run.

    Gradio's option `head` inserts them in the browser, after it has chosen a language. Its own
    tags for a link's preview, which are of another page, are taken out.
    """

    def __init__(self, app: ASGIApp, draw: Callable[[str], tuple[str, str]]) -> None:
        """Wrap `app`.

        Args:
            app: Serves the page.
            draw: From the page's address, empty where it is unknown, to the elements at the start
                of head and body. It is called in the visitor's language.
        """
        self._app, self._draw = app, draw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        start: Message | None = None

        async def insert(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                n_before = len(message["body"])
                message["body"] = self._insert(message["body"], Request(scope))
                headers = MutableHeaders(scope=start)
                if "content-length" in headers:
                    n_bytes = int(headers["content-length"]) + len(message["body"]) - n_before
                    headers["content-length"] = str(n_bytes)
                await send(start)
                start = None
            await send(message)

        await self._app(scope, receive, insert if scope.get("path") == "/" else send)

    def _insert(self, html: bytes, request: Request) -> bytes:
        with use_language(requested_language(gr.Request(request))):
            head, body = self._draw(page_address(request))
        html = _PREVIEW.sub(b"", html).replace(b"<head>", b"<head>" + head.encode(), 1)
        return _BODY.sub(lambda found: found[0] + body.encode(), html, count=1)


def page_address(request: Request) -> str:
    """Return the address of the page without its query; nothing for a host that is none."""
    if host := os.environ.get(SPACE_HOST):
        return f"https://{host}/"
    host = request.headers.get("host", "")
    return str(request.url.replace(query="")) if _HOST.fullmatch(host) else ""


class StreamEnds:
    """Lets no reply to a new event overtake the end of its page's stream.

    Gradio ends the stream after the last event. An event that starts then is never shown if its
    page reads the reply first: it still knows of a stream, and opens no other.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app
        self._ends: dict[bytes, asyncio.Event] = {}  # by session, while a page reads one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope.get("path") == EVENTS:
            await self._stream(scope, receive, send)
        elif scope.get("path") == JOIN:
            await self._start(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = _session_in(scope["query_string"])

        async def send_end(message: Message) -> None:
            if _END not in message.get("body", b""):
                await send(message)
                return
            end = self._ends[session] = asyncio.Event()
            try:
                await send(message)
            finally:
                loop = asyncio.get_running_loop()
                loop.call_later(END_READ_WITHIN_S, self._forget, session, end)

        await self._app(scope, receive, send_end)

    async def _start(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = b""

        async def read() -> Message:
            nonlocal session
            message = await receive()
            session = _session_in(message.get("body", b"")) or session
            return message

        async def send_after_end(message: Message) -> None:
            if end := self._ends.get(session):
                await end.wait()
            await send(message)

        await self._app(scope, read, send_after_end)

    def _forget(self, session: bytes, end: asyncio.Event) -> None:
        end.set()
        if self._ends.get(session) is end:
            del self._ends[session]


def _session_in(text: bytes) -> bytes:
    found = _SESSION.search(text)
    return found[1] if found else b""


class WithoutHls:
    """Answers for hls.js, which plays streams: the page has none, and it is 156 KB."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        found = _HLS.fullmatch(scope.get("path", ""))
        if found is None or not (FRONTEND / found[1]).exists():
            await self._app(scope, receive, send)
            return
        script = (FRONTEND / found[1]).read_text(encoding="utf-8")
        names = re.findall(r"\bas (\w+)", script[script.rindex("export{") :])
        exports = ",".join(f"Hls as {name}" for name in names)
        code = f"class Hls{{static isSupported(){{return false}}}}export{{{exports}}};"
        await Response(code, media_type="text/javascript")(scope, receive, send)


class LimitedProtocol(H11Protocol):
    """uvicorn's protocol, with limits on an address's connections and on the wait for requests."""

    def connection_made(self, transport: Any) -> None:
        """Close the connection where its address has too many."""
        super().connection_made(transport)
        host, *_ = self.client or ("",)
        hosts = [(getattr(one, "client", None) or ("",))[0] for one in self.connections]
        trusted = _TrustedHosts(self.config.forwarded_allow_ips)
        if hosts.count(host) > BUDGETS.client_requests and host not in trusted:
            transport.abort()
        else:
            self._close_if_idle(_BUSY)

    def _close_if_idle(self, before: object) -> None:
        """Close the connection if it is between the same two requests as `before`, else go on."""
        if self.transport.get_protocol() is not self:
            return  # a WebSocket has limits of its own
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is before:
            self.transport.close()
        elif not self.transport.is_closing():
            now = self.cycle if is_idle else _BUSY
            self.loop.call_later(BUDGETS.idle_s, self._close_if_idle, now)
