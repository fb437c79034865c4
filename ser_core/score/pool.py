"""A crew of Ray Data's actors: on this machine, or on the cluster that `RAY_ADDRESS` names."""

import logging
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Self

import numpy as np

from ser_core.errors import SerError
from ser_core.predictor import Predictor
from ser_core.score.parts import Output
from ser_core.score.sources import ScoreError
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


OBJECT_STORE_BYTES = 200_000_000
"""Of a Ray on this machine: tasks and reports pass through it, no sound and no rows."""
ADDRESS = "RAY_ADDRESS"


class Actors:
    """Ray actors, each with a model.

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
        """Say what is to be started.

        Args:
            n_workers: How many.
            open_predictor: Opens a worker's model; sent to the actors.
            output: Where rows go.
            config: Settings.

        Raises:
            ModuleNotFoundError: Ray is not installed.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
        import ray
        import ray.data

        self.n_workers = n_workers
        self._ray, self._recipe = ray, (open_predictor, output, config)

    def __enter__(self) -> Self:
        """Nothing yet: `run` starts Ray when there is work."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster, or end the Ray that was started here."""
        self._ray.shutdown()

    def run(self, tasks: Sequence[Task]) -> Iterator[Report]:
        """Have tasks done; one whose worker dies has no report.

        Args:
            tasks: What to do.

        Raises:
            SerError: The model cannot be opened, or another run has taken over.
        """
        if not self._ray.is_initialized():
            self._begin()
        items = [{"task": pickle.dumps(task)} for task in tasks]
        told = self._ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Actor,
            fn_constructor_args=self._recipe,
            batch_size=1,
            compute=self._ray.data.ActorPoolStrategy(size=self.n_workers),
            num_cpus=1,
            ray_remote_args_fn=lambda: {"max_task_retries": 0},
        )
        for row in told.iter_rows():
            report = pickle.loads(row["report"])
            if isinstance(report, SerError):
                raise report
            yield report

    def _begin(self) -> None:
        """Join the cluster, or start Ray here, in its smallest form."""
        here: dict[str, Any] = {
            "address": "local",
            "num_cpus": self.n_workers,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        self._ray.init(
            **({} if os.environ.get(ADDRESS) else here),
            logging_level=logging.WARNING,
            log_to_driver=False,
        )
        if not logging.getLogger().isEnabledFor(logging.INFO):
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # deaths are told by `score`
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1  # a task whose worker died is missed and cut smaller


class _Actor:
    """A worker as Ray Data calls it: one task at a time, errors that end the run as answers."""

    def __init__(self, *recipe: Any) -> None:
        limit_threads()
        self._worker: Worker | SerError
        try:
            self._worker = Worker(*recipe)
        except SerError as error:
            self._worker = error

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        return {"report": [pickle.dumps(self._do(pickle.loads(task))) for task in batch["task"]]}

    def _do(self, task: Task) -> Report | SerError:
        if isinstance(self._worker, SerError):
            return self._worker
        try:
            return self._worker.do(task)
        except SerError as error:
            return error
