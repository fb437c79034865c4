"""Segments of a recording of any length: who speaks when, and with which emotion.

Everything here is a stream: decoding, speech detection and prediction go on block by block, in
memory that does not grow with the recording.
"""

import heapq
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal, Protocol, Self

import numpy as np

from ser_core.audio.load import AudioSource, stream_audio
from ser_core.config import AudioConfig, max_duration_s
from ser_core.errors import AudioError, NoSpeechError, SerError
from ser_core.labels import column_of
from ser_core.prediction import Prediction
from ser_core.predictor import AT_ONCE, Predictor, PreparedClip
from ser_core.preprocess import Waveform, loudest
from ser_core.quality import DOUBTFUL_SPEECH, QualityWarning
from ser_core.speech_detector import CHUNK, LEVEL, RATE_HZ, SpeechDetector

FADE_DB_PER_S = 0.05
"""By how much the level of the loudest speech so far counts less in each second."""
FAINTEST = 10.0 ** (LEVEL.silence_dbfs / 20.0)
"""Level below which sound is not amplified any further."""
RISE_S = 0.3
"""Longest hesitant beginning of an utterance: probabilities above the lower threshold alone."""
QUIET_S = 0.16
"""Length of the quietest moment of an utterance that is split."""
PLAIN = ("start_s", "end_s", "speaker", "channel", "text")
"""Attributes of a segment that have the same form in JSON and in a table."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording, and what is known about it.

    Raises a `ValueError` unless it ends after it starts.

    Attributes:
        start_s: Start in the recording.
        end_s: End in the recording.
        speaker: Name of the speaker.
        channel: Channel of the recording, from 0; None for their mix.
        text: What is said.
        prediction: Its emotions, with times inside the segment; None where it has not been, or
            cannot be, analysed.
        warnings: Faults of the segment, or the reason why it cannot be analysed.
    """

    start_s: float
    end_s: float
    speaker: str | None = None
    channel: int | None = None
    text: str | None = None
    prediction: Prediction | None = None
    warnings: tuple[QualityWarning, ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.start_s < self.end_s:  # NaN fails this, too
            raise ValueError(f"a segment from {self.start_s:g} s to {self.end_s:g} s has no sound")

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Build a segment from the result of `to_dict`; all but the times may be missing.

        Raises:
            KeyError: A time is missing.
            ValueError: The times contradict each other.
        """
        prediction = stored.get("prediction")
        return cls(
            float(stored["start_s"]),
            float(stored["end_s"]),
            speaker=stored.get("speaker"),
            channel=stored.get("channel"),
            text=stored.get("text"),
            prediction=None if prediction is None else Prediction.from_dict(prediction),
            warnings=tuple(QualityWarning(**warning) for warning in stored.get("warnings", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, from which `from_dict` restores the segment."""
        stored = {name: getattr(self, name) for name in PLAIN}
        if prediction := self.prediction:
            calibration = ("weights", "certain_from", "temperature")
            rest = {name: getattr(prediction, name) for name in calibration}
            stored["prediction"] = prediction.to_dict() | rest
        else:
            stored["prediction"] = None
        return stored | {
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings]
        }

    def to_row(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return one flat row of a table, with a column for the probability of each label."""
        row = {name: getattr(self, name) for name in PLAIN}
        for name in ("emotion", "confidence", "certain", "intensity"):
            row[name] = self.prediction and getattr(self.prediction, name)
        probabilities = dict(self.prediction.ranked()) if self.prediction else {}
        row |= {column_of(label): probabilities.get(label) for label in labels}
        return row | {"warnings": " ".join(warning.code for warning in self.warnings)}


@dataclass(frozen=True, slots=True)
class SegmentConfig:
    """Settings of `segment` and `cut`.

    Attributes:
        mode: `utterances` cuts at pauses of speech, `windows` every `hop_s`.
        by_channel: Whether each channel has segments of its own.
        speech_from: Probability of speech at which an utterance starts.
        silence_below: Probability below which a pause starts.
        min_silence_s: Shortest pause between two utterances.
        min_speech_s: Shortest utterance.
        max_s: Longest utterance; a longer one is split at its quietest point.
        padding_s: Sound added before and after an utterance, at most half the shortest pause.
        window_s: Length of a window.
        hop_s: Step between the starts of two windows.
        max_duration_s: Longest recording, unless `MOODMIRROR_MAX_DURATION_S` is set.
    """

    mode: Literal["utterances", "windows"] = "utterances"
    by_channel: bool = False
    speech_from: float = 0.5
    silence_below: float = 0.35
    min_silence_s: float = 0.25
    min_speech_s: float = 0.3
    max_s: float = 12.0
    padding_s: float = 0.05
    window_s: float = 6.0
    hop_s: float = 3.0
    max_duration_s: float = math.inf

    @property
    def limits(self) -> AudioConfig:
        """Settings of the stream: no limit but the longest recording.

        Raises:
            SerError: `MOODMIRROR_MAX_DURATION_S` is no positive number.
        """
        longest_s = max_duration_s(self.max_duration_s)
        return AudioConfig(sample_rate_hz=RATE_HZ, max_duration_s=longest_s, max_bytes=sys.maxsize)


_DEFAULTS = SegmentConfig()


def segment(
    source: AudioSource,
    predictor: Predictor,
    *,
    config: SegmentConfig = _DEFAULTS,
    given: Sequence[Segment] | None = None,
    denoise: bool = False,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Iterator[Segment]:
    """Yield the segments of a recording of any length with their emotions, as they are found.

    Args:
        source: As in `load_audio`.
        predictor: The model.
        config: How the recording is cut.
        given: Segments to analyse in place of those that would be found; what is known about them
            is kept.
        denoise: As in `Predictor.analyse`.
        on_progress: As in `stream_audio`.

    Yields:
        Segments in the order of their starts, rounded to milliseconds. One that cannot be analysed
        has no prediction, and the reason among its warnings.

    Raises:
        AudioError: The recording cannot be read or breaks a limit, which may come to light after
            some segments.
        SerError: The segments given do not fit the recording.
    """
    batch: list[tuple[Segment, PreparedClip | None]] = []
    n_windows = 0
    for found, samples in cut(source, config=config, given=given, on_progress=on_progress):
        prepared = _prepare(found, samples, predictor, denoise=denoise)
        batch.append(prepared)
        n_windows += len(prepared[1].windows) if prepared[1] else 0
        if n_windows >= AT_ONCE:
            yield from _predict(batch, predictor)
            batch, n_windows = [], 0
    yield from _predict(batch, predictor)


def _prepare(
    found: Segment, samples: Waveform, predictor: Predictor, *, denoise: bool
) -> tuple[Segment, PreparedClip | None]:
    if not len(samples):
        fault = QualityWarning("short", "The recording ends before this segment. Check its times.")
        return replace(found, warnings=(*found.warnings, fault)), None
    least = math.ceil(predictor.config.audio.min_duration_s * RATE_HZ)
    samples = np.pad(samples, (0, max(0, least - len(samples))))  # a short word; the trim undoes it
    try:
        return found, predictor.prepare((RATE_HZ, samples), denoise=denoise)
    except NoSpeechError as error:
        fault = QualityWarning(DOUBTFUL_SPEECH, str(error))
    except AudioError as error:
        fault = QualityWarning("short", str(error))
    return replace(found, warnings=(*found.warnings, fault)), None


def _predict(
    batch: Sequence[tuple[Segment, PreparedClip | None]], predictor: Predictor
) -> Iterator[Segment]:
    windows = [window.features for _, clip in batch if clip for window in clip.windows]
    answers = predictor.infer(windows) if windows else np.empty((0, 0), np.float32)
    end = 0
    for found, clip in batch:
        if clip is None:
            yield found
            continue
        start, end = end, end + len(clip.windows)
        prediction = predictor.postprocess(clip, answers[start:end]).prediction
        warnings = (*found.warnings, *prediction.warnings)
        yield replace(found, prediction=prediction, warnings=warnings)


def cut(
    source: AudioSource,
    *,
    config: SegmentConfig = _DEFAULTS,
    given: Sequence[Segment] | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> Iterator[tuple[Segment, Waveform]]:
    """Yield the segments of a recording with their sound, without emotions; see `segment`.

    Args:
        source: As in `load_audio`.
        config: As in `segment`.
        given: As in `segment`.
        on_progress: As in `segment`.

    Yields:
        Segments in the order of their starts, each with (n_samples,) float32 at `RATE_HZ`, which
        are fewer than its length where the recording ends before it.

    Raises:
        AudioError: As in `segment`.
        SerError: As in `segment`.
    """
    by_channel = config.by_channel or any(known.channel is not None for known in given or ())
    lanes: list[_Lane] = []
    waiting: list[tuple[float, int, Segment, Waveform]] = []
    order = count()  # a tie of starts is none of segments
    blocks = stream_audio(source, config.limits, by_channel=by_channel, on_progress=on_progress)
    for block in blocks:  # (n_samples, n_channels)
        lanes = lanes or _lanes(block.shape[1], config, given)
        for lane in lanes:
            for found, samples in lane.process(block):
                heapq.heappush(waiting, (found.start_s, next(order), found, samples))
        earliest_s = min((lane.earliest_s for lane in lanes), default=0.0)
        while waiting and waiting[0][0] <= earliest_s:
            yield heapq.heappop(waiting)[2:]
    for lane in lanes:
        for found, samples in lane.process(np.empty((0, block.shape[1]), np.float32), last=True):
            heapq.heappush(waiting, (found.start_s, next(order), found, samples))
    while waiting:
        yield heapq.heappop(waiting)[2:]


def _lanes(
    n_channels: int, config: SegmentConfig, given: Sequence[Segment] | None
) -> "list[_Lane]":
    """Return a lane for each channel that has segments; None is the mix of all."""
    if given is None:
        channels = range(n_channels) if config.by_channel else [None]
        finder = _Windows if config.mode == "windows" else _Utterances
        return [_Lane(channel, finder(config)) for channel in channels]
    by_channel = defaultdict[int | None, list[Segment]](list)
    for known in given:
        by_channel[known.channel].append(known)
    for channel in by_channel:
        if channel is not None and not 0 <= channel < n_channels:
            raise SerError(
                f"The segments name channel {channel}, counted from 0; the recording has "
                f"{n_channels}. Correct the channels, or leave them out."
            )
    return [_Lane(channel, _Given(segments)) for channel, segments in by_channel.items()]


Span = tuple[int, int, Segment | None]
"""First sample of a segment, the one after its last, and what is known about it."""


class _Finder(Protocol):
    """Finds segments in a stream.

    Attributes:
        keep_from: First sample that a later segment can have.
    """

    keep_from: int

    def find(self, samples: Waveform, *, last: bool) -> Iterator[Span]:
        """Yield the segments that end with the next samples of the stream."""


class _Lane:
    """One channel: the sound that later segments can have, and its finder."""

    def __init__(self, channel: int | None, finder: _Finder) -> None:
        self._channel, self._finder = channel, finder
        self._samples, self._start = np.empty(0, np.float32), 0

    @property
    def earliest_s(self) -> float:
        """Earliest start of a later segment."""
        return self._finder.keep_from / RATE_HZ

    def process(self, block: Waveform, *, last: bool = False) -> Iterator[tuple[Segment, Waveform]]:
        """Yield the segments that end in a block, (n_samples, n_channels), with their samples."""
        channel = self._channel
        mono = block.mean(axis=1) if channel is None else block[:, channel]
        self._samples = np.concatenate([self._samples, mono])
        for start, end, known in self._finder.find(mono, last=last):
            samples = self._samples[max(0, start - self._start) : max(0, end - self._start)]
            times = round(start / RATE_HZ, 3), round(end / RATE_HZ, 3)
            yield known or Segment(*times, channel=channel), samples.copy()
        n_old = min(self._finder.keep_from - self._start, len(self._samples))
        if n_old > 0:
            self._samples, self._start = self._samples[n_old:].copy(), self._start + n_old


class _Given:
    """Segments that are known beforehand."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        ends = ((round(s.start_s * RATE_HZ), round(s.end_s * RATE_HZ), s) for s in segments)
        self._left: list[Span] = sorted(ends, key=lambda span: span[:2])
        self._n_samples = 0
        self.keep_from = 0

    def find(self, samples: Waveform, *, last: bool) -> Iterator[Span]:
        self._n_samples += len(samples)
        left = list[Span]()
        for span in self._left:
            if last or span[1] <= self._n_samples:
                yield span
            else:
                left.append(span)
        self._left = left
        self.keep_from = left[0][0] if left else sys.maxsize


class _Windows:
    """Windows of equal length; the last one ends with the recording."""

    def __init__(self, config: SegmentConfig) -> None:
        self._length, self._hop = (round(s * RATE_HZ) for s in (config.window_s, config.hop_s))
        self._n_samples, self._next, self._end = 0, 0, 0
        self.keep_from = 0

    def find(self, samples: Waveform, *, last: bool) -> Iterator[Span]:
        self._n_samples += len(samples)
        while self._next + self._length <= self._n_samples:
            self._end = self._next + self._length
            yield self._next, self._end, None
            self._next += self._hop
        if last and self._end < self._n_samples:
            yield max(0, self._n_samples - self._length), self._n_samples, None
        self.keep_from = max(0, min(self._next, self._n_samples - self._length))


class _Utterances:
    """Stretches of speech between pauses, from the probabilities of Silero VAD with hysteresis.

    As in Silero's own `get_speech_timestamps`, an utterance starts with the upper threshold and
    ends with the first chunk below the lower one after which none reaches the upper one in time.
    """

    def __init__(self, config: SegmentConfig) -> None:
        self._config = config
        self._detector, self._level = SpeechDetector(), FAINTEST
        self._rest = np.empty(0, np.float32)
        self._n_samples, self._n_chunks, self._last_end = 0, 0, 0
        self._rise: int | None = None  # first of the chunks that reach the lower threshold
        self._start: int | None = None  # first chunk of the utterance
        self._pause: int | None = None  # first chunk of its end
        self._is_split = False  # whether it goes on from one that was too long
        self._levels: list[float] = []  # of the chunks since its start
        self.keep_from = 0

    def find(self, samples: Waveform, *, last: bool) -> Iterator[Span]:
        self._n_samples += len(samples)
        levels = self._chunk_levels(samples, last=last)
        probabilities = self._detector.process(self._normalise(samples), last=last)
        for probability, level in zip(probabilities, levels, strict=True):
            self._levels.append(float(level))
            yield from self._step(float(probability))
        if last and self._start is not None:
            yield from self._close(self._n_chunks if self._pause is None else self._pause)
        starts = [chunk for chunk in (self._start, self._rise) if chunk is not None]
        self.keep_from = max(0, min(starts, default=self._n_chunks) * CHUNK - self._padding)

    def _step(self, probability: float) -> Iterator[Span]:
        i, config = self._n_chunks, self._config
        self._n_chunks += 1
        if probability < config.silence_below:
            self._rise = None
        else:
            self._rise = max(i if self._rise is None else self._rise, i - _chunks(RISE_S))
        if self._start is None:
            if probability < config.speech_from or self._rise is None:
                del self._levels[: -_chunks(RISE_S) - 1]
                return
            self._start, self._pause, self._is_split = self._rise, None, False
            del self._levels[: self._start - i - 1]
        if probability >= config.speech_from:
            self._pause = None
        elif probability < config.silence_below and self._pause is None:
            self._pause = i
        if self._pause is not None and self._n_chunks - self._pause >= _chunks(
            config.min_silence_s
        ):
            yield from self._close(self._pause)
        elif self._n_chunks - self._start >= _chunks(config.max_s):
            yield self._split(self._start)

    def _close(self, end: int) -> Iterator[Span]:
        start, self._start = self._start, None
        if start is None or end - start < _chunks(self._config.min_speech_s):
            return
        first = self._first_sample(start)
        self._last_end = min(end * CHUNK + self._padding, self._n_samples)
        yield first, self._last_end, None

    def _split(self, start: int) -> Span:
        """End an utterance that is too long at the quietest point of its second half."""
        n_quiet = _chunks(QUIET_S)
        levels = np.convolve(self._levels, np.ones(n_quiet), "same")
        half, least = len(levels) // 2, _chunks(self._config.min_speech_s)
        n_chunks = half + int(levels[half : len(levels) - least].argmin())
        first = self._first_sample(start)
        self._start, self._is_split = start + n_chunks, True
        del self._levels[:n_chunks]
        self._last_end = self._start * CHUNK
        return first, self._last_end, None

    def _first_sample(self, start: int) -> int:
        """Return where an utterance begins that starts with a chunk, padding included."""
        return max(start * CHUNK - (0 if self._is_split else self._padding), self._last_end)

    @property
    def _padding(self) -> int:
        return round(self._config.padding_s * RATE_HZ)

    def _chunk_levels(self, samples: Waveform, *, last: bool) -> Waveform:
        """Return the root mean square of each chunk that the samples complete."""
        samples = np.concatenate([self._rest, samples])
        if last:
            samples = np.pad(samples, (0, -len(samples) % CHUNK))
        n_whole = len(samples) // CHUNK * CHUNK
        self._rest = samples[n_whole:]
        power = np.square(samples[:n_whole]).reshape(-1, CHUNK).mean(axis=1)
        return np.asarray(np.sqrt(power), np.float32)

    def _normalise(self, samples: Waveform) -> Waveform:
        """Scale the next samples to the level of the loudest speech so far, which fades."""
        if not len(samples):
            return samples
        samples = samples - samples.mean()
        faded = self._level * 10.0 ** (-FADE_DB_PER_S * len(samples) / RATE_HZ / 20.0)
        self._level = max(loudest(samples, LEVEL, sample_rate_hz=RATE_HZ), faded, FAINTEST)
        return np.asarray(np.clip(samples / self._level, -1.0, 1.0), np.float32)


def _chunks(seconds: float) -> int:
    return max(1, round(seconds * RATE_HZ / CHUNK))
