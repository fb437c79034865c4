"""Decoded audio as a stream of blocks, and its limits, mixing and resampling.

Blocks are checked, mixed down and resampled one by one. A recording that is longer than allowed
is rejected while it is decoded, whatever its header claims, and memory holds one block and the
resulting waveform, or of `to_blocks` one block alone.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from ser_core.config import AudioConfig
from ser_core.errors import AudioError

Block = npt.NDArray[Any]
Waveform = npt.NDArray[np.float32]

BLOCK_FRAMES = 65_536
"""Most frames of a block."""
BLOCK_S = 4
"""Least length of the blocks of `to_blocks`."""

CUT_OFF = "is cut off: it ends earlier than its header says. Record or export it again."
"""Message for a truncated file, after its name."""

_CANCELLED = 0.01
"""Power of the average, as a share of what channels without any likeness give, that is a loss."""
_LARGEST_SAMPLE = 2.0**32  # above any PCM code that someone stores as a float


@dataclass(frozen=True, slots=True)
class Stream:
    """Output of a decoder.

    Attributes:
        name: Name of the recording in messages, without its folder.
        sample_rate_hz: Original rate.
        n_channels: Original number of channels.
        blocks: Each (n_frames, n_channels), of any float type.
        n_promised: Number of frames in the header, where such headers are reliable.
    """

    name: str
    sample_rate_hz: int
    n_channels: int
    blocks: Iterator[npt.NDArray[Any]]
    n_promised: int | None = None


def to_waveform(
    open_stream: Callable[[], AbstractContextManager[Stream]], config: AudioConfig
) -> tuple[int, Waveform]:
    """Average the channels and resample with soxr (quality HQ), within the limits.

    Where the channels cancel each other, the loudest takes the place of their average.

    Args:
        open_stream: Opens the output of a decoder, twice where channels cancel.
        config: Rate of the result, and the limits.

    Returns:
        Sample rate, which is the recording's where `config.sample_rate_hz` is 0, and waveform,
        (n_samples,) float32.

    Raises:
        AudioError: A limit is broken, the recording is truncated, or a sample is not finite.
    """
    levels = _Levels(config.max_channels)
    with open_stream() as stream:
        rate_hz = config.sample_rate_hz or stream.sample_rate_hz
        mixed = np.concatenate([*_resample(stream, config, levels.mix_down)])
    if (loudest := levels.loudest_of_cancelling()) is None:
        return rate_hz, mixed
    with open_stream() as stream:
        pieces = [*_resample(stream, config, lambda block: _channel(block, loudest))]
    return rate_hz, np.concatenate(pieces)


def to_blocks(
    stream: Stream, config: AudioConfig, *, by_channel: bool, block_s: float = BLOCK_S
) -> Iterator[Waveform]:
    """Resample a stream as `to_waveform` does, in memory that does not grow with its length.

    From the block on at whose end the channels so far cancel each other, the loudest takes the
    place of their average.

    Args:
        stream: Output of a decoder.
        config: Rate of the result, and the limits.
        by_channel: Whether to keep the channels apart.
        block_s: Shortest block but the last.

    Yields:
        (n_samples, n_channels) float32, `block_s` or longer except for the last; one channel
        unless `by_channel`.

    Raises:
        AudioError: As in `to_waveform`.
    """
    levels = _Levels(config.max_channels)

    def mix_down(block: Block) -> Block:
        mono = levels.mix_down(block)
        loudest = levels.loudest_of_cancelling()
        return mono if loudest is None else _channel(block, loudest)

    def keep_channels(block: Block) -> Block:
        if block.shape[1] != stream.n_channels:
            raise AudioError(f"{stream.name} changes its number of channels. Export it again.")
        return block

    n_channels = stream.n_channels if by_channel else 1
    n_least = block_s * (config.sample_rate_hz or stream.sample_rate_hz)
    pieces, n_samples = [], 0
    for piece in _resample(stream, config, keep_channels if by_channel else mix_down, n_channels):
        pieces.append(piece.reshape(-1, n_channels))
        n_samples += len(piece)
        if n_samples >= n_least:
            yield np.concatenate(pieces)
            pieces, n_samples = [], 0
    if n_samples:
        yield np.concatenate(pieces)


def _channel(block: Block, index: int) -> Block:
    return block[:, min(index, block.shape[1] - 1)]


def _resample(
    stream: Stream,
    config: AudioConfig,
    mix_down: Callable[[Block], Block],
    n_channels: int = 1,
) -> Iterator[Waveform]:
    """Yield the blocks of a stream, mixed down to `n_channels`, at the rate of the result."""
    _check_header(stream, config)
    rate_hz = config.sample_rate_hz or stream.sample_rate_hz
    resampler = soxr.ResampleStream(
        stream.sample_rate_hz, rate_hz, n_channels, dtype="float32", quality="HQ"
    )
    n_frames = 0
    shape: tuple[int, ...] = (0,)
    for block in stream.blocks:  # (n_block, n_channels)
        n_frames += len(block)
        _check_not_too_long(stream, n_frames, config)
        mixed = np.ascontiguousarray(mix_down(block), np.float32)
        _check_finite(mixed, stream.name)
        shape = (0, *mixed.shape[1:])
        yield resampler.resample_chunk(mixed)
    if stream.n_promised is not None and n_frames < stream.n_promised:
        raise AudioError(f"{stream.name} {CUT_OFF}")
    if n_frames < config.min_duration_s * stream.sample_rate_hz:
        raise AudioError(
            f"{stream.name} lasts only {n_frames / stream.sample_rate_hz:.2f} s; at least "
            f"{config.min_duration_s:g} s is needed. Make a longer recording."
        )
    yield resampler.resample_chunk(np.empty(shape, np.float32), last=True)


class _Levels:
    """Power of each channel and of their average, over a whole recording."""

    def __init__(self, max_channels: int) -> None:
        self._sums = np.zeros((2, max_channels + 1))  # of x and of x²; the last is the average's
        self._n_frames, self._n_channels = 0, 1

    def mix_down(self, block: Block) -> Block:
        """(n_frames, n_channels) → (n_frames,), the mean of the channels."""
        with np.errstate(over="ignore", invalid="ignore"):  # overflow is rejected later
            mono: Block = block.mean(axis=1, dtype=np.float32)
            if (n := block.shape[1]) > 1:
                self._n_frames, self._n_channels = self._n_frames + len(block), n
                for i, channel in enumerate([*block.T, mono]):
                    x = channel.astype(np.float64)
                    self._sums[:, i if i < n else -1] += x.sum(), x @ x
        return mono

    def loudest_of_cancelling(self) -> int | None:
        """Return the loudest channel if the average is far weaker than that of unlike channels."""
        if not self._n_frames:
            return None
        means, squares = self._sums / self._n_frames
        power = squares - means**2  # a constant offset is no sound
        unlike = power[:-1].sum() / self._n_channels**2
        return int(power[:-1].argmax()) if power[-1] < _CANCELLED * unlike else None


def _check_header(stream: Stream, config: AudioConfig) -> None:
    low, high = config.min_sample_rate_hz, config.max_sample_rate_hz
    if not low <= stream.sample_rate_hz <= high:
        raise AudioError(
            f"{stream.name} has a sample rate of {stream.sample_rate_hz:,} Hz; {low:,} to "
            f"{high:,} Hz is accepted. Export it again at {config.sample_rate_hz:,} Hz."
        )
    if not 1 <= stream.n_channels <= config.max_channels:
        raise AudioError(
            f"{stream.name} has {stream.n_channels:,} channels; 1 to {config.max_channels} "
            "are accepted. Export it again in mono."
        )
    if stream.n_promised is not None:
        _check_not_too_long(stream, stream.n_promised, config)


def _check_not_too_long(stream: Stream, n_frames: int, config: AudioConfig) -> None:
    if n_frames > config.max_duration_s * stream.sample_rate_hz:
        raise AudioError(
            f"{stream.name} is longer than {config.max_duration_s / 60:.3g} minutes: it lasts "
            f"{n_frames / stream.sample_rate_hz:,.0f} s or more; at most "
            f"{config.max_duration_s:,g} s is accepted. Cut it into shorter pieces."
        )


def _check_finite(mono: Waveform, name: str) -> None:
    with np.errstate(invalid="ignore"):
        if np.all(np.abs(mono) <= _LARGEST_SAMPLE):  # NaN fails this, too
            return
    raise AudioError(
        f"{name} contains samples that are NaN, infinite or absurdly large; every sample must "
        "be a finite number. Export it again from the original."
    )


def to_float(block: Block) -> Block:
    """Scale integers to [-1, 1) by their type; floats are not scaled."""
    if block.dtype.kind == "f":
        return block
    full_scale = 2.0 ** (8 * block.dtype.itemsize - 1)
    zero = full_scale if block.dtype.kind == "u" else 0.0
    return (block - zero) / full_scale
