"""Archives of any size: clips in, Parquet out, on several processes or machines.

    folder, glob, tar shards → tasks → workers, each with a model → parts of rows

The driver lists the clips, splits the list into tasks, and runs them on a pool of workers. A worker
writes the rows of a task as parts, which appear whole or not at all. The parts are the record of
the work done, so an interrupted job resumes when it is started again.
"""

from ser_core.score.parts import Output, ScoreConfig, check_address, open_output, read_parts
from ser_core.score.pool import ProcessPool, RayPool
from ser_core.score.run import Summary, score
from ser_core.score.sources import ScoreError, list_clips
from ser_core.score.worker import Task, TaskResult, Worker

__all__ = [
    "Output", "ProcessPool", "RayPool", "ScoreConfig", "ScoreError", "Summary", "Task",
    "TaskResult", "Worker", "check_address", "list_clips", "open_output", "read_parts", "score",
]  # fmt: skip
