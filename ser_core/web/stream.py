"""The stream of the API: a WebSocket that takes sound and returns its emotions as they change.

Sound is taken at the pace of speech, a few seconds ahead at most: beyond, the connection is not
read, which slows the sender down. Where the app is late, it analyses the newest window alone and
says how much was dropped.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from uuid import uuid4

import numpy as np
from anyio import CapacityLimiter, to_thread
from gradio.route_utils import CustomCORSMiddleware
from starlette.websockets import WebSocket, WebSocketDisconnect

from ser_core.audio import sandbox
from ser_core.config import AudioConfig
from ser_core.errors import AudioError, SerError
from ser_core.live import Chunk, LiveSession, LiveSessions
from ser_core.switch import ModelSwitch
from ser_core.web.access import Access
from ser_core.web.limits import BUDGETS, RefusalError, client_at, problem_details
from ser_core.web.routes import refusal_for

logger = logging.getLogger(__name__)

MESSAGE_BYTES = 256_000
"""Largest message: 8 s at 16 kHz."""
AHEAD_S = 5.0
"""Sound that is taken faster than it is spoken."""
KEPT_S = 10.0
"""Sound that waits for its analysis; the oldest is dropped."""
SILENCE_S = 60.0
"""Silence that ends a stream."""
IDLE_S = 30.0
"""Time without a message, or for one to be taken, that ends a stream."""
N_THREADS = 4
N_WEBM = 8
"""Most streams of WebM at a time: each has a decoder of its own, a process of 52 MB."""
WEBM_RATE_HZ = 16_000
"""Rate that WebM is decoded to."""
WEBM_BYTES = 128_000
"""WebM that waits for its decoder."""
_EBML = b"\x1a\x45\xdf\xa3"
_WEBM = AudioConfig(sample_rate_hz=WEBM_RATE_HZ, min_duration_s=0.0, ffmpeg_timeout_s=2 * IDLE_S)
POLL_S = 0.05
END = "end"
"""Text that a client sends after its last sound."""
FINISHED, GONE = "finished", "gone"
_CLOSED = 1000
_TRY_LATER = 1013
_REFUSED = 1008
_ORIGINS = CustomCORSMiddleware(None)  # type: ignore[arg-type]  # for its rules alone


class LiveStreams:
    """The streams of an app, which share their places with the page's live tab."""

    def __init__(self, models: ModelSwitch, sessions: LiveSessions, access: Access) -> None:
        """Take the predictor of all windows, the places, and the conditions of the API."""
        self._models, self._sessions, self._access = models, sessions, access
        self._n_streams: Counter[str] = Counter()
        self._threads, self._decoders = CapacityLimiter(N_THREADS), CapacityLimiter(N_WEBM)

    async def serve(self, websocket: WebSocket) -> None:
        """Answer a connection until it ends."""
        await websocket.accept()
        with suppress(WebSocketDisconnect, RuntimeError):  # the client is gone
            try:
                await self._serve(websocket)
            except (WebSocketDisconnect, asyncio.CancelledError):
                raise
            except Exception as error:
                refusal = refusal_for(error)
                await websocket.send_json({"event": "error"} | problem_details(refusal))
                code = _TRY_LATER if refusal.reason == "streams" else _REFUSED
                await websocket.close(code, refusal.reason)

    async def _serve(self, websocket: WebSocket) -> None:
        if "origin" in websocket.headers and not _ORIGINS.is_valid_origin(websocket.headers):
            raise RefusalError(
                403, "origin", "Pages of other sites cannot use an app on localhost."
            )
        await self._access.check_request(websocket)
        is_webm = websocket.query_params.get("format") == "webm"
        inbox = Inbox(WEBM_RATE_HZ if is_webm else _rate_of(websocket))
        if is_webm and not self._decoders.available_tokens:
            text = f"All {N_WEBM} decoders of WebM are in use right now."
            raise RefusalError(429, "streams", f"{text} Send PCM, or try again in a minute.")
        with self._place(client_at(websocket.scope)) as session:
            receive = self._receive_webm if is_webm else _receive_pcm
            receiver = asyncio.create_task(receive(websocket, inbox))
            try:
                reason = await self._answer(websocket, session, inbox)
            finally:
                inbox.close(GONE)
                receiver.cancel()
                with suppress(asyncio.CancelledError):
                    await receiver
            if reason == GONE:
                return
            for event in session.end(reason):
                is_last = event["event"] == "end"
                dropped = {"dropped_s": round(inbox.dropped_s, 3)} if is_last else {}
                await _send(websocket, event | dropped)
            with suppress(RuntimeError):
                await websocket.close(_CLOSED, reason)

    async def _receive_webm(self, websocket: WebSocket, inbox: "Inbox") -> None:
        """Put WebM into the inbox as it is decoded, in a thread and a process of its own."""
        feed, loop = sandbox.Feed("The stream"), asyncio.get_running_loop()

        def decode() -> None:
            with closing(sandbox.decode_webm(feed, _WEBM)) as blocks:
                for block in blocks:
                    asyncio.run_coroutine_threadsafe(inbox.put(block), loop).result()
                    if inbox.reason == GONE:
                        return

        async def decode_all() -> None:
            try:
                await to_thread.run_sync(decode, limiter=self._decoders)
            except SerError as error:
                inbox.error = error
            finally:
                inbox.close(FINISHED)

        decoder = asyncio.create_task(decode_all())
        reason, is_first = "", True
        try:
            while not reason and not decoder.done():
                content, reason = await _next_message(websocket)
                if is_first and content and not _EBML.startswith(content[:4]):
                    text = "The stream is no WebM. Send what a browser's recorder gives, or PCM."
                    inbox.error = AudioError(text)
                    inbox.close(FINISHED)
                    return
                is_first &= not content
                feed.write(content)
                while feed.n_waiting > WEBM_BYTES and not decoder.done():
                    await asyncio.sleep(POLL_S)
            if reason != FINISHED:
                inbox.close(reason or GONE)
        finally:
            feed.close()
            await asyncio.shield(decoder)

    @contextmanager
    def _place(self, client: str) -> Iterator[LiveSession]:
        """Give a session with a place of its own.

        Raises:
            RefusalError: All places, or those of the client, are taken.
        """
        key, session = uuid4().hex, LiveSession()
        if self._n_streams[client] >= BUDGETS.client_streams:
            text = f"Your address has {BUDGETS.client_streams} streams, the most at a time."
            raise RefusalError(429, "streams", f"{text} End one first.")
        if not self._sessions.admit(key, session, is_connected=True):
            text = f"All {self._sessions.n_places} places are in use right now."
            raise RefusalError(429, "streams", f"{text} Try again in a minute.")
        self._n_streams[client] += 1
        try:
            yield session
        finally:
            self._sessions.leave(key)
            self._n_streams[client] -= 1
            self._n_streams = +self._n_streams

    async def _answer(self, websocket: WebSocket, session: LiveSession, inbox: "Inbox") -> str:
        """Send the answers to the sound that arrives; return why the stream ends."""
        config, told_s = session.config, 0.0
        while (sound := await inbox.take(config.every_s, config.window_s)) is not None:
            answer = await to_thread.run_sync(
                session.process, inbox.rate_hz, sound, self._models, limiter=self._threads
            )
            if inbox.dropped_s > told_s:
                dropped_s, told_s = round(inbox.dropped_s - told_s, 3), inbox.dropped_s
                await _send(websocket, {"event": "dropped", "dropped_s": dropped_s})
            for event in answer.events() if answer else ():
                await _send(websocket, event)
            if session.is_over:
                return "limit"
            if session.silent_s >= SILENCE_S:
                return "silence"
        if inbox.error and inbox.reason != GONE:
            raise inbox.error
        return inbox.reason


class Inbox:
    """Sound of a stream that waits for its analysis.

    Attributes:
        rate_hz: Its sample rate.
        received_s: Sound that has arrived.
        dropped_s: Sound that no window covers.
        reason: Why no more sound comes; empty as long as it does.
        error: What is wrong with the sound.
    """

    def __init__(self, rate_hz: int) -> None:
        """Start empty."""
        self.rate_hz = rate_hz
        self.received_s = self.dropped_s = 0.0
        self.reason = ""
        self.error: SerError | None = None
        self._sound: Chunk = np.empty(0, np.int16)
        self._started = 0.0
        self._changed = asyncio.Event()

    async def put(self, sound: Chunk) -> None:
        """Add sound, (n_samples,), and wait until there is room for more."""
        if not self.received_s:
            self._started = time.monotonic()
        self._sound = np.concatenate([self._sound, sound]) if len(self._sound) else sound
        self.received_s += len(sound) / self.rate_hz
        self._changed.set()
        await asyncio.sleep(self.received_s - AHEAD_S - (time.monotonic() - self._started))
        while len(self._sound) > KEPT_S * self.rate_hz and not self.reason:
            await asyncio.sleep(POLL_S)

    def close(self, reason: str) -> None:
        """Give the rest without waiting for more."""
        self.reason = self.reason or reason
        self._changed.set()

    async def take(self, step_s: float, window_s: float) -> Chunk | None:
        """Wait for the next step of sound, and return it, or all sound if the analysis is late.

        Args:
            step_s: Length of a step.
            window_s: Newest sound of it that is analysed.

        Returns:
            (n_samples,), None at the end.
        """
        n_step = round(step_s * self.rate_hz)
        while len(self._sound) < n_step and not self.reason:
            self._changed.clear()
            await self._changed.wait()
        if self.reason == GONE or not len(self._sound):
            return None
        taken_s = self.received_s - len(self._sound) / self.rate_hz
        is_late = time.monotonic() - self._started - taken_s > window_s
        sound, self._sound = np.split(self._sound, [len(self._sound) if is_late else n_step])
        self.dropped_s += max(0.0, len(sound) / self.rate_hz - window_s)
        return sound


async def _next_message(websocket: WebSocket) -> tuple[bytes, str]:
    """Return the bytes of the next message, and why there are none if the stream ends."""
    try:
        message = await asyncio.wait_for(websocket.receive(), IDLE_S)
    except TimeoutError:
        return b"", "idle"
    if message["type"] == "websocket.disconnect":
        return b"", GONE
    if message.get("text") is not None:
        return b"", FINISHED if message["text"] == END else "unknown"
    return message["bytes"], ""


async def _receive_pcm(websocket: WebSocket, inbox: Inbox) -> None:
    """Put 16-bit samples into the inbox until the client ends the stream or is gone."""
    rest = b""
    while not inbox.reason:
        content, reason = await _next_message(websocket)
        if reason:
            inbox.close(reason)
        content = rest + content
        n_whole = len(content) // 2 * 2
        rest = content[n_whole:]
        if n_whole:
            await inbox.put(np.frombuffer(content[:n_whole], "<i2").astype(np.int16))


async def _send(websocket: WebSocket, event: dict[str, Any]) -> None:
    """Send an event.

    Raises:
        WebSocketDisconnect: The client is gone, or does not take it.
    """
    try:
        await asyncio.wait_for(websocket.send_json(event), IDLE_S)
    except (TimeoutError, RuntimeError) as error:
        raise WebSocketDisconnect(1006) from error


def _rate_of(websocket: WebSocket) -> int:
    """Return the sample rate in the address of a stream.

    Raises:
        AudioError: There is none, or none of speech, or the format is unknown.
    """
    if (form := websocket.query_params.get("format", "pcm")) != "pcm":
        raise AudioError(f"format is {form!r}; expected pcm or webm.")
    text, config = websocket.query_params.get("rate_hz", ""), AudioConfig()
    low, high = config.min_sample_rate_hz, config.max_sample_rate_hz
    if not (text.isascii() and text.isdecimal() and low <= int(text[:9]) <= high):
        raise AudioError(
            f"rate_hz is {text!r}; expected the sample rate of the stream in Hz, {low:,} to "
            f"{high:,}."
        )
    return int(text)
