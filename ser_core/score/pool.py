"""Pools of workers: processes of this machine, or Ray's actors here or on a cluster."""

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from ser_core.errors import SerError
from ser_core.predictor import Predictor
from ser_core.score.parts import Output, ScoreConfig
from ser_core.score.sources import ScoreError
from ser_core.score.worker import Task, TaskResult, Worker, limit_threads

OPENING_TRIES = 2
"""Workers that may die in a row while loading the model before the job stops."""
OBJECT_STORE_BYTES = 200_000_000
"""Object store of a local Ray; only tasks and their results pass through it."""


class _DeadError(Exception):
    """A worker died."""


class _Handle(ABC):
    """A worker elsewhere, and the way to it.

    Attributes:
        tries: Number of workers, with this one, that were started in a row for its place.
        is_open: Whether it has loaded its model.
        is_idle: Whether it waits for a task.
    """

    def __init__(self, tries: int) -> None:
        self.tries = tries
        self.is_open = self.is_idle = False

    @abstractmethod
    def start(self, task: Task) -> None:
        """Start a task."""

    @abstractmethod
    def receive(self) -> TaskResult | Exception | None:
        """Return the result of a task, an error that ends the job, or None for a loaded model.

        Raises:
            _DeadError: The worker died.
        """

    @abstractmethod
    def kill(self) -> None:
        """Stop the worker."""


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
        self._workers: list[Any] = []  # handles

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all workers; unwritten work is lost."""
        for worker in self._workers:
            worker.kill()

    @abstractmethod
    def _open(self, tries: int = 1) -> _Handle:
        """Start a worker, which loads its model."""

    @abstractmethod
    def _wait(self, workers: Sequence[Any]) -> Iterable[_Handle]:
        """Wait until one of some workers can `receive` or died; return all of which one is true."""

    def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        """Run tasks in order, and yield their results; a task whose worker dies has none.

        Tasks are taken as workers need them, at most `n_workers` and one ahead.

        Raises:
            ScoreError: Workers die while loading the model.
            SerError: The model cannot be opened, or another run has taken over.
        """
        tasks = iter(tasks)
        first = list(islice(tasks, self.n_workers))
        for _ in range(len(first) - len(self._workers)):
            self._workers.append(self._open())
        pending, n_running = chain(first, tasks), 0
        task = next(pending, None)
        while task is not None or n_running:
            for worker in self._workers:
                if worker.is_idle and task is not None:
                    worker.is_idle = False
                    worker.start(task)
                    n_running += 1
                    task = next(pending, None)
            for worker in self._wait([w for w in self._workers if not w.is_idle]):
                try:
                    result = worker.receive()
                except _DeadError:
                    n_running -= worker.is_open  # the task that it ran stays without a result
                    self._replace(worker)
                    continue
                if isinstance(result, Exception):
                    raise result
                worker.is_open = worker.is_idle = True
                if result is not None:
                    n_running -= 1
                    yield result

    def _replace(self, worker: _Handle) -> None:
        """Start another worker in place of a dead one, unless loading the model kills them."""
        worker.kill()
        self._workers.remove(worker)
        if not worker.is_open and worker.tries == OPENING_TRIES:
            raise ScoreError(
                f"{worker.tries} workers in a row died while loading their model. Is there "
                f"enough memory for {self.n_workers} of them? Use fewer workers."
            )
        self._workers.append(self._open(1 if worker.is_open else worker.tries + 1))


class ProcessPool(WorkerPool):
    """Worker processes of this machine; one death breaks no other."""

    def _open(self, tries: int = 1) -> "_Process":
        return _Process(self._worker_args, tries)

    def _wait(self, workers: "Sequence[_Process]") -> "list[_Process]":
        by_connection = {worker.connection: worker for worker in workers}
        return [by_connection[found] for found in wait(by_connection)]  # type: ignore[index]


class _Process(_Handle):
    """A spawned process, and the pipe for its tasks and results."""

    def __init__(self, worker_args: tuple[Any, ...], tries: int) -> None:
        super().__init__(tries)
        context = multiprocessing.get_context("spawn")
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_work, args=(child, *worker_args))
        self.process.start()
        child.close()  # so that the pipe ends with the process

    def start(self, task: Task) -> None:
        with suppress(OSError):  # where it died while idle, its pipe has ended
            self.connection.send(task)

    def receive(self) -> TaskResult | Exception | None:
        try:
            result: TaskResult | Exception | None = self.connection.recv()
        except (EOFError, OSError) as error:
            raise _DeadError from error
        return result

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
    """Ray's actors, of a core each, on the cluster at `RAY_ADDRESS` or on this machine.

    A node that goes takes its workers along. Others are started where the cluster has room, which
    may be later; until then the remaining ones go on.
    """

    def __init__(self, *args: Any) -> None:
        """Import Ray, and configure the pool as `WorkerPool` does."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        super().__init__(*args)
        self._ray = ray

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def _open(self, tries: int = 1) -> "_Actor":
        if not self._ray.is_initialized():
            self._connect()
        return _Actor(self._ray, self._worker_args, tries)

    def _wait(self, workers: "Sequence[_Actor]") -> "list[_Actor]":
        by_reply = {worker.reply: worker for worker in workers}
        ready, _ = self._ray.wait(list(by_reply), num_returns=1)
        return [by_reply[reply] for reply in ready]

    def _connect(self) -> None:
        """Join the cluster, or start a minimal Ray on this machine."""
        settings: dict[str, Any] = {"logging_level": logging.WARNING, "log_to_driver": False}
        if not os.environ.get("RAY_ADDRESS"):
            settings |= {"address": "local", "num_cpus": self.n_workers}
            settings |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        self._ray.init(**settings)


class _Actor(_Handle):
    """An actor of Ray, and the reference to its next reply."""

    def __init__(self, ray: Any, worker_args: tuple[Any, ...], tries: int) -> None:
        super().__init__(tries)
        self._ray = ray
        self._actor = ray.remote(num_cpus=1, max_restarts=0)(RayWorker).remote()
        self.reply = self._actor.open.remote(*worker_args)

    def start(self, task: Task) -> None:
        self.reply = self._actor.run.remote(task)

    def receive(self) -> TaskResult | Exception | None:
        errors = self._ray.exceptions
        try:
            result: TaskResult | Exception | None = self._ray.get(self.reply)
        except (errors.RayActorError, errors.NodeDiedError, errors.ObjectLostError) as error:
            raise _DeadError from error
        return result

    def kill(self) -> None:
        self._ray.kill(self._actor)


class RayWorker:
    """A worker as an actor of Ray; errors that end the job are returned."""

    def open(self, *worker_args: Any) -> SerError | None:
        """Load the model."""
        limit_threads()
        try:
            self._worker = Worker(*worker_args)
        except SerError as error:
            return error
        return None

    def run(self, task: Task) -> TaskResult | SerError:
        """Run a task."""
        try:
            return self._worker.run(task)
        except SerError as error:
            return error
