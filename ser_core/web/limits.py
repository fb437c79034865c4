"""Limits on what one client, and all together, can take of the server.

A client is an address: that of the connection or, of a proxy that FORWARDED_ALLOW_IPS names, the
one in its X-Forwarded-For.
"""

import asyncio
import logging
import math
import re
import shutil
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr
from gradio import route_utils
from gradio.queueing import Event, Queue
from gradio.route_utils import GradioMultiPartParser
from h11 import LocalProtocolError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ser_core.web.cleanup import DELETED_AFTER_S
from ser_core.web.components import is_full
from ser_core.web.language import requested_language, translate, use_language

logger = logging.getLogger(__name__)

UPLOAD = "/gradio_api/upload"
API = "/v1"
"""Path below which the routes for programs are, see `ser_core.web.routes`."""
REJECTION = "moodmirror.rejection"
"""Key of an ASGI scope: why a request was rejected, for the metrics."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
    ),
}
"""Gradio's page has inline scripts and compiles the events' JavaScript."""
_JOINS = re.compile(r"/gradio_api/(queue/join|call/.+)")
_CLOSED = re.compile(
    r"/gradio_api/(process_recording|component_server|deep_link|vibe-|undo-vibe|run-history|runs|"
    r"dev/|custom_component/|proxy=|file=\w+:)",
    re.IGNORECASE,
)
"""Gradio's routes that write files, run FFmpeg or fetch addresses, for features that are off."""
_API_UPLOAD = re.compile(rf"{API}/(predict|segments|batch)/?$")
"""Routes whose body is recordings; they are deleted with the answer."""
_DIRECT = re.compile(r"/gradio_api/(run|api)/")
"""Events outside the queue; those of this page take no input, so that only odd ones fail."""
_MARKS = (b",", b"[", b"{")


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits on what clients take.

    Attributes:
        body_bytes: Largest body that is no upload.
        body_items: Most values in such a body, as Gradio needs microseconds for each.
        client_bytes: Uploads of one client that are on the disk.
        all_bytes: Uploads of all clients that are on the disk.
        free_bytes: Space on the disk that stays free.
        file_bytes: What a file counts at least.
        client_events: Events of one client that run or are in the queue.
        client_requests: Requests of one client that have not been answered.
        client_turns: Of these, requests that the app works on before it begins to answer.
        client_streams: Live streams of one client through the API.
        idle_s: Time to wait for a request, and for its body in all, plus
        bytes_per_s: one second for so many bytes.
    """

    body_bytes: int = 500_000
    body_items: int = 10_000
    client_bytes: int = 500_000_000
    all_bytes: int = 2_000_000_000
    free_bytes: int = 100_000_000
    file_bytes: int = 4_096
    client_events: int = 16
    client_requests: int = 256
    client_turns: int = 4
    client_streams: int = 8
    idle_s: float = 30.0
    bytes_per_s: int = 10_000


BUDGETS = Budgets()


class RefusalError(Exception):
    """A request breaks a limit.

    Attributes:
        status: Of the response.
        reason: Its name in the metrics and, after `refused_`, in the catalogues.
        retry_after_s: Time after which the client may try again.
    """

    def __init__(
        self, status: int, reason: str, text: str = "", *, retry_after_s: float = 5.0
    ) -> None:
        """Take the response's status, the reason, and the sentence where no catalogue has it."""
        super().__init__(text or reason)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s
        self._text = text

    @property
    def text(self) -> str:
        """The sentence for the client."""
        return self._text or translate(f"refused_{self.reason}")


class FilesOnlyParser(GradioMultiPartParser):
    """Gradio's parser of uploads, without fields, which it would hold in memory."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        """Take what Gradio's parser takes."""
        super().__init__(*args, **settings | {"max_fields": 0})


class UploadBudget:
    """Bytes of the clips that are on the disk, by client."""

    def __init__(self, clips: Path, budgets: Budgets) -> None:
        """Count the uploads into the folder `clips`, from which they are deleted in time."""
        self._clips, self._budgets = clips, budgets
        self._bytes: Counter[str] = Counter()
        self._deletions: deque[tuple[float, str, int]] = deque()

    def spend(self, client: str, n_bytes: int) -> None:
        """Count bytes of a client.

        Raises:
            RefusalError: There is no space for them.
        """
        limits = self._budgets
        while self._deletions and self._deletions[0][0] < time.monotonic():
            _, owner, n_deleted = self._deletions.popleft()
            self._bytes[owner] -= n_deleted
            self._bytes = +self._bytes  # without clients that have none
        if self._bytes[client] + n_bytes > limits.client_bytes:
            raise RefusalError(429, "too_many")
        is_full = self._bytes.total() + n_bytes > limits.all_bytes
        if is_full or shutil.disk_usage(self._clips).free < limits.free_bytes + n_bytes:
            raise RefusalError(507, "disk_full")
        self._bytes[client] += n_bytes

    def schedule_deletion(self, client: str, n_bytes: int) -> None:
        """Count bytes of a client no longer once their files are deleted."""
        self._deletions.append((time.monotonic() + DELETED_AFTER_S, client, n_bytes))

    def release(self, client: str, n_bytes: int) -> None:
        """Count bytes of a client no longer, as their files are deleted."""
        self._deletions.appendleft((-math.inf, client, n_bytes))


class RequestLimits:
    """ASGI middleware that keeps requests within the budgets, and adds headers to responses."""

    def __init__(self, app: ASGIApp, clips: Path, budgets: Budgets = BUDGETS) -> None:
        """Wrap `app`, whose uploads go to the folder `clips`."""
        self._app, self._budgets = app, budgets
        self._uploads = UploadBudget(clips, budgets)
        self._n_requests: Counter[str] = Counter()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with 4xx to what breaks a limit or what the app cannot read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = client_at(scope)
        self._warn_of_proxy(scope, client)
        reply = _Reply(send, scope["path"])
        self._n_requests[client] += 1
        try:
            await self._respond(scope, receive, reply, client)
        except Exception as error:
            if reply.has_started:
                await reply.finish()
                return
            refusal = error if isinstance(error, RefusalError) else _refusal_for(error, scope)
            scope[REJECTION] = refusal.reason
            await _response(refusal, scope)(scope, receive, reply.send)
        finally:
            reply.end_turn()
            self._n_requests[client] -= 1
            if not self._n_requests[client]:
                del self._n_requests[client]

    async def _respond(self, scope: Scope, receive: Receive, reply: "_Reply", client: str) -> None:
        if self._n_requests[client] > self._budgets.client_requests:
            raise RefusalError(429, "too_many")
        if _CLOSED.match(scope["path"]):
            raise RefusalError(404, "closed")
        has_body = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if has_body and scope["path"].rstrip("/") == UPLOAD:
            await self._upload(scope, receive, reply, client)
            return
        is_upload = has_body and _API_UPLOAD.match(scope["path"])
        if has_body and not is_upload:
            receive = await self._read(scope, receive)
        await reply.begin_turn(
            self._turns.setdefault(client, asyncio.Semaphore(self._budgets.client_turns))
        )
        if is_upload:
            await self._upload(scope, receive, reply, client)
        elif has_body and _JOINS.match(scope["path"]):
            queue = scope["app"].get_blocks()._queue
            self._check_queue(queue, client)
            await self._app(scope, receive, reply.send)
            order_fairly(queue)
        else:
            await self._app(scope, receive, reply.send)

    def _check_queue(self, queue: Queue, client: str) -> None:
        events = queue.event_ids_to_events.values()
        if sum(_client_of(event) == client for event in events) >= self._budgets.client_events:
            raise RefusalError(429, "too_many")

    async def _read(self, scope: Scope, receive: Receive) -> Receive:
        """Return a `receive` that gives the whole body at once."""
        limits, body = self._budgets, bytearray()
        async for chunk in self._chunks(scope, receive, limits.body_bytes):
            body += chunk
        if sum(map(body.count, _MARKS)) > limits.body_items:
            raise RefusalError(413, "too_large")
        messages = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        return replay

    async def _upload(self, scope: Scope, receive: Receive, reply: "_Reply", client: str) -> None:
        """Pass an upload on while it arrives, as far as there is space for it."""
        _, options = parse_options_header(Headers(scope=scope).get("content-type", ""))
        boundary = options.get(b"boundary") or b"--"
        chunks = self._chunks(scope, receive, self._budgets.client_bytes)
        n_bytes, tail = 0, b""

        async def count() -> Message:
            nonlocal n_bytes, tail
            async for chunk in chunks:
                window = tail + chunk
                cost = len(chunk) + self._budgets.file_bytes * window.count(boundary)
                self._uploads.spend(client, cost)
                n_bytes, tail = n_bytes + cost, window[max(0, len(window) - len(boundary) + 1) :]
                return {"type": "http.request", "body": chunk, "more_body": True}
            return {"type": "http.request", "body": b"", "more_body": False}

        try:
            await self._app(scope, count, reply.send)
        finally:
            if scope["path"].startswith(f"{API}/"):
                self._uploads.release(client, n_bytes)
            else:
                self._uploads.schedule_deletion(client, n_bytes)

    async def _chunks(self, scope: Scope, receive: Receive, max_bytes: int) -> AsyncIterator[bytes]:
        """Yield a body as it arrives.

        Raises:
            RefusalError: It has more than `max_bytes`, or arrives too slowly.
            ClientDisconnect: The client is gone.
        """
        if int(Headers(scope=scope).get("content-length", "0")) > max_bytes:
            raise RefusalError(413, "too_large")
        n_bytes, waited_s, more = 0, 0.0, True
        while more:
            began = time.monotonic()
            allowed_s = self._budgets.idle_s + n_bytes / self._budgets.bytes_per_s
            try:
                message = await asyncio.wait_for(receive(), allowed_s - waited_s)
            except TimeoutError:
                raise RefusalError(408, "too_slow") from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            waited_s += time.monotonic() - began
            n_bytes += len(message.get("body", b""))
            if n_bytes > max_bytes:
                raise RefusalError(413, "too_large")
            more = message.get("more_body", False)
            yield message.get("body", b"")

    def _warn_of_proxy(self, scope: Scope, client: str) -> None:
        """Log once that a proxy is not named, so that its visitors count as one client."""
        forwarded = Headers(scope=scope).get("x-forwarded-for", client)
        if client not in forwarded and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "Requests with X-Forwarded-For come from %s, which FORWARDED_ALLOW_IPS does not "
                "name: they count as one client. Name your proxy there.",
                client,
            )


class _Reply:
    """The response to a request, and the client's turn until it starts."""

    def __init__(self, send: Send, path: str) -> None:
        self._send, self._path = send, path
        self._turn: asyncio.Semaphore | None = None
        self.has_started = False

    async def begin_turn(self, turn: asyncio.Semaphore) -> None:
        await turn.acquire()
        self._turn = turn

    def end_turn(self) -> None:
        if self._turn:
            self._turn.release()
        self._turn = None

    async def finish(self) -> None:
        """End a response that has started; one of a known length is cut off."""
        with suppress(RuntimeError, LocalProtocolError):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] == 503 and _JOINS.match(self._path):
                raise RefusalError(429, "queue_full")  # the page hides the sentence of a 503
            self.has_started = True
            if message["status"] == 500 and _DIRECT.match(self._path):
                message["status"] = 400
            self.end_turn()
            MutableHeaders(scope=message).update(HEADERS)
        await self._send(message)


def order_fairly(queue: Queue) -> None:
    """Sort waiting events so that clients take turns; events that run count as turns taken."""
    running = Counter(_client_of(event) for job in queue.active_jobs for event in job or ())
    for waiting in queue.event_queue_per_concurrency_id.values():
        turns, ranks = running.copy(), {}
        for event in waiting.queue:
            client = _client_of(event)
            ranks[event] = turns[client]
            turns[client] += 1
        waiting.queue.sort(key=ranks.__getitem__)


def problem(refusal: RefusalError) -> Response:
    """Return problem details (RFC 9457), in English."""
    return JSONResponse(
        problem_details(refusal),
        refusal.status,
        _headers(refusal),
        media_type="application/problem+json",
    )


def problem_details(refusal: RefusalError) -> dict[str, Any]:
    """Return a refusal as plain JSON types, after RFC 9457 with `reason` as an extension."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.text,
        "reason": refusal.reason,
    }


def _headers(refusal: RefusalError) -> dict[str, str]:
    if refusal.status == 408:
        return {"Connection": "close"}
    if refusal.status in (429, 503, 507):
        return {"Retry-After": str(math.ceil(refusal.retry_after_s))}
    return {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}


def client_at(scope: Scope) -> str:
    """Return the address that the limits are counted by."""
    return str(scope["client"][0]) if scope.get("client") else ""


def _client_of(event: Event) -> str:
    return client_at(event.request.scope)


def _refusal_for(error: Exception, scope: Scope) -> RefusalError:
    """Return the response to an error of Gradio's routes, which raise where a request is odd."""
    if is_full(error):
        return RefusalError(507, "disk_full")
    logger.info("%s %s", scope["method"], scope["path"], exc_info=error)
    return RefusalError(400, "odd")


def _response(refusal: RefusalError, scope: Scope) -> Response:
    """Return a sentence in the client's language, in the form that Gradio's page shows."""
    if scope["path"].startswith(f"{API}/"):
        return problem(refusal)
    with use_language(requested_language(gr.Request(Request(scope)))):
        text = refusal.text
    headers = _headers(refusal)
    if scope["path"].rstrip("/") == UPLOAD:
        return PlainTextResponse(text, refusal.status, headers)
    return JSONResponse({"detail": text}, refusal.status, headers)


# Gradio's upload looks the name up with each request.
route_utils.GradioMultiPartParser = FilesOnlyParser  # type: ignore[misc]
