"""Load any recording, or an array, as one mono waveform, within limits.

A file's bytes are decoded in a child process (`ser_core.audio.sandbox`), with libsndfile or FFmpeg
(`ser_core.audio.decode`). The format is detected from the content, never from the name.
"""

import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_core.audio import sandbox
from ser_core.audio.sandbox import Recording
from ser_core.audio.stream import (
    BLOCK_FRAMES,
    Stream,
    Waveform,
    to_blocks,
    to_float,
    to_waveform,
)
from ser_core.config import AudioConfig
from ser_core.errors import AudioError
from ser_core.names import printable

AudioSource = str | Path | tuple[int, npt.NDArray[Any]]
"""Path of a file, or `(sample_rate_hz, samples)`."""

_DEFAULTS = AudioConfig()


def load_audio(source: AudioSource, config: AudioConfig = _DEFAULTS) -> Waveform:
    """Load a recording as one mono waveform.

    Channels are averaged, then soxr resamples (quality HQ). Where channels cancel each other, the
    loudest is used alone. Integers are scaled to [-1, 1) by their type; floats are not scaled.

    Truncated files are rejected: a WAV whose data chunk is more than 4,096 bytes shorter than its
    header says, a FLAC, AIFF or AU that ends early, and an m4a, mp4 or webm that FFmpeg finds
    incomplete. MP3, Ogg and ADTS have no reliable length: of a truncated one, the rest is loaded.
    Of joined recordings, all parts are loaded, or none if their sample rates differ.

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
        return to_waveform(lambda: nullcontext(_from_array(source)), config)[1]
    return _load_file(_path_of(source), config)[1]


def stream_audio(
    source: AudioSource,
    config: AudioConfig = _DEFAULTS,
    *,
    by_channel: bool = False,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Iterator[Waveform]:
    """Load a recording block by block, in memory that does not grow with its length.

    Channels are averaged as by `load_audio`, except that the loudest takes the place of channels
    that cancel each other only from the block on in which they do.

    Args:
        source: As in `load_audio`.
        config: Rate of the result, and the limits.
        by_channel: Whether to keep the channels apart.
        on_progress: Called before each block with the share of the source that has been read.

    Yields:
        (n_samples, n_channels) float32, seconds long; one channel unless `by_channel`.

    Raises:
        AudioError: The source cannot be read or breaks a limit.
    """
    if isinstance(source, tuple):
        frames, n_done = _from_array(source), 0
        for block in to_blocks(frames, config, by_channel=by_channel):
            n_done += len(block)
            n_total = (frames.n_promised or 1) * config.sample_rate_hz / frames.sample_rate_hz
            on_progress(min(1.0, n_done / n_total))
            yield block
        return
    share = 0.0

    def note(read: float) -> None:
        nonlocal share
        share = read

    with (
        _open(_path_of(source), config, on_read=note) as recording,
        closing(sandbox.stream(recording, config, by_channel=by_channel)) as blocks,
    ):
        for block in blocks:
            on_progress(share)
            yield block


def _path_of(source: object) -> Path:
    if not isinstance(source, str | Path):
        raise AudioError(
            f"Got {type(source).__name__} as a recording; expected the path of a file or "
            "(sample_rate_hz, samples). Choose a file or record again."
        )
    return Path(source)


def load_native(path: str | Path, config: AudioConfig = _DEFAULTS) -> tuple[int, Waveform]:
    """Return the sample rate of a file and its waveform at that rate; see `load_audio`."""
    return _load_file(Path(path), replace(config, sample_rate_hz=0))


def _load_file(path: Path, config: AudioConfig) -> tuple[int, Waveform]:
    with _open(path, config) as recording:
        return sandbox.decode(recording, config)


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
    blocks = (to_float(frames[start : start + BLOCK_FRAMES]) for start in starts)
    return Stream(name, int(sample_rate_hz), n_channels, blocks, n_promised=n_frames)


@contextmanager
def _open(
    path: Path, config: AudioConfig, *, on_read: Callable[[float], None] = lambda _: None
) -> Iterator[Recording]:
    name = printable(path.name) or "The path"
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
        file = path.open("rb")
    except FileNotFoundError as error:
        raise AudioError(f"{name} does not exist. Check the path.") from error
    except PermissionError as error:
        raise AudioError(
            f"{name} may not be read: permission denied. Check the file's permissions."
        ) from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be opened. Check the path and the disk.") from error
    with file:
        yield Recording(file, name, status.st_size, on_read)
