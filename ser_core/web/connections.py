"""Connections: limits on their number and on the wait for a request, and the page compressed."""

from typing import Any

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
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
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is before:
            self.transport.close()
        elif not self.transport.is_closing():
            now = self.cycle if is_idle else _BUSY
            self.loop.call_later(BUDGETS.idle_s, self._close_if_idle, now)
