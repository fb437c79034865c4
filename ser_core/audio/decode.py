"""Decode the bytes of a recording as a stream of blocks, with libsndfile or FFmpeg.

The decoder is chosen by content, never by name. FFmpeg (PyAV) is given one demuxer and no protocol,
so that a playlist or a script with the name of a recording cannot make it read anything else. The
input is untrusted: `ser_core.audio.sandbox` calls this in a child process.
"""

import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain

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
_WAV_SLACK_BYTES = 4_096  # some recorders count their own header into the data
_TOTAL_BYTES = {b"riff": (16, 0), b"RF64": (20, 8)}
"""Where a large WAV (W64, RF64) has the size of the file, and the bytes that it leaves out."""
_WAV_METADATA = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"fact", b"PEAK", b"iXML")


def open_stream(content: bytes, name: str) -> AbstractContextManager[Stream]:
    """Open the first audio stream at its own rate, with all its channels.

    A single stream of Opus or Vorbis is decoded by libsndfile, which keeps Opus's original rate;
    joined ones by FFmpeg, because libsndfile stops after the first.

    Args:
        content: The file.
        name: Its name in messages.

    Returns:
        Context of a stream that is decoded on demand.

    Raises:
        AudioError: The file has no audio stream, or is damaged, cut off or of an unknown format.
    """
    demuxer = demuxer_for(content)
    if demuxer is None or (demuxer == "ogg" and _is_single_ogg(content)):
        return _open_libsndfile(content, name)
    return _open_ffmpeg(content, name, demuxer)


def demuxer_for(content: bytes) -> str | None:
    """Return FFmpeg's name of the demuxer for a recording; None for files of libsndfile."""
    start = 0
    while content[start : start + 3] == b"ID3":  # a tag; each byte of its size has 7 bits
        a, b, c, d = content[start + 6 : start + 10].ljust(4, b"\0")
        start += 10 + (a << 21 | b << 14 | c << 7 | d)
    head = content[start : start + 32]
    for demuxer, signature in _SIGNATURES.items():
        if re.match(signature, head, re.DOTALL):
            return demuxer
    return "mp3" if start else None


def _is_single_ogg(content: bytes) -> bool:
    """Return whether this is one stream, which libsndfile decodes, and nothing else."""
    head = content[28:36]
    if head != b"OpusHead" and head[1:7] != b"vorbis":
        return False
    page, n_streams = 0, 0
    while content[page : page + 4] == b"OggS" and len(content) > page + 26:
        n_streams += content[page + 5] >> 1 & 1
        lacing = content[page + 27 : page + 27 + content[page + 26]]
        page += 27 + len(lacing) + sum(lacing)
    if n_streams != 1 or page < len(content):
        return False
    try:
        soundfile.SoundFile(io.BytesIO(content)).close()
    except soundfile.LibsndfileError:  # the beginning was cut off, for example
        return False
    return True


@contextmanager
def _open_ffmpeg(content: bytes, name: str, demuxer: str) -> Iterator[Stream]:
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)  # else the next file gets the repetitions
    with av.logging.Capture(local=True) as messages:
        try:
            file = io.BytesIO(content)
            options = {"protocol_whitelist": "none", "format_whitelist": demuxer}
            with av.open(
                file, "r", format=demuxer, options=options, metadata_errors="replace"
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


class _Content(io.BytesIO):
    """A file that ignores seeks to before its start, which damaged files cause in libsndfile."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no type hints
    """A file without seeks; soundfile's, after each read, fail at the end of a streamed file."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _open_libsndfile(content: bytes, name: str) -> Iterator[Stream]:
    try:
        with _Sequential(_Content(_mend_wav(content, name))) as file:
            trusted = file.subtype not in _ESTIMATED_LENGTH and file.frames < _SF_UNKNOWN_LENGTH
            n_promised = file.frames if trusted else None
            yield Stream(name, file.samplerate, file.channels, _read_blocks(file), n_promised)
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


def _mend_wav(content: bytes, name: str) -> bytes:
    """Reject a truncated WAV, and rewrite one that was joined or written to a pipe.

    A pipe cannot be rewound to fill in the size of the data chunk: some programs leave a huge one,
    some leave 0. The sound then lasts until the end, or until the metadata there.
    """
    for magic, (at, before) in _TOTAL_BYTES.items():
        total = int.from_bytes(content[at : at + 8], "little") + before
        if content[:4] == magic and len(content) + _WAV_SLACK_BYTES < total < 2**40:
            raise AudioError(f"{name} {CUT_OFF}")
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return content
    header, parts, formats, is_plain = b"", list[bytes](), set[bytes](), True
    for kind, body, declared in _riff_chunks(content, 12):
        size = declared
        if kind == b"fmt ":
            formats.add(content[body : body + size])
        if kind != b"data":
            continue
        if size >= _WAV_STREAMED_BYTES or (size == 0 and not _is_riff(content, body)):
            size = _sound_end(content, body) - body
        elif size > len(content) - body + _WAV_SLACK_BYTES:
            raise AudioError(f"{name} {CUT_OFF}")
        header = header or content[: body - 4]
        parts.append(content[body : body + size])
        is_plain &= size == declared
        if size > declared or size < declared - _WAV_SLACK_BYTES:
            break  # streamed: the rest is metadata
    if len(formats) > 1:
        raise AudioError(f"{name} joins parts of different formats. Export it again.")
    if is_plain and len(parts) < 2:
        return content
    sound = b"".join(parts)
    return header + len(sound).to_bytes(4, "little") + sound


def _riff_chunks(content: bytes, place: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and size of each chunk, also in a WAV that is appended to another."""
    while place + 8 <= len(content):
        name, body = content[place : place + 4], place + 8
        if not name.decode("latin-1").isprintable():
            return  # no chunk
        size = int.from_bytes(content[place + 4 : body], "little")
        yield name, body, size
        place = body + (4 if name == b"RIFF" else size + size % 2)


def _is_riff(content: bytes, place: int) -> bool:
    """Return whether well-formed chunks fill the content from here to its end."""
    end = place
    for _, body, size in _riff_chunks(content, place):
        end = body + size
    return end in (len(content), len(content) - 1)


def _sound_end(content: bytes, start: int) -> int:
    """Return where the metadata begins that reaches to the end of the file."""
    end = len(content)
    while True:
        places = [content.rfind(name, start, end) for name in _WAV_METADATA]
        sizes = {at: int.from_bytes(content[at + 4 : at + 8], "little") for at in places if at >= 0}
        ends = {at: at + 8 + size + size % 2 for at, size in sizes.items()}
        place = next((at for at, chunk_end in ends.items() if chunk_end == end), None)
        if place is None:
            return end
        end = place
