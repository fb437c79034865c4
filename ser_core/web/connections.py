"""Connections: limits on their number and on the wait for a request, and the page as it is sent."""

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import _TrustedHosts
from uvicorn.protocols.http.h11_impl import H11Protocol

from ser_core.web.limits import BUDGETS

_BUSY = object()


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
    """Inserts elements into the head of the page's HTML, before Gradio's own scripts run.

    Gradio's option `head` inserts them in the browser, after it has chosen a language.
    """

    def __init__(self, app: ASGIApp, head: str) -> None:
        """Wrap `app`, whose page receives `head`."""
        self._app, self._head = app, head.encode()

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
                message["body"] = message["body"].replace(b"<head>", b"<head>" + self._head, 1)
                headers = MutableHeaders(scope=start)
                if "content-length" in headers:
                    n_bytes = int(headers["content-length"]) + len(message["body"]) - n_before
                    headers["content-length"] = str(n_bytes)
                await send(start)
                start = None
            await send(message)

        await self._app(scope, receive, insert if scope.get("path") == "/" else send)


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
