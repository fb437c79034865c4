"""The command line: `python -m ser_core …`, or `moodmirror …` once installed."""

from ser_core.cli.common import app

# The help lists the commands in this order.
from ser_core.cli import predict, segments, serve, lab, publish  # isort: skip

__all__ = ["app", "lab", "predict", "publish", "segments", "serve"]
