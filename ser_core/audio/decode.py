"""Decode a recording as a stream of blocks, with libsndfile or FFmpeg.

The decoder is chosen by content, never by name. FFmpeg (PyAV) is given one demuxer and no protocol,
so that a playlist or a script with the name of a recording cannot make it read anything else. The
input is untrusted: `ser_core.audio.sandbox` calls this in a child process.
"""

import io
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate, chain
from typing import Any, BinaryIO

import av
import av.logging
import numpy as np
import numpy.typing as npt
import soundfile

from ser_core.audio.stream import BLOCK_FRAMES, CUT_OFF, Stream, to_float
from ser_core.errors import AudioError

_FORMATS = "WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF, m4a, AAC, mp4 or WebM"

_SIGNATURES = {
    "matroska": rb"\x1a\x45\xdf\xa3",  # EBML: webm, mkv
    "flac": rb"fLaC",
    "ogg": rb"OggS",
    "caf": rb"caff.{24}(?!lpcm)",
    "au": rb"\.snd",
    "aiff": rb"FORM.{4}AIF[FC]",
    "mov": rb".{4}(ftyp|moov|mdat|wide|free|skip)",  # ISO base media and QuickTime
    "aac": rb"\xff[\xf0\xf1\xf8\xf9]",  # ADTS: twelve bits of sync word, then layer 0
    "mp3": rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]",  # layers II and III
}
"""Pattern of a file's first bytes, by FFmpeg's demuxer; all others are libsndfile's."""

_EXACT_LENGTH = ("flac", "aiff", "au")
"""Demuxers whose header has the number of frames: fewer are a truncated or damaged file."""

_SYMPTOMS = {
    "moov atom not found": CUT_OFF,
    "partial file": CUT_OFF,
    "ended prematurely": CUT_OFF,
    "Sample rate change": "joins parts of different sample rates. Export it again.",
}
"""Text of an error after the file's name, by what FFmpeg logs."""

_SF_UNKNOWN_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
_SF_UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's SF_COUNT_MAX
_ESTIMATED_LENGTH = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "VORBIS", "OPUS")

_WAV_STREAMED_BYTES = 0x7FFF_0000  # sizes from here on are placeholders (sox, arecord, ffmpeg)
_RF64 = "<4sI4s4sIQQQI"  # head of a WAV whose sizes need more than 32 bits
_WAV_SLACK_BYTES = 4_096  # some recorders count their own header into the data
_TOTAL_BYTES = {b"riff": (16, 0), b"RF64": (20, 8)}
"""Where a large WAV (W64, RF64) has the size of the file, and the bytes that it leaves out."""
_WAV_METADATA_BYTES = 1 << 24  # searched at the end of a streamed WAV
_WAV_METADATA = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"fact", b"PEAK", b"iXML")


def open_stream(file: BinaryIO, name: str) -> AbstractContextManager[Stream]:
    """Open the first audio stream at its own rate, with all its channels.

    A single stream of Opus or Vorbis is decoded by libsndfile, which keeps Opus's original rate;
    joined ones by FFmpeg, because libsndfile stops after the first.

    Args:
        file: The recording; it can be sought, and stays open.
        name: Its name in messages.

    Returns:
        Context of a stream that is decoded on demand.

    Raises:
        AudioError: The file has no audio stream, or is damaged, cut off or of an unknown format.
    """
    demuxer = demuxer_for(file)
    if demuxer is None or (demuxer == "ogg" and _is_single_ogg(file)):
        return _open_libsndfile(file, name)
    return _open_ffmpeg(_Content([(file, 0, _size_of(file))]), name, demuxer)


def open_webm(source: io.RawIOBase, name: str) -> AbstractContextManager[Stream]:
    """Open a WebM that is still being received, whose bytes can be read in their order alone.

    Args:
        source: Its bytes; a read returns those that have arrived.
        name: Its name in messages.

    Returns:
        Context of a stream that is decoded as it arrives.

    Raises:
        AudioError: As in `open_stream`.
    """
    return _open_ffmpeg(source, name, "matroska")


def demuxer_for(file: BinaryIO) -> str | None:
    """Return FFmpeg's name of the demuxer for a recording; None for files of libsndfile."""
    start = 0
    while (tag := _read_at(file, start, 10))[:3] == b"ID3":  # each byte of its size has 7 bits
        a, b, c, d = tag[6:].ljust(4, b"\0")
        start += 10 + (a << 21 | b << 14 | c << 7 | d)
    head = _read_at(file, start, 32)
    for demuxer, signature in _SIGNATURES.items():
        if re.match(signature, head, re.DOTALL):
            return demuxer
    return "mp3" if start else None


def _read_at(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    file.seek(start)
    return file.read(n_bytes)


def _size_of(file: BinaryIO) -> int:
    return file.seek(0, io.SEEK_END)


def _is_single_ogg(file: BinaryIO) -> bool:
    """Return whether this is one stream, which libsndfile decodes, and nothing else."""
    head = _read_at(file, 28, 8)
    if head != b"OpusHead" and head[1:7] != b"vorbis":
        return False
    page, n_streams = 0, 0
    while (header := _read_at(file, page, 27 + 255))[:4] == b"OggS" and len(header) > 26:
        n_streams += header[5] >> 1 & 1
        lacing = header[27 : 27 + header[26]]
        page += 27 + len(lacing) + sum(lacing)
    if n_streams != 1 or page < _size_of(file):
        return False
    try:
        soundfile.SoundFile(_Content([(file, 0, _size_of(file))])).close()
    except soundfile.LibsndfileError:  # the beginning was cut off, for example
        return False
    return True


@contextmanager
def _open_ffmpeg(content: io.RawIOBase, name: str, demuxer: str) -> Iterator[Stream]:
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)  # else the next file gets the repetitions
    with av.logging.Capture(local=True) as messages:
        try:
            options = {"protocol_whitelist": "none", "format_whitelist": demuxer}
            with av.open(
                content, "r", format=demuxer, options=options, metadata_errors="replace"
            ) as container:
                if not container.streams.audio:
                    raise AudioError(
                        f"{name} contains no audio, only other streams. Choose a file with audio."
                    )
                stream = container.streams.audio[0]
                if stream.codec_context is None:
                    raise AudioError(f"{name} has an unknown encoding. Export it again as WAV.")
                stream.codec_context.thread_type = "NONE"
                exact = demuxer in _EXACT_LENGTH
                frames = _frames(container, stream, strict=exact)
                if (first := next(frames, None)) is None:
                    raise av.InvalidDataError(0, "no frame")
                rate_hz = first.sample_rate
                promised_s = (stream.duration or 0) * (stream.time_base or 0) if exact else 0
                blocks = _blocks_of(chain([first], frames), rate_hz, name)
                n_promised = round(promised_s * rate_hz) or None
                yield Stream(name, rate_hz, first.layout.nb_channels, blocks, n_promised)
                _check_messages(messages, name)
        except av.FFmpegError as error:
            _check_messages(messages, name)
            if isinstance(error, MemoryError):
                raise
            raise AudioError(f"{name} is damaged or cut off. Export it again.") from error


def _frames(
    container: "av.container.InputContainer", stream: "av.AudioStream", *, strict: bool
) -> "Iterator[av.AudioFrame]":
    """Decode packet by packet; unless `strict`, a damaged packet is left out as players do."""
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            if strict or isinstance(error, MemoryError):
                raise


def _blocks_of(
    frames: "Iterator[av.AudioFrame]", rate_hz: int, name: str
) -> Iterator[npt.NDArray[np.floating]]:
    for frame in frames:
        if frame.sample_rate != rate_hz:
            raise AudioError(f"{name} {_SYMPTOMS['Sample rate change']}")
        samples = frame.to_ndarray()
        planar = frame.format.is_planar
        yield to_float(samples.T if planar else samples.reshape(-1, frame.layout.nb_channels))


def _check_messages(messages: list[tuple[int, str, str]], name: str) -> None:
    for _, _, message in messages:
        for symptom, meaning in _SYMPTOMS.items():
            if symptom in message:
                raise AudioError(f"{name} {meaning}")


Piece = tuple[BinaryIO, int, int]
"""A file, and the start and the size of a part of it."""


class _Content(io.RawIOBase):
    """Parts of files as one file, which is buffered by its readers.

    It ignores seeks to before its start, which damaged files cause in libsndfile.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = [(file, start, size) for file, start, size in pieces if size > 0]
        self._ends = [*accumulate(size for _, _, size in self._pieces)]
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origins = (0, self._place, self._ends[-1] if self._ends else 0)
        place = origins[whence] + offset
        self._place = place if place >= 0 else self._place
        return self._place

    def readinto(self, buffer: Any) -> int:
        i = bisect_right(self._ends, self._place)
        if i == len(self._pieces):
            return 0
        file, start, size = self._pieces[i]
        left = self._ends[i] - self._place
        read = _read_at(file, start + size - left, min(left, len(buffer)))
        buffer[: len(read)] = read
        self._place += len(read)
        return len(read)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no type hints
    """A file without seeks; soundfile's, after each read, fail at the end of a streamed file."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _open_libsndfile(file: BinaryIO, name: str) -> Iterator[Stream]:
    try:
        with _Sequential(io.BufferedReader(_Content(_mend_wav(file, name)))) as sound:
            trusted = sound.subtype not in _ESTIMATED_LENGTH and sound.frames < _SF_UNKNOWN_LENGTH
            n_promised = sound.frames if trusted else None
            yield Stream(name, sound.samplerate, sound.channels, _read_blocks(sound), n_promised)
    except soundfile.LibsndfileError as error:
        if error.code == _SF_UNKNOWN_FORMAT:
            raise AudioError(
                f"We couldn't read {name}. Supported formats: {_FORMATS}. "
                "Choose another file, or export it in one of these."
            ) from error
        raise AudioError(
            f"{name} is damaged, cut off or in an unusual format. "
            "Record or export it again, for example as 16-bit WAV."
        ) from error


def _read_blocks(file: soundfile.SoundFile) -> Iterator[npt.NDArray[np.float32]]:
    while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block


def _mend_wav(file: BinaryIO, name: str) -> list[Piece]:
    """Reject a truncated WAV, and rewrite one that was joined or written to a pipe.

    A pipe cannot be rewound to fill in the size of the data chunk: some programs leave a huge one,
    some leave 0. The sound then lasts until the end, or until the metadata there.

    Returns:
        The parts of the file to decode.
    """
    head, n_bytes = _read_at(file, 0, 32), _size_of(file)
    whole = [(file, 0, n_bytes)]
    for magic, (at, before) in _TOTAL_BYTES.items():
        total = int.from_bytes(head[at : at + 8], "little") + before
        if head[:4] == magic and n_bytes + _WAV_SLACK_BYTES < total < 2**40:
            raise AudioError(f"{name} {CUT_OFF}")
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return whole
    parts, formats, is_plain = list[Piece](), set[bytes](), True
    for kind, body, declared in _riff_chunks(file, 12):
        size = declared
        if kind == b"fmt ":
            formats.add(_read_at(file, body, min(size, _WAV_SLACK_BYTES)))
        if kind != b"data":
            continue
        if size >= _WAV_STREAMED_BYTES or (size == 0 and not _is_riff(file, body)):
            size = _sound_end(file, body) - body
        elif size > n_bytes - body + _WAV_SLACK_BYTES:
            raise AudioError(f"{name} {CUT_OFF}")
        parts.append((file, body, min(size, n_bytes - body)))
        is_plain &= size == declared
        if size > declared or size < declared - _WAV_SLACK_BYTES:
            break  # streamed: the rest is metadata
    if len(formats) > 1:
        raise AudioError(f"{name} joins parts of different formats. Export it again.")
    if is_plain and len(parts) < 2:
        return whole
    sound_bytes = sum(size for _, _, size in parts)
    before, size_field = (
        parts[0][1] - 4,
        io.BytesIO(min(sound_bytes, 2**32 - 1).to_bytes(4, "little")),
    )
    if sound_bytes < 2**32:
        return [(file, 0, before), (size_field, 0, 4), *parts]
    large = struct.pack(_RF64, b"RF64", 2**32 - 1, b"WAVE", b"ds64", 28, n_bytes, sound_bytes, 0, 0)
    return [(io.BytesIO(large), 0, len(large)), (file, 12, before - 12), (size_field, 0, 4), *parts]


def _riff_chunks(file: BinaryIO, place: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of each chunk, also in a WAV that is appended to another."""
    while len(head := _read_at(file, place, 8)) == 8:
        name, body = head[:4], place + 8
        if not name.decode("latin-1").isprintable():
            return  # no chunk
        size = int.from_bytes(head[4:], "little")
        yield name, body, size
        place = body + (4 if name == b"RIFF" else size + size % 2)


def _is_riff(file: BinaryIO, place: int) -> bool:
    """Return whether well-formed chunks fill the file from here to its end."""
    end = place
    for _, body, size in _riff_chunks(file, place):
        end = body + size
    n_bytes = _size_of(file)
    return end in (n_bytes, n_bytes - 1)


def _sound_end(file: BinaryIO, start: int) -> int:
    """Return where the metadata begins that reaches to the end of the file."""
    n_bytes = _size_of(file)
    before = max(start, n_bytes - _WAV_METADATA_BYTES)
    tail = _read_at(file, before, n_bytes - before)
    end = len(tail)
    while True:
        places = [tail.rfind(name, 0, end) for name in _WAV_METADATA]
        sizes = {at: int.from_bytes(tail[at + 4 : at + 8], "little") for at in places if at >= 0}
        ends = {at: at + 8 + size + size % 2 for at, size in sizes.items()}
        place = next((at for at, chunk_end in ends.items() if chunk_end == end), None)
        if place is None:
            return before + end
        end = place
