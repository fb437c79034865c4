"""Pools of workers: processes of this machine, or Ray Data's actors here or on a cluster."""

import logging
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from typing import Any, Self

import numpy as np

from ser_core.errors import SerError
from ser_core.predictor import Predictor
from ser_core.score.parts import Output, ScoreConfig
from ser_core.score.sources import ScoreError
from ser_core.score.worker import Task, TaskResult, Worker, limit_threads

OPENING_TRIES = 2
"""Workers that may die in a row while loading the model before the job stops."""
TASKS_AHEAD = 64
"""Tasks per worker that Ray gets at once; between them, the workers load their model again."""
OBJECT_STORE_BYTES = 200_000_000
"""Object store of a local Ray; only tasks and their results pass through it."""


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
        """Configure the pool; `open_predictor` opens a worker's model, and is pickled."""
        self.n_workers = n_workers
        self._worker_args = (open_predictor, output, config)

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Stop all workers; unwritten work is lost."""

    @abstractmethod
    def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        """Run tasks in order, and yield their results; a task whose worker dies has none.

        Tasks are taken as workers need them, a bounded number ahead.

        Raises:
            ScoreError: Workers die while loading the model.
            SerError: The model cannot be opened, or another run has taken over.
        """


class ProcessPool(WorkerPool):
    """Worker processes of this machine; one death breaks no other."""

    def __init__(self, *args: Any) -> None:
        """Configure the pool as `WorkerPool` does."""
        super().__init__(*args)
        self._processes: list[_Process] = []

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()

    def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:  # noqa: D102
        tasks = iter(tasks)
        first = list(islice(tasks, self.n_workers))
        for _ in range(len(first) - len(self._processes)):
            self._processes.append(_Process(self._worker_args))
        pending, n_running = chain(first, tasks), 0
        task = next(pending, None)
        while task is not None or n_running:
            for process in self._processes:
                if process.is_idle and task is not None:
                    process.start(task)
                    n_running += 1
                    task = next(pending, None)
            busy = {p.connection: p for p in self._processes if not p.is_idle}
            for connection in wait(busy):
                process = busy[connection]  # type: ignore[index]
                try:
                    result = process.connection.recv()
                except (EOFError, OSError):
                    if process.is_open:  # the task that it ran stays without a result
                        n_running -= 1
                    self._replace(process)
                    continue
                if isinstance(result, Exception):
                    raise result
                process.is_open = process.is_idle = True
                if result is not None:
                    n_running -= 1
                    yield result

    def _replace(self, process: "_Process") -> None:
        """Start another process in place of a dead one, unless loading the model kills them."""
        process.kill()
        self._processes.remove(process)
        if not process.is_open and process.tries == OPENING_TRIES:
            raise ScoreError(
                f"{process.tries} workers in a row died while loading their model. Is there "
                f"enough memory for {self.n_workers} of them? Use fewer workers."
            )
        tries = 1 if process.is_open else process.tries + 1
        self._processes.append(_Process(self._worker_args, tries))


class _Process:
    """A spawned process, and the pipe for its tasks and results."""

    def __init__(self, worker_args: tuple[Any, ...], tries: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_work, args=(child, *worker_args))
        self.process.start()
        child.close()  # so that the pipe ends with the process
        self.tries = tries  # with the processes before it that died while loading the model
        self.is_open = self.is_idle = False

    def start(self, task: Task) -> None:
        self.is_idle = False
        with suppress(OSError):  # where it died while idle, its pipe has ended
            self.connection.send(task)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _work(connection: Connection, *worker_args: Any) -> None:
    """Load the model, then run one task after another; errors that end the job are sent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which kills this one
    threading.Thread(target=_exit_with_driver, daemon=True).start()
    try:
        limit_threads()
        worker, result = Worker(*worker_args), None
        while True:
            connection.send(result)
            result = worker.run(connection.recv())
    except Exception as error:
        error.add_note(traceback.format_exc())
        connection.send(error)


def _exit_with_driver() -> None:
    """End this process when the driver has ended, even if it was killed."""
    if driver := multiprocessing.parent_process():
        driver.join()
        os._exit(1)


class RayPool(WorkerPool):
    """Ray actors, started by the first `run`."""

    def __init__(self, *args: Any) -> None:
        """Import Ray, and configure the pool as `WorkerPool` does."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
        import ray.data

        super().__init__(*args)
        self._ray = ray

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:  # noqa: D102
        tasks = iter(tasks)
        while some := list(islice(tasks, TASKS_AHEAD * self.n_workers)):
            yield from self._run(some)

    def _run(self, tasks: Sequence[Task]) -> Iterator[TaskResult]:
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
        settings: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
        if not os.environ.get("RAY_ADDRESS"):
            settings |= {"address": "local", "num_cpus": self.n_workers}
            settings |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        self._ray.init(**settings)
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
        try:
            self._worker: Worker | SerError = Worker(*worker_args)
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
