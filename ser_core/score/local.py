"""A crew of processes on this machine."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Self

from ser_core.predictor import Predictor
from ser_core.score.addresses import ScoreError
from ser_core.score.parts import Output
from ser_core.score.worker import Report, ScoreConfig, Task, Worker, limit_threads

OPENING_TRIES = 2
"""So many deaths in a row over one model that is being opened are no accident."""

_worker: Worker | None = None
"""In a worker's process, the worker."""


class Processes:
    """Worker processes, each in a pool of its own, so that one death harms no other.

    Attributes:
        n_workers: How many.
    """

    def __init__(
        self,
        n_workers: int,
        open_predictor: Callable[[], Predictor],
        output: Output,
        config: ScoreConfig,
    ) -> None:
        """Say what is to be started; `run` starts it.

        Args:
            n_workers: How many.
            open_predictor: Opens a worker's model; sent to the processes.
            output: Where rows go.
            config: Settings.
        """
        self.n_workers = n_workers
        self._recipe = (open_predictor, output, config)
        self._idle: list[_Process] = []
        self._busy: dict[Future[Report | None], _Process] = {}

    def __enter__(self) -> Self:
        """Nothing yet: `run` starts as many as there is work for."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them, whatever they are at."""
        for process in [*self._idle, *self._busy.values()]:
            process.end()

    def run(self, tasks: Sequence[Task]) -> Iterator[Report]:
        """Have tasks done; one whose worker dies has no report.

        Args:
            tasks: In the order in which they begin.

        Raises:
            ScoreError: A worker dies while it opens its model, and so does the next.
            SerError: The model cannot be opened, or another run has taken over.
        """
        for _ in range(min(self.n_workers, len(tasks)) - len(self._idle)):
            self._start()
        waiting, n_left = deque(tasks), len(tasks)
        while n_left:
            while waiting and self._idle:
                process = self._idle.pop()
                self._busy[process.submit(_do, waiting.popleft())] = process
            for future in wait(self._busy, return_when=FIRST_COMPLETED).done:
                process = self._busy.pop(future)
                try:
                    report = future.result()
                except BrokenProcessPool as error:
                    process.end()
                    if process.is_open:
                        n_left -= 1
                        self._start()
                    elif process.tries < OPENING_TRIES:
                        self._start(process.tries + 1)
                    else:
                        raise ScoreError(
                            f"{process.tries} workers in a row died while loading their "
                            f"model. Is there enough memory for {self.n_workers} of them? Use "
                            "fewer workers."
                        ) from error
                    continue
                process.is_open = True
                self._idle.append(process)
                if report is not None:
                    n_left -= 1
                    yield report

    def _start(self, tries: int = 1) -> None:
        process = _Process(tries)
        self._busy[process.submit(_open, *self._recipe)] = process


class _Process:
    """A pool of one process, which imports this package anew.

    Attributes:
        tries: This one, and those before it that died while they opened their model.
        is_open: Whether its model is open.
    """

    def __init__(self, tries: int) -> None:
        self.tries = tries
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self.is_open = False

    def submit(self, do: Callable[..., Report | None], *args: Any) -> Future[Report | None]:
        """Start work; where the process died idle, the future has failed already."""
        try:
            return self.pool.submit(do, *args)
        except BrokenProcessPool as error:
            failed: Future[Report | None] = Future()
            failed.set_exception(error)
            return failed

    def end(self) -> None:
        """End the process in the midst of its work: what it has not written is not done."""
        for process in list((self.pool._processes or {}).values()):
            process.kill()
        self.pool.shutdown(wait=True, cancel_futures=True)


def _open(*recipe: Any) -> None:
    """Become a worker."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, who ends this one
    threading.Thread(target=_end_with_the_driver, daemon=True).start()
    limit_threads()
    _worker = Worker(*recipe)


def _do(task: Task) -> Report:
    assert _worker is not None, "_open comes first"
    return _worker.do(task)


def _end_with_the_driver() -> None:
    """A driver that is killed cannot say goodbye; nobody would miss its workers' answers."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
