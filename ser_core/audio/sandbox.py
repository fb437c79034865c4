"""Decode recordings in child processes, so that no input can harm or stall this one.

A child imports the decoders and then gives up every right that decoding does not need: it can open
no file and no socket, and its memory and processor time are limited (on Linux). It gets the bytes
of the recording as it asks for them, so that neither process holds a long one. Children are
started on first use, kept for the next recording, and replaced after a crash. They end with their
parent.
"""

import io
import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

import numpy as np

from ser_core.audio.stream import Waveform, to_blocks, to_waveform
from ser_core.config import AudioConfig
from ser_core.errors import AudioError, SerError

N_CHILDREN = max(2, os.cpu_count() or 1)
"""Most recordings that are decoded at the same time."""
MAX_BYTES = 1 << 30
"""Address space of a child; its libraries take a quarter of it."""

Form = Literal["whole", "mixed", "by channel", "ongoing"]
"""What a child returns: one waveform, or blocks of the mix or of all channels, or short ones."""
ONGOING_BLOCK_S = 0.1

_REQUEST = struct.Struct("<IQ")  # bytes of the settings, which follow, and of the recording
_MESSAGE = struct.Struct("<cQII")  # kind, rate or place, channels, bytes that follow or are wanted
_READ, _BLOCK, _END, _ERROR = b"R", b"B", b"E", b"X"
_COUNT = struct.Struct("<I")  # bytes of the recording that follow
_MOST_BYTES = 1 << 18  # read from the recording at once
_READY = b"."
_SAMPLE = struct.pack(">4s5I", b".snd", 24, 16_000, 2, 8_000, 1) + bytes(16_000)  # an AU of 2 s
_KEPT = ("LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE")
"""All variables that a child gets: others may be secrets."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file to decode.

    Attributes:
        file: The open file.
        name: Its name in messages.
        n_bytes: Its size, beyond which nothing is read.
        on_read: Called with the share of the file at which the decoder reads.
    """

    file: BinaryIO
    name: str
    n_bytes: int
    on_read: Callable[[float], None] = lambda _: None

    def read(self, start: int, n_bytes: int) -> bytes:
        """Return up to so many bytes from a place on; raise AudioError if they cannot be read."""
        n_bytes = min(n_bytes, _MOST_BYTES, self.n_bytes - start)
        if n_bytes <= 0:
            return b""
        try:
            self.file.seek(start)
            content = self.file.read(n_bytes)
        except OSError as error:
            raise AudioError(f"{self.name} cannot be read to its end. Check the disk.") from error
        self.on_read((start + len(content)) / self.n_bytes)
        return content


class Feed:
    """The bytes of a recording as they arrive, which take the place of a `Recording`.

    Attributes:
        name: Its name in messages.
        n_bytes: More than will ever come.
    """

    def __init__(self, name: str) -> None:
        """Start without bytes."""
        self.name, self.n_bytes = name, 1 << 62
        self._content, self._is_closed = bytearray(), False
        self._changed = threading.Condition()

    @property
    def n_waiting(self) -> int:
        """Bytes that have not been read."""
        return len(self._content)

    def write(self, content: bytes) -> None:
        """Add bytes, without blocking."""
        with self._changed:
            self._content += content
            self._changed.notify()

    def close(self) -> None:
        """Let the recording end after the bytes that have arrived."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def read(self, _start: int, n_bytes: int) -> bytes:
        """Return the next bytes, up to so many, as soon as there are any; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._content or self._is_closed)
            content = bytes(self._content[: min(n_bytes, _MOST_BYTES)])
            del self._content[: len(content)]
        return content


def decode(recording: Recording, config: AudioConfig) -> tuple[int, Waveform]:
    """Return sample rate and waveform of a recording, decoded in a child.

    Args:
        recording: The file.
        config: Rate of the result, 0 for the recording's own, and the limits.

    Raises:
        AudioError: The recording cannot be decoded or breaks a limit.
        SerError: No child can be started.
    """
    with _slots:
        ((rate_hz, block),) = _decode(recording, config, "whole")
    return rate_hz, block[:, 0]


def stream(
    recording: Recording, config: AudioConfig, *, by_channel: bool
) -> Generator[Waveform, None, None]:
    """Yield the blocks of a recording, decoded in a child of its own as they are needed.

    Args:
        recording: The file.
        config: Rate of the result, and the limits; the time limit is that of a block.
        by_channel: As in `to_blocks`.

    Yields:
        As `to_blocks` does.

    Raises:
        AudioError: The recording cannot be decoded or breaks a limit.
        SerError: No child can be started.
    """
    for _, block in _decode(recording, config, "by channel" if by_channel else "mixed"):
        yield block


def decode_webm(feed: Feed, config: AudioConfig) -> Generator[Waveform, None, None]:
    """Yield a WebM that is still being received, decoded in a child of its own as it arrives.

    Args:
        feed: Its bytes.
        config: Rate of the result, and the limits; the time limit is that of a block.

    Yields:
        (n_samples,) float32, mono, `ONGOING_BLOCK_S` or longer except for the last.

    Raises:
        AudioError: It cannot be decoded or breaks a limit.
        SerError: No child can be started.
    """
    for _, block in _decode(feed, config, "ongoing"):
        yield block[:, 0]


def _decode(
    recording: Recording | Feed, config: AudioConfig, form: Form
) -> Iterator[tuple[int, Waveform]]:
    child = _take_child()
    is_done = False
    try:
        settings = json.dumps([recording.name, asdict(config), form]).encode()
        request = _REQUEST.pack(len(settings), recording.n_bytes) + settings
        while True:
            with _time_limit(child, recording.name, config.ffmpeg_timeout_s):
                kind, rate_hz, n_channels, payload = child.receive(recording, request)
            if kind == _ERROR:
                is_done = True
                raise AudioError(payload.decode())
            if kind == _END:
                is_done = True
                return
            block = np.frombuffer(payload, np.float32).reshape(-1, n_channels)
            yield rate_hz, block.copy()  # writable
            request = b""
    finally:
        if is_done and child.process.poll() is None and len(_idle) < N_CHILDREN:
            _idle.append(child)
        else:
            _end(child.process)


@contextmanager
def _time_limit(child: "_Child", name: str, seconds: float) -> Iterator[None]:
    """Kill the child if the body takes too long, and turn its death into an AudioError."""
    deadline = time.monotonic() + seconds
    watchdog = threading.Timer(seconds, child.process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    except EOFError as error:
        code = child.process.wait()
        if time.monotonic() >= deadline or code == -signal.SIGXCPU:
            reason = f"was not decoded within {seconds:g} s. Choose a shorter"
            raise AudioError(f"{name} {reason} recording, or export it as WAV.") from error
        raise AudioError(
            f"{name} is damaged: its decoder stopped with code {code}. Export it again."
        ) from error
    finally:
        watchdog.cancel()
        watchdog.join()


def warm_up() -> None:
    """Start a child for the first recording, without blocking."""
    if not _idle:
        _idle.append(_Child())


def _take_child() -> "_Child":
    while _idle:
        child = _idle.pop()
        if child.process.poll() is None:
            break
    else:
        child = _Child()
    child.wait_until_ready()
    return child


class _Child:
    """A process that runs `serve`."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join([str(_ROOT), *filter(None, sys.path)])
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from ser_core.audio.sandbox import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,  # Ctrl+C is for the parent
        )
        self._stdin = cast(IO[bytes], self.process.stdin)
        self._stdout = cast(IO[bytes], self.process.stdout)
        self._is_ready = False
        # When this object is gone, and at exit, in processes of multiprocessing too.
        Finalize(self, _end, args=(self.process,), exitpriority=0)

    def wait_until_ready(self) -> None:
        """Return when the libraries are loaded.

        Raises:
            SerError: They cannot be loaded.
        """
        if not self._is_ready and self._stdout.read(1) != _READY:
            raise SerError(
                f"The audio decoder did not start (exit code {self.process.wait()}). Install the "
                "requirements again: pip install -r requirements.txt."
            )
        self._is_ready = True

    def receive(self, recording: Recording | Feed, request: bytes) -> tuple[bytes, int, int, bytes]:
        """Return the next message, and send the parts of the recording that come before it.

        Args:
            recording: The file.
            request: What to send first.

        Returns:
            Kind, sample rate, number of channels, and samples or text.

        Raises:
            AudioError: The file cannot be read.
            EOFError: The child has died.
        """
        try:
            self._send(request)
            while True:
                header = self._stdout.read(_MESSAGE.size)
                kind, number, n_channels, n_bytes = _MESSAGE.unpack(header)
                if kind != _READ:
                    break
                content = recording.read(number, n_bytes)
                self._send(_COUNT.pack(len(content)) + content)
            payload = self._stdout.read(min(n_bytes, MAX_BYTES))
        except (OSError, struct.error) as error:
            raise EOFError from error
        if len(payload) < n_bytes:
            raise EOFError
        return kind, number, n_channels, payload

    def _send(self, content: bytes) -> None:
        self._stdin.write(content)
        self._stdin.flush()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _reset() -> None:
    """Forget the children, which belong to the process that started them."""
    global _idle, _slots
    _idle, _slots = [], threading.BoundedSemaphore(N_CHILDREN)


_ROOT = Path(__file__).parents[2]
_idle: list[_Child]
_slots: threading.BoundedSemaphore
_reset()
os.register_at_fork(after_in_child=_reset)


class _Remote(io.RawIOBase):
    """A recording whose bytes the parent sends; the side of `Recording` in a child."""

    def __init__(self, n_bytes: int, requests: IO[bytes], responses: IO[bytes]) -> None:
        self._n_bytes, self._place = n_bytes, 0
        self._requests, self._responses = requests, responses

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._n_bytes < 1 << 62

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = max(0, (0, self._place, self._n_bytes)[whence] + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        n_bytes = min(len(buffer), _MOST_BYTES, self._n_bytes - self._place)
        if n_bytes <= 0:
            return 0
        _respond(self._responses, _READ, self._place, 0, n_bytes)
        if len(header := self._requests.read(_COUNT.size)) < _COUNT.size:
            os._exit(0)  # the parent is gone; an exception would end in a decoder's callback
        content = self._requests.read(_COUNT.unpack(header)[0])
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def _respond(
    responses: IO[bytes], kind: bytes, number: int = 0, n_channels: int = 0, n_bytes: int = 0
) -> None:
    responses.write(_MESSAGE.pack(kind, number, n_channels, n_bytes))
    responses.flush()


def serve() -> None:
    """Decode what comes through standard input until it ends; run in a child."""
    from ser_core.audio.decode import open_stream  # the parent loads no decoder

    requests, responses = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints would break the protocol
    to_waveform(lambda: open_stream(io.BytesIO(_SAMPLE), "sample"), AudioConfig())  # imports all
    _give_up_rights()
    responses.write(_READY)
    responses.flush()
    while header := requests.read(_REQUEST.size):
        n_settings, n_bytes = _REQUEST.unpack(header)
        name, settings, form = json.loads(requests.read(n_settings))
        config = AudioConfig(**settings)
        file = _Remote(n_bytes, requests, responses)
        _limit_processor_time(config.ffmpeg_timeout_s)
        try:
            for rate_hz, block in _blocks_of(file, name, config, form):
                payload = block.tobytes()
                _respond(responses, _BLOCK, rate_hz, block.shape[1], len(payload))
                responses.write(payload)
                _limit_processor_time(config.ffmpeg_timeout_s)
            _respond(responses, _END)
        except (AudioError, MemoryError) as error:
            advice = "needs too much memory to decode. Cut it shorter, or export it as WAV."
            text = (str(error) if isinstance(error, AudioError) else f"{name} {advice}").encode()
            _respond(responses, _ERROR, n_bytes=len(text))
            responses.write(text)
        responses.flush()


def _blocks_of(
    remote: _Remote, name: str, config: AudioConfig, form: Form
) -> Iterator[tuple[int, Waveform]]:
    """Yield the sample rate and each block, (n_samples, n_channels)."""
    from ser_core.audio.decode import open_stream, open_webm

    if form == "ongoing":
        with open_webm(remote, name) as source:
            for block in to_blocks(source, config, by_channel=False, block_s=ONGOING_BLOCK_S):
                yield config.sample_rate_hz, block
        return
    file = io.BufferedReader(remote, _MOST_BYTES)
    if form == "whole":
        rate_hz, waveform = to_waveform(lambda: open_stream(file, name), config)
        yield rate_hz, waveform[:, np.newaxis]
        return
    with open_stream(file, name) as source:
        rate_hz = config.sample_rate_hz or source.sample_rate_hz
        for block in to_blocks(source, config, by_channel=form == "by channel"):
            yield rate_hz, block


def _give_up_rights() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
        # No file and no socket; the pipes to the parent, which are open, stay so.
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_processor_time(seconds: float) -> None:
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds), hard))
