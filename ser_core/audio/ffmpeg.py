"""Containers that libsndfile does not read, decoded by ffmpeg as a subprocess.

The input is untrusted, so ffmpeg runs with one demuxer, chosen by content, one protocol, one
thread and a time limit: a playlist or a script with the name of a recording cannot make it read
anything else.
"""

import logging
import shutil
import struct
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self, cast

import numpy as np
import numpy.typing as npt

from ser_core.audio.stream import BLOCK_FRAMES, CUT_OFF, Stream
from ser_core.config import AudioConfig
from ser_core.errors import AudioError

logger = logging.getLogger(__name__)

_AU_HEADER = struct.Struct(">4s5I")  # magic, data offset, size, encoding, sample rate, channels
_AU_SAMPLE = np.dtype(">f4")

_SYMPTOMS = {
    "matches no streams": (
        "contains no audio, only other streams. Choose a file with audio."
    ),
    "moov atom not found": CUT_OFF,
    "partial file": CUT_OFF,
    "ended prematurely": CUT_OFF,
}
"""Parts of ffmpeg's messages, and the text of ours after the name."""


def demuxer_for(content: bytes) -> str | None:
    """Return ffmpeg's name of the demuxer for a recording; None for files of libsndfile.

    Args:
        content: The file, or at least its first 8 bytes.
    """
    if content[4:8] == b"ftyp":  # ISO base media: m4a, mp4, 3gp, mov
        return "mov"
    if content[:4] == b"\x1a\x45\xdf\xa3":  # EBML: webm, mkv
        return "matroska"
    # ADTS: twelve bits of sync word, then layer 0, which no MP3 has.
    if content[:1] == b"\xff" and len(content) > 1 and content[1] & 0xF6 == 0xF0:
        return "aac"
    return None


@contextmanager
def decode(path: Path, demuxer: str, config: AudioConfig) -> Iterator[Stream]:
    """Decode the first audio stream at its own rate, with all its channels.

    ffmpeg writes Sun's AU format: its header of six integers is complete before the first sample,
    so rate and channels need neither ffprobe nor a seekable output.

    Args:
        path: The recording, a regular file.
        demuxer: Result of `demuxer_for`.
        config: The limits on length and time.

    Yields:
        Blocks of float32, decoded on demand. Leaving the context ends ffmpeg.

    Raises:
        AudioError: ffmpeg is missing, failed or took too long; the file has no
            audio stream, is damaged or is cut off.
    """
    with _Run(path, demuxer, config) as run:
        header = run.stdout.read(_AU_HEADER.size)
        if len(header) < _AU_HEADER.size:
            run.check()
            raise AudioError(f"{path.name} contains no audio that can be decoded. Export it again.")
        _, data_offset, _, _, sample_rate_hz, n_channels = _AU_HEADER.unpack(header)
        run.stdout.read(data_offset - _AU_HEADER.size)  # the annotation
        yield Stream(path.name, sample_rate_hz, n_channels, _blocks(run, n_channels))


def _blocks(run: "_Run", n_channels: int) -> Iterator[npt.NDArray[np.float32]]:
    frame_bytes = n_channels * _AU_SAMPLE.itemsize
    while chunk := run.stdout.read(BLOCK_FRAMES * frame_bytes):
        whole = len(chunk) - len(chunk) % frame_bytes  # a killed ffmpeg may leave a torn frame
        yield np.frombuffer(chunk[:whole], _AU_SAMPLE).reshape(-1, n_channels)
    run.check()


class _Run:
    """One ffmpeg process, which ends with its context or its time limit."""

    def __init__(self, path: Path, demuxer: str, config: AudioConfig) -> None:
        self._path = path
        self._timeout_s = config.ffmpeg_timeout_s
        self._deadline = time.monotonic() + config.ffmpeg_timeout_s
        try:
            self._process = subprocess.Popen(
                _command(path, demuxer, config),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise AudioError(
                f"{path.name} needs ffmpeg, which does not start. "
                "Repair ffmpeg, or export the recording as WAV, FLAC or MP3."
            ) from error
        self.stdout = cast(IO[bytes], self._process.stdout)
        self._last_lines: deque[bytes] = deque(maxlen=20)  # damage earns a line for each packet
        self._listener = threading.Thread(
            target=self._last_lines.extend, args=(self._process.stderr,), daemon=True
        )
        self._watchdog = threading.Timer(self._timeout_s, self._process.kill)

    def __enter__(self) -> Self:
        self._listener.start()
        self._watchdog.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._process.kill()
        self._listener.join()
        with self._process:  # closes the pipes and reaps
            pass

    def check(self) -> None:
        """Wait for the end of the process.

        Raises:
            AudioError: It did not end well.
        """
        name = self._path.name
        code = self._process.wait()
        self._listener.join()
        said = b"".join(self._last_lines).decode(errors="replace")
        said = said.replace(str(self._path.absolute()), "")  # a name may read like a symptom
        logger.debug("ffmpeg ended with %s on %s: %s", code, name, said)
        if code != 0 and time.monotonic() >= self._deadline:
            raise AudioError(
                f"{name} was not decoded within {self._timeout_s:g} s. "
                "Choose a shorter recording, or export it as WAV, FLAC or MP3."
            )
        for symptom, meaning in _SYMPTOMS.items():
            if symptom in said:
                raise AudioError(f"{name} {meaning}")
        if code != 0:
            raise AudioError(f"{name} is damaged: ffmpeg cannot decode it. Export it again.")


def _command(path: Path, demuxer: str, config: AudioConfig) -> list[str]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{path.name} needs ffmpeg, which is not installed. "
            "Install ffmpeg, or export the recording as WAV, FLAC or MP3."
        )
    # One second over the limit tells a recording over the limit from one at the limit.
    longest = str(config.max_duration_s + 1)
    return [
        *(program, "-nostdin", "-v", "error", "-threads", "1"),
        *("-protocol_whitelist", "file", "-format_whitelist", demuxer, "-f", demuxer),
        *("-i", f"file:{path.absolute()}", "-map", "0:a:0", "-vn", "-t", longest),
        *("-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"),
    ]
