"""The driver of an archive job: it plans tasks, runs them, and repeats those whose worker died."""

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from ser_core.names import name_of
from ser_core.score.parts import CLIP, SOURCE, Output, Row, ScoreConfig, error_row
from ser_core.score.pool import WorkerPool
from ser_core.score.sources import (
    MEMBER,
    SIDECAR_MARK,
    Files,
    ScoreError,
    Shard,
    digest_of,
    list_clips,
    sidecar_mark,
    stamp_of,
)
from ser_core.score.worker import VERSION, Task, TaskResult

logger = logging.getLogger(__name__)

TASKS_PER_WORKER = 4
"""Minimum, where there are enough clips, so that workers finish at about the same time."""
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
        n_retryable: Clips and shards that could not be fetched; another run tries them again.
        n_deaths: Tasks whose worker died.
        audio_s: Total duration of the analysed clips in seconds.
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
    files, shards, skipped = list_clips(source, with_sidecars=config.rows == "utterances")
    written, refused, stale = _read_output(output, [*files, *shards])
    n_each = -(-len(files) // (TASKS_PER_WORKER * pool.n_workers))
    n_most = max(1, min(config.clips_per_part, n_each))
    pieces = Files(tuple(files)).remaining(written, n_most)
    unread, n_members = _unread_shards(shards, output, written, stale)
    tasks = [*map(Task, unread), *(Task(piece, len(piece.names)) for piece in pieces)]
    n_before = len(files) - sum(len(piece.names) for piece in pieces) + n_members
    summary = Summary(n_before, n_refused=len(refused), skipped=skipped)
    while tasks:
        tasks = [replace(task, number=number) for number, task in enumerate(tasks)]
        dead = dict(enumerate(tasks))
        for result in pool.run(tasks):
            del dead[result.number]
            summary = summary.plus(result)
            on_progress(summary, max(len(files), summary.n_before + summary.n_clips))
        if len(dead) == len(tasks) >= HOPELESS_TASKS:
            raise ScoreError(
                f"Workers died on each of {len(tasks)} tasks. Check the machine's memory and "
                "disk, use fewer workers, and run the command again."
            )
        if not dead:
            break
        logger.warning("The workers on %d tasks died; the remaining clips are retried.", len(dead))
        now = output.written()
        tasks, n_failed = _split(dead.values(), output, now, config)
        summary = replace(
            summary,
            n_clips=len(now - written) + n_failed,  # some are in no result of a dead worker
            n_errors=summary.n_errors + n_failed,
            n_deaths=summary.n_deaths + len(dead),
        )
    return summary


def _read_output(
    output: Output, addresses: Sequence[str]
) -> tuple[frozenset[str], set[str], set[str]]:
    """Return the clips that have rows, those whose error stands, and files of removed rows."""
    listed = {name_of(address): address for address in addresses}
    stamp, refused, stale = cache(stamp_of), set[str](), set[str]()

    def is_current(row: Row) -> bool:
        found = _find_listed(row[CLIP], listed)
        if found is None:
            return True
        if not _is_current(row, listed[found], stamp, with_sidecars=output.rows == "utterances"):
            stale.add(found)
            return False
        if row.get("error") is not None:
            refused.add(row[CLIP])
        return True

    return output.written(is_current), refused, stale


def _unread_shards(
    addresses: Sequence[str], output: Output, written: frozenset[str], stale: set[str]
) -> tuple[list[Shard], int]:
    """Return the shards that were not read to their end, and the number of clips written of all."""
    shards = {shard.name: shard for shard in map(Shard, addresses)}
    members: dict[str, set[str]] = {name: set() for name in shards}
    for name in written:
        if (shard := _find_listed(name, shards)) is not None:
            members[shard].add(name)
    finished = output.finished({name: stamp_of(shard.address) for name, shard in shards.items()})
    unread = [
        replace(shard, written=frozenset(members[name]))
        for name, shard in shards.items()
        if name not in finished or name in stale
    ]
    return unread, sum(map(len, members.values()))


def _find_listed(name: str, listed: Container[str]) -> str | None:
    """Return the name of a clip's file or shard, if it is among the listed ones."""
    parts = name.split(MEMBER)  # a shard's own name may hold the separator
    prefixes = (MEMBER.join(parts[:n]) for n in range(1, len(parts) + 1))
    return next((prefix for prefix in prefixes if prefix in listed), None)


def _is_current(
    row: Row, address: str, stamp: Callable[[str], str], *, with_sidecars: bool
) -> bool:
    """Return whether a row is of the file, and its segments, as they are; one without a stamp is.

    An error must be of this version, too, and of a file whose bytes are known.
    """
    stored, *marks = (row.get(SOURCE) or "").split(" ")
    if row.get("error") is not None and not (stored and VERSION in marks and marks[0]):
        return False
    if not stored:
        return True
    segments = next((mark for mark in marks if mark.startswith(SIDECAR_MARK)), "")
    if with_sidecars and segments != sidecar_mark(address):
        return False
    return stored == stamp(address) or (bool(digest := digest_of(address)) and digest in marks[:1])


def _split(
    dead: Iterable[Task], output: Output, written: frozenset[str], config: ScoreConfig
) -> tuple[list[Task], int]:
    """Return smaller tasks, and the number of clips that killed too many workers."""
    pieces = [p for task in dead for p in task.split_remaining(written, config.clips_per_part)]
    failed = [piece for piece in pieces if piece.n_tries >= MAX_TRIES]
    for piece in failed:
        (name,) = piece.source.names
        output.write([error_row(name, f"Its worker died {MAX_TRIES} times over it. Check it.")])
    return [piece for piece in pieces if piece.n_tries < MAX_TRIES], len(failed)
