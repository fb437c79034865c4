"""A worker of an archive job: it analyses the clips of a task in batches and writes rows."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from ser_core import __version__
from ser_core.diarization import adapt_speakers, segment_speakers
from ser_core.errors import SerError
from ser_core.model.saved_model import THREADS_VARIABLE
from ser_core.names import name_of
from ser_core.predictor import Predictor, PreparedClip
from ser_core.score.parts import (
    CLIP,
    SOURCE,
    Output,
    Row,
    ScoreConfig,
    error_row,
    rows_of,
    rows_of_segments,
)
from ser_core.score.sources import (
    Clip,
    Files,
    ScoreError,
    Shard,
    Source,
    digest_of,
    find_sidecar,
    sidecar_mark,
    stamp_of,
)
from ser_core.segment_formats import missing_package, read_segments
from ser_core.segments import Segment

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

VERSION = f"v{__version__}"
"""Written beside an error, which is tried again by another version."""
BUFFERED_BATCHES = 4
"""Batches of windows that are sorted by length together, which reduces padding."""
PIECES = 8
"""Number of pieces that a task is split into after its worker died."""


@dataclass(frozen=True, slots=True)
class Task:
    """The clips that a worker analyses at once.

    Attributes:
        source: The clips.
        n_clips: Number of clips; None for a shard, where it is known only after reading.
        n_tries: Number of workers that died on this single clip.
        number: Its number in this round.
    """

    source: Source
    n_clips: int | None = None
    n_tries: int = 0
    number: int = 0

    def split_remaining(self, written: Container[str], clips_per_part: int) -> "list[Task]":
        """Return smaller tasks for the clips whose names are not in `written`."""
        n_most = clips_per_part if self.n_clips is None else max(1, self.n_clips // PIECES)
        n_tries = self.n_tries + 1 if self.n_clips == 1 else 0
        pieces = self.source.remaining(written, n_most)
        return [Task(piece, len(piece.names), n_tries) for piece in pieces]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """Counts of a finished task.

    Attributes:
        number: Number of the task.
        n_clips: Clips that now have rows.
        n_errors: Clips among them whose row is an error.
        n_retryable: Clips and shards that could not be fetched this time.
        audio_s: Total duration of the analysed clips in seconds.
        process: Id of the worker's process.
        skipped: Members of shards that were passed by, by reason.
    """

    number: int
    n_clips: int
    n_errors: int
    n_retryable: int
    audio_s: float
    process: int
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClipResult:
    """The rows of one clip, none where it could not be fetched, and the seconds analysed."""

    rows: list[dict[str, Any]]
    audio_s: float = 0.0


class Worker:
    """Analyses tasks with one model.

    With rows per utterance, a file of segments beside a recording on this machine, of the same
    name and with one of `SIDECAR_SUFFIXES`, says where its segments are, who speaks, and what.
    """

    def __init__(
        self, open_predictor: Callable[[], Predictor], output: Output, config: ScoreConfig
    ) -> None:
        """Open the model; raise ModelError if it cannot be opened."""
        self._predictor, self._output, self._config = open_predictor(), output, config

    def run(self, task: Task) -> TaskResult:
        """Analyse a task and write its rows; raise SupersededError if another run took over."""
        n_clips, n_errors, n_retryable, audio_s = 0, 0, 0, 0.0
        stamp = stamp_of(task.source.address) if isinstance(task.source, Shard) else ""
        max_bytes = self._predictor.config.audio.max_bytes
        with TemporaryDirectory() as folder:
            stamps, skipped = dict[str, str](), Counter[str]()
            found = task.source.clips(Path(folder), max_bytes, skipped)
            clips = self._stamped(task.source, found, stamps, stamp)
            while part := list(self._analyse(islice(clips, self._config.clips_per_part))):
                rows = [_with_source(row, stamps) for clip in part for row in clip.rows]
                if rows:
                    self._output.write(rows)
                n_clips += sum(bool(clip.rows) for clip in part)
                n_errors += sum("error" in row for row in rows)
                n_retryable += sum(not clip.rows for clip in part)
                audio_s += sum(clip.audio_s for clip in part)
        if not (isinstance(task.source, Shard) and task.source.only is None):
            skipped.clear()  # every piece of a shard passes by the same members
        elif not n_retryable:
            self._output.finish(task.source.name, stamp)
        counts = (n_clips, n_errors, n_retryable, audio_s)
        return TaskResult(task.number, *counts, os.getpid(), skipped)

    def _stamped(
        self, source: Source, clips: Iterable[Clip], stamps: dict[str, str], shard_stamp: str
    ) -> Iterator[Clip]:
        """Yield clips, and note before they are read what tells whether they were replaced since.

        It is the file's stamp and SHA-256, and where its segments are beside it, their
        `sidecar_mark`; of a clip in a shard, the shard's stamp.
        """
        files = source.addresses if isinstance(source, Files) else ()
        addresses = {name_of(address): address for address in files}
        for clip in clips:
            stamps[clip.name] = shard_stamp
            if address := addresses.get(clip.name):
                stamps[clip.name] = f"{stamp_of(address)} {digest_of(address)}"
                if self._config.rows == "utterances" and (mark := sidecar_mark(address)):
                    stamps[clip.name] += f" {mark}"
            yield clip

    def _analyse(self, clips: Iterable[Clip]) -> Iterator[ClipResult]:
        buffer: list[tuple[str, PreparedClip]] = []
        n_most = BUFFERED_BATCHES * self._config.batch_windows
        for clip in clips:
            if self._config.rows == "utterances":
                yield self._try(clip, self._segment)
                continue
            prepared = self._try(clip, self._prepare)
            if isinstance(prepared, ClipResult):
                yield prepared
                continue
            buffer.append((clip.name, prepared))
            if sum(len(prepared.windows) for _, prepared in buffer) >= n_most:
                yield from self._infer(buffer)
                buffer = []
        yield from self._infer(buffer)

    def _prepare(self, clip: Clip) -> PreparedClip:
        return self._predictor.prepare(clip.path, denoise=self._config.denoise)

    def _segment(self, clip: Clip) -> ClipResult:
        found = segment_speakers(
            clip.path,
            self._predictor,
            self._config.speakers,
            given=_read_sidecar(clip.path),
            denoise=self._config.denoise,
        )
        segments = list(found)
        if not segments:
            return ClipResult([error_row(clip.name, "There is no speech in it.")])
        if self._config.relative:
            segments = adapt_speakers(segments)
        duration_s = sum(part.end_s - part.start_s for part in segments)
        return ClipResult(rows_of_segments(clip.name, segments), duration_s)

    def _try(self, clip: Clip, analyse: Callable[[Clip], Result]) -> Result | ClipResult:
        """Return what a function makes of a clip, or the result of one that cannot be analysed."""
        if clip.is_retryable:
            logger.warning("%s", clip.error)
            return ClipResult([])
        if clip.error:
            return ClipResult([error_row(clip.name, clip.error)])
        try:
            return analyse(clip)
        except SerError as error:
            # The file of a fetched clip has another name than the clip.
            reason = str(error).replace(clip.path.name, Path(clip.name).name)
            return ClipResult([error_row(clip.name, reason)])
        except ModuleNotFoundError as error:
            raise ScoreError(missing_package(error, "files of segments need")) from error
        except Exception as error:
            # A clip that triggers a bug must not stop the work on a million others.
            logger.exception("%s cannot be analysed.", clip.name)
            return ClipResult([error_row(clip.name, f"{type(error).__name__}: {error}")])

    def _infer(self, buffer: Sequence[tuple[str, PreparedClip]]) -> Iterator[ClipResult]:
        windows = [window.features for _, prepared in buffer for window in prepared.windows]
        outputs, end = self._predictor.infer(windows, at_once=self._config.batch_windows), 0
        for name, prepared in buffer:
            start, end = end, end + len(prepared.windows)
            analysis = self._predictor.postprocess(prepared, outputs[start:end])
            rows = rows_of(name, analysis, self._config.rows)
            yield ClipResult(rows, analysis.prediction.duration_s)


def _read_sidecar(recording: Path) -> list[Segment] | None:
    """Return the segments in a file beside a recording; None where there is none."""
    sidecar = find_sidecar(recording)
    return read_segments(sidecar, recording=recording) if sidecar else None


def _with_source(row: Row, stamps: Mapping[str, str]) -> Row:
    stamp = stamps[row[CLIP]]
    return row | {SOURCE: f"{stamp} {VERSION}" if "error" in row else stamp}


def limit_threads() -> None:
    """Limit models to one thread: more workers gain more than more threads."""
    os.environ[THREADS_VARIABLE] = "1"
