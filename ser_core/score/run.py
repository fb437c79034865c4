"""The driver: lists what is to be done, hands it out, and looks after what was not done."""

import hashlib
import json
import logging
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from ser_core.model.manifest import Manifest
from ser_core.score.parts import Output, refused
from ser_core.score.sources import INSIDE, Files, ScoreError, Shard, Source, list_clips
from ser_core.score.worker import MAX_TRIES, Report, ScoreConfig, Task

logger = logging.getLogger(__name__)

TASKS_PER_WORKER = 4
"""At least, where there are clips enough, so that workers end at about the same time."""
HOPELESS = 16
"""So many tasks, of which none was done, are not a clip's fault."""


class Crew(Protocol):
    """Workers, wherever they are."""

    n_workers: int

    def run(self, tasks: Sequence[Task]) -> Iterator[Report]:
        """Have tasks done; one whose worker dies has no report."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did.

    Attributes:
        n_before: Clips that had their rows before.
        n_clips: Clips that this run gave theirs.
        n_refused: Those among them that could not be judged; their row says why.
        n_postponed: Clips and shards that could not be fetched; another run will try again.
        n_deaths: Tasks whose worker died.
        audio_s: Seconds of sound that were judged.
    """

    n_before: int = 0
    n_clips: int = 0
    n_refused: int = 0
    n_postponed: int = 0
    n_deaths: int = 0
    audio_s: float = 0.0

    def plus(self, report: Report) -> "Summary":
        """With what a task did."""
        return replace(
            self,
            n_clips=self.n_clips + report.n_clips,
            n_refused=self.n_refused + report.n_refused,
            n_postponed=self.n_postponed + report.n_postponed,
            audio_s=self.audio_s + report.audio_s,
        )


def open_output(address: str, manifest: Manifest, config: ScoreConfig) -> Output:
    """Take over the folder that answers go to.

    Args:
        address: A folder, new or begun with the same model and settings.
        manifest: Of the model.
        config: Settings.

    Raises:
        ScoreError: It holds something else, or cannot be written.
    """
    files = json.dumps(sorted(manifest.files.items())) + repr(manifest.encoder)
    settings = {
        "model": f"{manifest.name} {manifest.version}",
        "weights": hashlib.sha256(files.encode()).hexdigest(),
        "pipeline": json.loads(json.dumps(asdict(manifest.pipeline))),
        "labels": list(manifest.labels),
        "rows": config.rows,
        "denoise": config.denoise,
    }
    return Output.begin(address, settings)


def score(
    source: str,
    output: Output,
    crew: Crew,
    config: ScoreConfig,
    *,
    on_progress: Callable[[Summary, int], None] = lambda _summary, _n_total: None,
) -> Summary:
    """Give every clip its rows that does not have them.

    Args:
        source: A folder, a glob, a tar or a clip; see `list_clips`.
        output: What `open_output` gave.
        crew: Who does the work.
        config: Settings.
        on_progress: Called with what was done and how many clips there are, as far as is
            known: a shard counts as it is read.

    Raises:
        ScoreError: There is nothing, or the workers die over everything.
    """
    files, shards = list_clips(source)
    written = output.written()
    tasks, n_before = _plan(files, shards, output, written, crew.n_workers, config)
    summary = Summary(n_before)
    while tasks:
        left = {task.number: task for task in tasks}
        for report in crew.run(tasks):
            del left[report.number]
            summary = summary.plus(report)
            on_progress(summary, max(len(files), n_before + summary.n_clips))
        if len(left) == len(tasks) >= HOPELESS:
            raise ScoreError(
                f"Workers died on each of {len(tasks)} tasks. Check the machine's memory and "
                "disk, use fewer workers, and run the command again."
            )
        tasks, n_given_up = [], 0
        if left:
            logger.warning(
                "The workers on %d tasks died; the remaining clips are retried.", len(left)
            )
            now = output.written()
            tasks, n_given_up = _again(left.values(), output, now, config)
            # What dead workers wrote has no report.
            summary = replace(
                summary,
                n_clips=len(now - written) + n_given_up,
                n_refused=summary.n_refused + n_given_up,
                n_deaths=summary.n_deaths + len(left),
            )
    return summary


def _plan(
    files: Sequence[str],
    shards: Sequence[str],
    output: Output,
    written: frozenset[str],
    n_workers: int,
    config: ScoreConfig,
) -> tuple[list[Task], int]:
    """Tasks for what is not written yet, and how many clips are."""
    n_each = -(-len(files) // (TASKS_PER_WORKER * n_workers))
    n_most = max(1, min(config.clips_per_part, n_each))
    pieces = Files(tuple(files)).left(written, n_most)
    n_left = sum(len(piece.names()) for piece in pieces)
    wanted = {shard.name: shard for shard in map(Shard, shards)}
    inside: dict[str, set[str]] = {name: set() for name in wanted}
    for name in written:
        if (shard := _shard_of(name, inside)) is not None:
            inside[shard].add(name)
    finished = output.finished(list(wanted))
    unread = [
        replace(shard, written=frozenset(inside[name]))
        for name, shard in wanted.items()
        if name not in finished
    ]
    sources: list[Source] = [*unread, *pieces]
    tasks = [
        Task(number, source, None if isinstance(source, Shard) else len(source.names()))
        for number, source in enumerate(sources)
    ]
    return tasks, len(files) - n_left + sum(map(len, inside.values()))


def _shard_of(name: str, shards: Container[str]) -> str | None:
    """The shard that a clip lies in; None where it is a file of its own."""
    pieces = name.split(INSIDE)
    begins = (INSIDE.join(pieces[:n]) for n in range(1, len(pieces) + 1))
    return next((begin for begin in begins if begin in shards), None)


def _again(
    left: Iterable[Task], output: Output, written: frozenset[str], config: ScoreConfig
) -> tuple[list[Task], int]:
    """Smaller tasks for what is left, and how many clips are given up: each killed its worker."""
    pieces = [piece for task in left for piece in task.again(written, config.clips_per_part)]
    tasks = [piece for piece in pieces if piece.n_tries < MAX_TRIES]
    for piece in pieces:
        if piece.n_tries >= MAX_TRIES:
            (name,) = piece.source.names()
            reason = f"Its worker died {MAX_TRIES} times over it. Look at what it holds."
            output.write(refused(name, reason))
    numbered = [replace(task, number=number) for number, task in enumerate(tasks)]
    return numbered, len(pieces) - len(tasks)
