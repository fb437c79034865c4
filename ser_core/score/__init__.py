"""Archives of any size: clips in, Parquet out, by as many processes or machines as wished.

    folder, glob, tar shards → tasks → workers, each with a model → parts of rows

The driver lists the clips, cuts the list into tasks, and hands them to a crew: local processes,
or Ray Data's actors. A worker judges a task and writes its rows as one part, which appears whole
or not at all. What is done is what the parts say, so that a run killed anywhere is taken up by
starting it again.
"""

from ser_core.score.parts import Output
from ser_core.score.run import Summary, open_output, score
from ser_core.score.sources import ScoreError, list_clips
from ser_core.score.worker import Report, ScoreConfig, Task, Worker

__all__ = [
    "Output",
    "Report",
    "ScoreConfig",
    "ScoreError",
    "Summary",
    "Task",
    "Worker",
    "list_clips",
    "open_output",
    "score",
]
