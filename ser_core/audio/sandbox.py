"""Decode recordings in child processes, so that no input can harm or stall this one.

A child imports the decoders and then gives up every right that decoding does not need: it can open
no file and no socket, and its memory and processor time are limited (on Linux). Children are
started on first use, kept for the next recording, and replaced after a crash. They end with their
parent.
"""

import json
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from multiprocessing.util import Finalize
from pathlib import Path
from typing import IO, cast

import numpy as np

from ser_core.audio.stream import Waveform, to_waveform
from ser_core.config import AudioConfig
from ser_core.errors import AudioError, SerError

N_CHILDREN = max(2, os.cpu_count() or 1)
"""Most recordings that are decoded at the same time."""
MAX_BYTES = 1 << 30
"""Address space of a child; its libraries take a quarter of it."""

_REQUEST = struct.Struct("<II")  # bytes of the settings and of the recording
_RESPONSE = struct.Struct("<II")  # sample rate, 0 before a message; bytes that follow
_READY = b"."
_SAMPLE = struct.pack(">4s5I", b".snd", 24, 16_000, 2, 8_000, 1) + bytes(16_000)  # an AU of 2 s
_KEPT = ("LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE")
"""All variables that a child gets: others may be secrets."""


def decode(content: bytes, name: str, config: AudioConfig) -> tuple[int, Waveform]:
    """Return sample rate and waveform of a recording, decoded in a child.

    Args:
        content: The file.
        name: Its name in messages.
        config: Rate of the result, 0 for the recording's own, and the limits.

    Raises:
        AudioError: The recording cannot be decoded or breaks a limit.
        SerError: No child can be started.
    """
    with _slots:
        child = _take_child()
        deadline = time.monotonic() + config.ffmpeg_timeout_s
        watchdog = threading.Timer(config.ffmpeg_timeout_s, child.process.kill)
        watchdog.start()
        try:
            rate_hz, payload = child.decode(content, name, config)
        except EOFError as error:
            code = child.process.wait()
            if time.monotonic() >= deadline or code == -signal.SIGXCPU:
                reason = f"was not decoded within {config.ffmpeg_timeout_s:g} s. Choose a shorter"
                raise AudioError(f"{name} {reason} recording, or export it as WAV.") from error
            raise AudioError(
                f"{name} is damaged: its decoder stopped with code {code}. Export it again."
            ) from error
        finally:
            watchdog.cancel()
            watchdog.join()
        if time.monotonic() < deadline:  # later, it may have been killed
            _idle.append(child)
    if rate_hz == 0:
        raise AudioError(payload.decode())
    return rate_hz, np.frombuffer(payload, np.float32).copy()  # writable


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

    def decode(self, content: bytes, name: str, config: AudioConfig) -> tuple[int, bytes]:
        """Return a sample rate and float32 samples, or 0 and a message.

        Raises:
            EOFError: The child has died.
        """
        settings = json.dumps([name, asdict(config)]).encode()
        try:
            self._stdin.write(_REQUEST.pack(len(settings), len(content)) + settings)
            self._stdin.write(content)
            self._stdin.flush()
            rate_hz, n_bytes = _RESPONSE.unpack(self._stdout.read(_RESPONSE.size))
            payload = self._stdout.read(min(n_bytes, MAX_BYTES))
        except (OSError, struct.error) as error:
            raise EOFError from error
        if len(payload) < n_bytes:
            raise EOFError
        return rate_hz, payload


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


def serve() -> None:
    """Decode what comes through standard input until it ends; run in a child."""
    from ser_core.audio.decode import open_stream  # the parent loads no decoder

    def respond(content: bytes, name: str, config: AudioConfig) -> tuple[int, bytes]:
        try:
            rate_hz, waveform = to_waveform(lambda: open_stream(content, name), config)
        except AudioError as error:
            return 0, str(error).encode()
        except MemoryError:
            advice = "Cut it shorter, or export it as WAV."
            return 0, f"{name} needs too much memory to decode. {advice}".encode()
        return rate_hz, waveform.tobytes()

    requests, responses = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints would break the protocol
    respond(_SAMPLE, "sample", AudioConfig())  # imports all that is imported on demand
    _give_up_rights()
    responses.write(_READY)
    responses.flush()
    while header := requests.read(_REQUEST.size):
        n_settings, n_bytes = _REQUEST.unpack(header)
        name, settings = json.loads(requests.read(n_settings))
        config = AudioConfig(**settings)
        _limit_processor_time(config.ffmpeg_timeout_s)
        rate_hz, payload = respond(requests.read(n_bytes), name, config)
        responses.write(_RESPONSE.pack(rate_hz, len(payload)))
        responses.write(payload)
        responses.flush()


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
