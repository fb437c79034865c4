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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from ser_core.audio.stream import BLOCK_FRAMES, CUT_OFF, Stream
from ser_core.config import AudioConfig
from ser_core.errors import AudioError

logger = logging.getLogger(__name__)

_AU_HEADER = struct.Struct(">4s5I")  # magic, data offset, size, encoding, sample rate, channels
_AU_SAMPLE = np.dtype(">f4")

_SYMPTOMS = {
    "matches no streams": ("contains no audio, only other streams. Choose a file with audio."),
    "moov atom not found": CUT_OFF,
    "partial file": CUT_OFF,
    "ended prematurely": CUT_OFF,
}
"""Text of an error after the file's name, by what ffmpeg prints."""


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
    process = _start(path, demuxer, config)
    stdout = cast(IO[bytes], process.stdout)
    messages: deque[bytes] = deque(maxlen=20)  # damage causes a line for each packet
    reader = threading.Thread(target=messages.extend, args=(process.stderr,), daemon=True)
    watchdog = threading.Timer(config.ffmpeg_timeout_s, process.kill)
    deadline = time.monotonic() + config.ffmpeg_timeout_s

    def check() -> None:
        code = process.wait()
        reader.join()
        if code != 0 and time.monotonic() >= deadline:
            raise AudioError(
                f"{path.name} was not decoded within {config.ffmpeg_timeout_s:g} s. "
                "Choose a shorter recording, or export it as WAV, FLAC or MP3."
            )
        _check_messages(path, code, b"".join(messages))

    with process:
        reader.start()
        watchdog.start()
        try:
            header = stdout.read(_AU_HEADER.size)
            if len(header) < _AU_HEADER.size:
                check()
                raise AudioError(
                    f"{path.name} contains no audio that can be decoded. Export it again."
                )
            _, data_offset, _, _, sample_rate_hz, n_channels = _AU_HEADER.unpack(header)
            stdout.read(data_offset - _AU_HEADER.size)  # the annotation
            yield Stream(path.name, sample_rate_hz, n_channels, _blocks(stdout, n_channels, check))
        finally:
            watchdog.cancel()
            process.kill()
            reader.join()


def _blocks(
    stdout: IO[bytes], n_channels: int, check: Callable[[], None]
) -> Iterator[npt.NDArray[np.float32]]:
    frame_bytes = n_channels * _AU_SAMPLE.itemsize
    while chunk := stdout.read(BLOCK_FRAMES * frame_bytes):
        whole = len(chunk) - len(chunk) % frame_bytes  # a killed ffmpeg may leave a torn frame
        yield np.frombuffer(chunk[:whole], _AU_SAMPLE).reshape(-1, n_channels)
    check()


def _check_messages(path: Path, code: int, messages: bytes) -> None:
    # The path is removed because a name may look like a symptom.
    text = messages.decode(errors="replace").replace(str(path.absolute()), "")
    logger.debug("ffmpeg ended with %s on %s: %s", code, path.name, text)
    for symptom, meaning in _SYMPTOMS.items():
        if symptom in text:
            raise AudioError(f"{path.name} {meaning}")
    if code != 0:
        raise AudioError(f"{path.name} is damaged: ffmpeg cannot decode it. Export it again.")


def _start(path: Path, demuxer: str, config: AudioConfig) -> "subprocess.Popen[bytes]":
    advice = "or export the recording as WAV, FLAC or MP3."
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{path.name} needs ffmpeg, which is not installed. Install ffmpeg, {advice}"
        )
    command = [
        *(program, "-nostdin", "-v", "error", "-threads", "1"),
        *("-protocol_whitelist", "file", "-format_whitelist", demuxer, "-f", demuxer),
        # One second more than the limit separates a recording over it from one at it.
        *("-i", f"file:{path.absolute()}", "-map", "0:a:0", "-vn"),
        *("-t", str(config.max_duration_s + 1)),
        *("-map_metadata", "-1", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"),
    ]
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise AudioError(
            f"{path.name} needs ffmpeg, which does not start. Repair ffmpeg, {advice}"
        ) from error
