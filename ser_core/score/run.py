"""The driver of an archive job: it plans tasks, runs them, and repeats those whose worker died."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice

from ser_core.names import name_of
from ser_core.score.parts import Output, ScoreConfig, WrittenClip, error_row
from ser_core.score.pool import WorkerPool
from ser_core.score.sources import (
    SIDECAR_MARK,
    UNREADABLE_FOLDERS,
    Files,
    ScoreError,
    Shard,
    digest_of,
    is_shard,
    list_clips,
    pieces,
    sidecar_mark,
    stamp_of,
)
from ser_core.score.worker import VERSION, Task, TaskResult

logger = logging.getLogger(__name__)

TASKS_PER_WORKER = 4
"""Minimum, where there are enough clips, so that workers finish at about the same time."""
CLIPS_AHEAD = 100_000
"""Names that are listed ahead of the workers, and then are all that the driver holds."""
MAX_TRIES = 2
"""Workers that may die on one clip before its row is an error."""
HOPELESS_TASKS = 16
"""The job stops where the workers die on each of this many tasks."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts of an archive job.

    Attributes:
        n_before: Clips whose rows existed before.
        n_clips: Clips that got their rows in this run.
        n_errors: Clips among them whose row is an error.
        n_retryable: Clips and shards that could not be fetched, and folders that could not be
            listed; another run tries them again.
        n_deaths: Tasks whose worker died.
        audio_s: Total duration of the analysed clips in seconds; a worker that died between
            writing a part and its result is not counted.
        n_refused: Clips among `n_before` whose row is an error, which stands: neither their bytes
            nor this program's version changed.
        skipped: Files and members that were passed by, by reason.
    """

    n_before: int = 0
    n_clips: int = 0
    n_errors: int = 0
    n_retryable: int = 0
    n_deaths: int = 0
    audio_s: float = 0.0
    n_refused: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)

    def plus(self, result: TaskResult) -> "Summary":
        """Return the sum of these counts and those of a task."""
        return replace(
            self,
            n_clips=self.n_clips + result.n_clips,
            n_errors=self.n_errors + result.n_errors,
            n_retryable=self.n_retryable + result.n_retryable,
            audio_s=self.audio_s + result.audio_s,
            skipped=Counter(self.skipped) + Counter(result.skipped),
        )


def score(
    source: str,
    output: Output,
    pool: WorkerPool,
    config: ScoreConfig,
    *,
    on_progress: Callable[[Summary, int], None] = lambda _summary, _n_total: None,
) -> Summary:
    """Write the rows of all clips that have none yet, or an error that may be gone.

    Args:
        source: A folder, a glob, a tar or a recording; see `list_clips`.
        output: From `open_output`.
        pool: The workers.
        config: Settings.
        on_progress: Called with the counts so far and the number of clips, as far as it is
            known: a shard's clips are counted as they are read.

    Raises:
        ScoreError: There are no clips, or the workers die on everything.
    """
    plan = _Plan(source, output, config, pool.n_workers)
    results = Summary()
    tasks: Iterable[Task] = plan.tasks()

    def total() -> Summary:
        return replace(
            results,
            n_before=plan.n_before,
            n_refused=plan.n_refused,
            n_retryable=results.n_retryable + plan.skipped[UNREADABLE_FOLDERS],
            skipped=Counter(plan.skipped) + Counter(results.skipped),
        )

    while True:
        handed_out = _HandedOut(tasks)
        for result in pool.run(handed_out):
            del handed_out.dead[result.number]
            results = results.plus(result)
            on_progress(total(), max(plan.n_listed, plan.n_before + results.n_clips))
        dead = handed_out.dead
        if len(dead) == handed_out.n_tasks >= HOPELESS_TASKS:
            raise ScoreError(
                f"Workers died on each of {len(dead)} tasks. Check the machine's memory and "
                "disk, use fewer workers, and run the command again."
            )
        if not dead:
            return total()
        logger.warning("The workers on %d tasks died; the remaining clips are retried.", len(dead))
        now = output.written()
        tasks, n_failed = _split(dead.values(), output, now, config)
        results = replace(
            results,
            n_clips=len(now) - len(plan.written) + n_failed,  # some are of a dead worker
            n_errors=results.n_errors + n_failed,
            n_deaths=results.n_deaths + len(dead),
        )


class _HandedOut:
    """Tasks, numbered as a pool takes them; those without a result are kept.

    Attributes:
        dead: Tasks by number; `score` removes those that have a result.
        n_tasks: Number of tasks that were taken.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks, self.n_tasks = tasks, 0
        self.dead: dict[int, Task] = {}

    def __iter__(self) -> Iterator[Task]:
        for task in self._tasks:
            numbered = replace(task, number=self.n_tasks)
            self.dead[self.n_tasks] = numbered
            self.n_tasks += 1
            yield numbered


class _Plan:
    """The tasks of a job, made while its clips are listed.

    Attributes:
        written: Clips that had rows before, without those that have to be analysed again.
        n_listed: Number of clips that were listed so far; a shard's are not.
        n_before: Number of clips among `written` that were listed so far.
        n_refused: Number of clips among `n_before` whose row is an error.
        skipped: Files that were passed by so far, by reason.
    """

    def __init__(self, source: str, output: Output, config: ScoreConfig, n_workers: int) -> None:
        self._output, self._config, self._n_workers = output, config, n_workers
        self._with_sidecars = output.rows == "utterances"
        self.skipped = Counter[str]()
        self.n_listed = self.n_before = self.n_refused = 0
        self._addresses = list_clips(source, self.skipped, with_sidecars=self._with_sidecars)
        self._ahead = deque(islice(self._addresses, CLIPS_AHEAD))
        self.written = output.written()

    def tasks(self) -> Iterator[Task]:
        """Yield the tasks; shards come first where all clips are listed ahead."""
        ahead = sorted(self._ahead, key=lambda address: (not is_shard(address), address))
        self._ahead = deque(ahead)
        n_most = self._config.clips_per_part
        self.n_listed = n_files = sum(not is_shard(address) for address in ahead)
        if len(ahead) < CLIPS_AHEAD:  # these are all
            n_most = max(1, min(n_most, -(-n_files // (TASKS_PER_WORKER * self._n_workers))))
        files: list[str] = []
        for source in self._missing():
            if isinstance(source, Shard):
                yield Task(source)
                continue
            files.append(source)
            if len(files) == n_most:
                yield Task(Files(tuple(files)), n_most)
                files = []
        if files:
            yield Task(Files(tuple(files)), len(files))

    def _listed(self) -> Iterator[str]:
        """Yield all addresses; those that are listed ahead stay `CLIPS_AHEAD`."""
        while self._ahead:
            yield self._ahead.popleft()
            if (address := next(self._addresses, None)) is not None:
                self._ahead.append(address)
                self.n_listed += not is_shard(address)

    def _missing(self) -> Iterator[str | Shard]:
        """Yield files without rows and shards not read to their end; remove stale rows before."""
        for addresses in pieces(self._listed(), self._config.clips_per_part):
            stamps = {address: stamp_of(address) for address in filter(is_shard, addresses)}
            finished = self._output.finished({name_of(a): stamp for a, stamp in stamps.items()})
            stale: list[WrittenClip] = []
            missing: list[str | Shard] = []
            for address in addresses:
                name, n_stale = name_of(address), len(stale)
                clips = self.written.find(name, with_members=address in stamps)
                current = self._find_current(clips, address, stale)
                if address not in stamps:
                    missing += [] if current else [address]
                elif name not in finished or len(stale) > n_stale:
                    missing.append(Shard(address, written=frozenset(current)))
            self._output.remove(stale, self.written)
            yield from missing

    def _find_current(
        self, clips: Iterable[WrittenClip], address: str, stale: list[WrittenClip]
    ) -> list[str]:
        """Return the names of clips whose rows are of the file as it is; add others to `stale`."""
        stamp, current = cache(stamp_of), []
        for clip in clips:
            if not _is_current(clip, address, stamp, with_sidecars=self._with_sidecars):
                stale.append(clip)
                continue
            current.append(clip.name)
            self.n_refused += clip.is_error
        self.n_before += len(current)
        return current


def _is_current(
    clip: WrittenClip, address: str, stamp: Callable[[str], str], *, with_sidecars: bool
) -> bool:
    """Return whether rows are of the file, and its segments, as they are; one without a stamp is.

    An error must be of this version, too, and of a file whose bytes are known.
    """
    stored, *marks = clip.source.split(" ")
    if clip.is_error and not (stored and VERSION in marks and marks[0]):
        return False
    if not stored:
        return True
    segments = next((mark for mark in marks if mark.startswith(SIDECAR_MARK)), "")
    if with_sidecars and segments != sidecar_mark(address):
        return False
    return stored == stamp(address) or (bool(digest := digest_of(address)) and digest in marks[:1])


def _split(
    dead: Iterable[Task], output: Output, written: Container[str], config: ScoreConfig
) -> tuple[list[Task], int]:
    """Return smaller tasks, and the number of clips that killed too many workers."""
    smaller = [p for task in dead for p in task.split_remaining(written, config.clips_per_part)]
    failed = [piece for piece in smaller if piece.n_tries >= MAX_TRIES]
    for piece in failed:
        (name,) = piece.source.names
        output.write([error_row(name, f"Its worker died {MAX_TRIES} times over it. Check it.")])
    return [piece for piece in smaller if piece.n_tries < MAX_TRIES], len(failed)
