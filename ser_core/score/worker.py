"""One worker: a model of its own, which judges clips in batches and writes them down."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ser_core.errors import SerError
from ser_core.model.saved_model import import_tensorflow
from ser_core.predictor import AT_ONCE, Predictor, PreparedClip
from ser_core.score.parts import Output, Rows, refused, rows_of
from ser_core.score.sources import Clip, Shard, Source

logger = logging.getLogger(__name__)

GATHERED_BATCHES = 4
"""Batches of windows that are gathered and put in order of length, so that little is padding."""
PIECES = 8
"""Into how many a task is cut whose worker died."""
MAX_TRIES = 2
"""A clip that has killed its worker so often is refused."""


@dataclass(frozen=True, slots=True)
class ScoreConfig:
    """How an archive is scored.

    Attributes:
        rows: One row a clip, or one a window.
        denoise: Whether steady noise is taken off first.
        clips_per_part: Clips of a part at most; what a killed worker has to do again.
        batch_windows: Windows that the model answers for at once.
    """

    rows: Rows = "clips"
    denoise: bool = False
    clips_per_part: int = 500
    batch_windows: int = AT_ONCE


@dataclass(frozen=True, slots=True)
class Task:
    """What is handed to a worker at once.

    Attributes:
        number: Its number in this round.
        source: The clips.
        n_clips: How many; None where a shard tells only as it is read.
        n_tries: Workers that died over it.
    """

    number: int
    source: Source
    n_clips: int | None = None
    n_tries: int = 0

    def again(self, written: frozenset[str], clips_per_part: int) -> "list[Task]":
        """What is left of it after its worker died, in smaller pieces.

        Args:
            written: Names of clips that have their rows.
            clips_per_part: Clips of a piece of a shard.
        """
        n_most = clips_per_part if self.n_clips is None else max(1, self.n_clips // PIECES)
        n_tries = self.n_tries + 1 if self.n_clips == 1 else 0
        return [
            Task(0, piece, len(piece.names()), n_tries)
            for piece in self.source.left(written, n_most)
        ]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a task.

    Attributes:
        number: The task's.
        n_clips: Clips that now have rows.
        n_refused: Those among them that could not be judged.
        n_postponed: Clips and shards that could not be fetched this time.
        audio_s: Seconds of sound in the clips that were judged.
        process: Id of the worker's process.
    """

    number: int
    n_clips: int
    n_refused: int
    n_postponed: int
    audio_s: float
    process: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one clip.

    Attributes:
        rows: Its rows; none where it is postponed.
        audio_s: Its length; 0 where it was not judged.
    """

    rows: list[dict[str, Any]]
    audio_s: float = 0.0

    @property
    def is_refused(self) -> bool:
        """Whether its row is an error."""
        return bool(self.rows) and "error" in self.rows[0]


def limit_threads() -> None:
    """Hold TensorFlow to one thread: more workers gain more than more threads do."""
    threading = import_tensorflow().config.threading
    threading.set_intra_op_parallelism_threads(1)
    threading.set_inter_op_parallelism_threads(1)


class Worker:
    """Judges task after task with one model."""

    def __init__(
        self, open_predictor: Callable[[], Predictor], output: Output, config: ScoreConfig
    ) -> None:
        """Open the model.

        Args:
            open_predictor: Opens it.
            output: Where rows go.
            config: Settings.

        Raises:
            ModelError: The model cannot be opened.
        """
        self._predictor, self._output, self._config = open_predictor(), output, config

    def do(self, task: Task) -> Report:
        """Judge the clips of a task and write their rows.

        Args:
            task: What to do.

        Raises:
            SupersededError: Another run has taken over.
        """
        n_clips, n_refused, n_postponed, audio_s = 0, 0, 0, 0.0
        max_bytes = self._predictor.config.audio.max_bytes
        with TemporaryDirectory() as folder:
            waiting = task.source.clips(Path(folder), max_bytes)
            while part := list(self._judge(islice(waiting, self._config.clips_per_part))):
                if rows := [row for clip in part for row in clip.rows]:
                    self._output.write(rows)
                n_clips += sum(bool(clip.rows) for clip in part)
                n_postponed += sum(not clip.rows for clip in part)
                n_refused += sum(clip.is_refused for clip in part)
                audio_s += sum(clip.audio_s for clip in part)
        if isinstance(task.source, Shard) and task.source.only is None and not n_postponed:
            self._output.finish(task.source.name)
        return Report(task.number, n_clips, n_refused, n_postponed, audio_s, os.getpid())

    def _judge(self, clips: Iterable[Clip]) -> Iterator[Judged]:
        """Judge clips, read one by one, a few at a time."""
        gathered: list[tuple[str, PreparedClip]] = []
        n_most = GATHERED_BATCHES * self._config.batch_windows
        for clip in clips:
            prepared = self._hear(clip)
            if isinstance(prepared, Judged):
                yield prepared
                continue
            gathered.append((clip.name, prepared))
            if sum(len(prepared.windows) for _, prepared in gathered) >= n_most:
                yield from self._answer(gathered)
                gathered = []
        yield from self._answer(gathered)

    def _hear(self, clip: Clip) -> PreparedClip | Judged:
        """All before the model, or why there is nothing to be prepared."""
        if clip.is_retryable:
            logger.warning("%s", clip.error)
            return Judged([])
        if clip.error:
            return Judged(refused(clip.name, clip.error))
        try:
            return self._predictor.prepare(clip.path, denoise=self._config.denoise)
        except SerError as error:
            # A fetched clip lies under another name: its own is what its owner knows.
            reason = str(error).replace(clip.path.name, Path(clip.name).name)
            return Judged(refused(clip.name, reason))
        except Exception as error:
            # A clip that finds a bug must not end the work on a million others.
            logger.exception("%s cannot be analysed.", clip.name)
            return Judged(refused(clip.name, f"{type(error).__name__}: {error}"))

    def _answer(self, gathered: Sequence[tuple[str, PreparedClip]]) -> Iterator[Judged]:
        """Let the model answer for all windows of some clips."""
        windows = [window.features for _, prepared in gathered for window in prepared.windows]
        answers, end = self._predictor.infer(windows, at_once=self._config.batch_windows), 0
        for name, prepared in gathered:
            start, end = end, end + len(prepared.windows)
            analysis = self._predictor.postprocess(prepared, answers[start:end])
            yield Judged(rows_of(name, analysis, self._config.rows), analysis.prediction.duration_s)
