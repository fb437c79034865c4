"""Load any recording, or an array, as one mono waveform at one rate, within limits.

libsndfile decodes WAV, FLAC, MP3, Ogg Vorbis and Opus; ffmpeg decodes the formats of phones and
browsers (`ser_core.audio.ffmpeg`). The format is detected from a file's content, never its name.
"""

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from ser_core.audio.ffmpeg import decode, demuxer_for
from ser_core.audio.stream import BLOCK_FRAMES, CUT_OFF, Stream, to_waveform
from ser_core.config import AudioConfig
from ser_core.errors import AudioError

AudioSource = str | Path | tuple[int, npt.NDArray[Any]]
"""Path of a file, or `(sample_rate_hz, samples)`."""

_DEFAULTS = AudioConfig()
_FORMATS = "WAV, FLAC, MP3, Ogg Vorbis, Opus, AIFF, m4a, AAC, mp4 or WebM"

_SF_UNKNOWN_FORMAT = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
_SF_UNKNOWN_LENGTH = 2**63 - 1  # libsndfile's SF_COUNT_MAX
_ESTIMATED_LENGTH = ("MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "VORBIS", "OPUS")

_WAV_STREAMED_BYTES = 0x7FFF_0000  # sizes from here on are placeholders (sox, arecord, ffmpeg)
_WAV_SLACK_BYTES = 4_096  # some recorders count their own header into the data


def load_audio(source: AudioSource, config: AudioConfig = _DEFAULTS) -> npt.NDArray[np.float32]:
    """Load a recording as one mono waveform.

    Channels are averaged, then soxr resamples (quality HQ). Integers are scaled to [-1, 1) by
    their type; floats are not scaled.

    Truncated files are rejected: a WAV whose data chunk is more than 4,096 bytes shorter than its
    header says, a FLAC that ends early, and an m4a, mp4 or webm that ffmpeg finds incomplete.
    MP3, Ogg and ADTS have no reliable length: of a truncated one, the rest is loaded.

    Args:
        source: Path of a file, or `(sample_rate_hz, samples)` with samples
            (n_samples,), (n_samples, n_channels) or (n_channels, n_samples), the
            longer axis being time; integers of 8 to 32 bits or any float type.
        config: Rate of the result, and the limits.

    Returns:
        Waveform, (n_samples,) float32 at `config.sample_rate_hz`.

    Raises:
        AudioError: The source cannot be read or breaks a limit.
    """
    if isinstance(source, tuple):
        return to_waveform(_from_array(source), config)
    if not isinstance(source, str | Path):
        raise AudioError(
            f"Got {type(source).__name__} as a recording; expected the path of a file or "
            "(sample_rate_hz, samples). Choose a file or record again."
        )
    path = Path(source)
    content = _read(path, config)
    demuxer = demuxer_for(content)
    decoded = decode(path, demuxer, config) if demuxer else _from_libsndfile(content, path.name)
    with decoded as stream:
        return to_waveform(stream, config)


def _from_array(source: tuple[int, npt.NDArray[Any]]) -> Stream:
    name = "The recording"
    if len(source) != 2 or not isinstance(source[0], int | np.integer):
        raise AudioError(f"{name} must be (sample_rate_hz, samples), with an integer sample rate.")
    sample_rate_hz, samples = source
    if not isinstance(samples, np.ndarray):
        raise AudioError(
            f"{name}'s samples are a {type(samples).__name__}; expected a NumPy array. "
            "Convert them with numpy.asarray."
        )
    samples = np.asarray(samples)  # a matrix or a masked array has rules of its own
    dtype = samples.dtype
    if dtype.kind not in "iuf" or (dtype.kind in "iu" and dtype.itemsize > 4):
        raise AudioError(
            f"{name}'s samples are of type {dtype}; expected integers of 8, 16 or 32 bits, or "
            "floats. Convert them, for example to float32 between -1 and 1."
        )
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise AudioError(
            f"{name}'s samples have shape {samples.shape}; expected (n_samples,) or (n_samples, "
            "n_channels), not empty. Record again, or reshape them."
        )
    frames = samples.reshape(len(samples), -1)
    if frames.shape[0] < frames.shape[1]:  # the shortest recording is longer than 64 channels
        frames = frames.T
    n_frames, n_channels = frames.shape
    starts = range(0, n_frames, BLOCK_FRAMES)
    blocks = (_to_float(frames[start : start + BLOCK_FRAMES]) for start in starts)
    return Stream(name, int(sample_rate_hz), n_channels, blocks, n_promised=n_frames)


def _to_float(block: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if block.dtype.kind == "f":
        return block
    full_scale = 2.0 ** (8 * block.dtype.itemsize - 1)
    zero = full_scale if block.dtype.kind == "u" else 0.0
    return (block - zero) / full_scale


def _read(path: Path, config: AudioConfig) -> bytes:
    name = path.name or "The path"
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{name} is a folder; expected a recording. Choose a file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{name} is a pipe or a device; expected a file. Save it as a file.")
        if status.st_size == 0:
            raise AudioError(f"{name} is empty (0 bytes). Record or upload it again.")
        if status.st_size > config.max_bytes:
            raise AudioError(
                f"{name} is too large: {status.st_size:,} bytes; at most {config.max_bytes:,} are "
                "accepted. Cut it shorter, or export it as FLAC or MP3."
            )
        with path.open("rb") as file:
            return file.read(status.st_size)  # no more than was measured, should it grow
    except FileNotFoundError as error:
        raise AudioError(f"{name} does not exist. Check the path.") from error
    except PermissionError as error:
        raise AudioError(
            f"{name} may not be read: permission denied. Check the file's permissions."
        ) from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be opened. Check the path and the disk.") from error


class _Content(io.BytesIO):
    """A file that ignores seeks to before its start, which damaged files cause in libsndfile."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no type hints
    """A file without seeks; soundfile's, after each read, fail at the end of a streamed FLAC."""

    def seekable(self) -> bool:
        return False


@contextmanager
def _from_libsndfile(content: bytes, name: str) -> Iterator[Stream]:
    try:
        with _Sequential(_Content(_mend_wav(content, name))) as file:
            trusted = file.subtype not in _ESTIMATED_LENGTH and file.frames < _SF_UNKNOWN_LENGTH
            n_promised = file.frames if trusted else None
            yield Stream(name, file.samplerate, file.channels, _blocks(file), n_promised)
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


def _blocks(file: soundfile.SoundFile) -> Iterator[npt.NDArray[np.float32]]:
    while len(block := file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block


def _mend_wav(content: bytes, name: str) -> bytes:
    """Reject a truncated WAV, and repair one that was written to a pipe.

    A pipe cannot be rewound to fill in the size of the data chunk. Some programs leave a huge
    one, which libsndfile reads as "to the end"; some leave 0, which a huge one replaces here.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        return content
    chunk = 12
    while content[chunk : chunk + 4] not in (b"data", b""):
        size = int.from_bytes(content[chunk + 4 : chunk + 8], "little")
        chunk += 8 + size + size % 2
    data = chunk + 8
    declared = int.from_bytes(content[chunk + 4 : data], "little")
    if declared == 0:
        return content[: chunk + 4] + b"\xff\xff\xff\xff" + content[data:]
    if declared < _WAV_STREAMED_BYTES and declared > len(content) - data + _WAV_SLACK_BYTES:
        raise AudioError(f"{name} {CUT_OFF}")
    return content
