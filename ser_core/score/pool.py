"""Pools of workers: processes of this machine, or Ray Data's actors here or on a cluster."""

import logging
import multiprocessing
import os
import pickle
import signal
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Self

import numpy as np

from ser_core.errors import SerError
from ser_core.predictor import Predictor
from ser_core.score.parts import Output, ScoreConfig
from ser_core.score.sources import ScoreError
from ser_core.score.worker import Task, TaskResult, Worker, limit_threads

OPENING_TRIES = 2
"""Workers that may die in a row while loading the model before the job stops."""
RAY_ADDRESS = "RAY_ADDRESS"
"""Environment variable with the address of a Ray cluster."""
OBJECT_STORE_BYTES = 200_000_000
"""Object store of a local Ray; only tasks and their results pass through it."""

_worker: Worker | None = None
"""The worker of this process, where this is a worker's process."""


class WorkerPool(ABC):
    """Workers, each with its own model; `run` starts as many as there are tasks for.

    Attributes:
        n_workers: Maximum number of workers.
    """

    def __init__(
        self,
        n_workers: int,
        open_predictor: Callable[[], Predictor],
        output: Output,
        config: ScoreConfig,
    ) -> None:
        """Configure the pool.

        Args:
            n_workers: Maximum number of workers.
            open_predictor: Opens a worker's model; it is pickled.
            output: Folder for the rows.
            config: Settings.
        """
        self.n_workers = n_workers
        self._worker_args = (open_predictor, output, config)

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Stop all workers; unwritten work is lost."""

    @abstractmethod
    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
        """Run tasks, and yield the result of each; a task whose worker dies has none.

        Args:
            tasks: In the order in which they start.

        Raises:
            ScoreError: Workers die while loading the model.
            SerError: The model cannot be opened, or another run has taken over.
        """


class ProcessPool(WorkerPool):
    """Worker processes, each in an executor of its own, so that one death breaks no other."""

    def __init__(self, *args: Any) -> None:
        """See `WorkerPool`."""
        super().__init__(*args)
        self._idle: list[_Process] = []
        self._busy: dict[Future[TaskResult | None], _Process] = {}

    def __exit__(self, *_: object) -> None:
        for process in [*self._idle, *self._busy.values()]:
            process.kill()

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:  # noqa: D102
        for _ in range(min(self.n_workers, len(tasks)) - len(self._idle)):
            self._start()
        pending, n_unfinished = deque(tasks), len(tasks)
        while n_unfinished:
            while pending and self._idle:
                process = self._idle.pop()
                self._busy[process.submit(_run_task, pending.popleft())] = process
            for future in wait(self._busy, return_when=FIRST_COMPLETED).done:
                process = self._busy.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    if process.is_open:  # the task that it ran stays without a result
                        n_unfinished -= 1
                    self._replace(process, error)
                    continue
                process.is_open = True
                self._idle.append(process)
                if result is not None:
                    n_unfinished -= 1
                    yield result

    def _start(self, tries: int = 1) -> None:
        process = _Process(tries)
        self._busy[process.submit(_open_worker, *self._worker_args)] = process

    def _replace(self, process: "_Process", error: BrokenProcessPool) -> None:
        """Start another process in place of a dead one, unless loading the model kills them."""
        process.kill()
        if not process.is_open and process.tries == OPENING_TRIES:
            raise ScoreError(
                f"{process.tries} workers in a row died while loading their model. Is there "
                f"enough memory for {self.n_workers} of them? Use fewer workers."
            ) from error
        self._start(1 if process.is_open else process.tries + 1)


class _Process:
    """An executor of one spawned process.

    Attributes:
        tries: 1, plus the number of processes before it that died while loading the model.
        is_open: Whether its model is open.
    """

    def __init__(self, tries: int) -> None:
        self.tries = tries
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self.is_open = False

    def submit(
        self, function: Callable[..., TaskResult | None], *args: Any
    ) -> Future[TaskResult | None]:
        """Start work; where the process died while idle, the future has already failed."""
        try:
            return self.pool.submit(function, *args)
        except BrokenProcessPool as error:
            failed: Future[TaskResult | None] = Future()
            failed.set_exception(error)
            return failed

    def kill(self) -> None:
        for process in list((self.pool._processes or {}).values()):
            process.kill()
        self.pool.shutdown(wait=True, cancel_futures=True)


def _open_worker(*worker_args: Any) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which kills this one
    threading.Thread(target=_exit_with_driver, daemon=True).start()
    limit_threads()
    _worker = Worker(*worker_args)


def _run_task(task: Task) -> TaskResult:
    assert _worker is not None, "_open_worker comes first"
    return _worker.run(task)


def _exit_with_driver() -> None:
    """End this process when the driver has ended, even if it was killed."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)


class RayPool(WorkerPool):
    """Ray actors, started by the first `run`."""

    def __init__(self, *args: Any) -> None:
        """See `WorkerPool`.

        Raises:
            ModuleNotFoundError: Ray is not installed.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
        import ray.data

        super().__init__(*args)
        self._ray = ray

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:  # noqa: D102
        if not self._ray.is_initialized():
            self._connect()
        items = [{"task": pickle.dumps(task)} for task in tasks]
        results = self._ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Actor,
            fn_constructor_args=self._worker_args,
            batch_size=1,
            compute=self._ray.data.ActorPoolStrategy(size=self.n_workers),
            num_cpus=1,
            ray_remote_args_fn=lambda: {"max_task_retries": 0},
        )
        for row in results.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, SerError):
                raise result
            yield result

    def _connect(self) -> None:
        """Join the cluster, or start a minimal Ray on this machine."""
        local: dict[str, Any] = {
            "address": "local",
            "num_cpus": self.n_workers,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
        self._ray.init(
            **({} if os.environ.get(RAY_ADDRESS) else local),
            logging_level=logging.WARNING,
            log_to_driver=False,
        )
        if not logging.getLogger().isEnabledFor(logging.INFO):
            logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # `score` logs deaths
        context = self._ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1  # `score` splits and repeats a task whose worker died


class _Actor:
    """A worker in the form that Ray Data calls; errors that end the job are returned."""

    def __init__(self, *worker_args: Any) -> None:
        limit_threads()
        self._worker: Worker | SerError
        try:
            self._worker = Worker(*worker_args)
        except SerError as error:
            self._worker = error

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        return {"result": [pickle.dumps(self._run(pickle.loads(task))) for task in batch["task"]]}

    def _run(self, task: Task) -> TaskResult | SerError:
        if isinstance(self._worker, SerError):
            return self._worker
        try:
            return self._worker.run(task)
        except SerError as error:
            return error
