"""A crew of Ray Data's actors: on this machine, or on the cluster that `RAY_ADDRESS` names."""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from ser_core.errors import SerError
from ser_core.predictor import Predictor
from ser_core.score.parts import Output
from ser_core.score.worker import Report, ScoreConfig, Task, Worker, limit_threads

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
