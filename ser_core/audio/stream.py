"""Decoded audio as a stream of blocks, and its limits, mixing and resampling.

Blocks are checked, mixed down and resampled one by one. A recording that is longer than allowed
is rejected while it is decoded, whatever its header claims, and memory holds one block and the
resulting waveform.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from ser_core.config import AudioConfig
from ser_core.errors import AudioError

BLOCK_FRAMES = 65_536
"""Most frames of a block."""

CUT_OFF = "is cut off: it ends earlier than its header says. Record or export it again."
"""Message for a truncated file, after its name."""

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


def to_waveform(stream: Stream, config: AudioConfig) -> npt.NDArray[np.float32]:
    """Average the channels and resample with soxr (quality HQ), within the limits.

    Args:
        stream: Output of a decoder; its blocks are consumed.
        config: Rate of the result, and the limits.

    Returns:
        Waveform, (n_samples,) float32 at `config.sample_rate_hz`.

    Raises:
        AudioError: A limit is broken, the recording is truncated, or a sample is not finite.
    """
    _check_header(stream, config)
    resampler = soxr.ResampleStream(
        stream.sample_rate_hz, config.sample_rate_hz, 1, dtype="float32", quality="HQ"
    )
    n_frames = 0
    pieces = []
    for block in stream.blocks:  # (n_block, n_channels)
        n_frames += len(block)
        _check_not_too_long(stream, n_frames, config)
        pieces.append(resampler.resample_chunk(_mix_down(block, stream.name)))
    if stream.n_promised is not None and n_frames < stream.n_promised:
        raise AudioError(f"{stream.name} {CUT_OFF}")
    if n_frames < config.min_duration_s * stream.sample_rate_hz:
        raise AudioError(
            f"{stream.name} lasts only {n_frames / stream.sample_rate_hz:.2f} s; at least "
            f"{config.min_duration_s:g} s is needed. Make a longer recording."
        )
    pieces.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    return np.concatenate(pieces)


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


def _mix_down(block: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    """(n_frames, n_channels) → (n_frames,), the mean of the channels."""
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is rejected below
        mono: npt.NDArray[np.float32] = block.mean(axis=1, dtype=np.float32)
    if not np.all(np.abs(mono) <= _LARGEST_SAMPLE):  # NaN fails this, too
        raise AudioError(
            f"{name} contains samples that are NaN, infinite or absurdly large; every sample must "
            "be a finite number. Export it again from the original."
        )
    return mono
