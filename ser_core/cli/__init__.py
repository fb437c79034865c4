"""The command line: `python -m ser_core …`, or `moodmirror …` once installed."""

from ser_core.cli.common import app

__all__ = ["app", "archive", "data", "lab", "listen", "publish", "reproduction", "serve"]
