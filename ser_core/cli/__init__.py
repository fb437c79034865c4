"""The command line: `python -m ser_core …`, or `moodmirror …` once installed."""

from ser_core.cli import archive, lab, listen, serve
from ser_core.cli.common import app

__all__ = ["app", "archive", "lab", "listen", "serve"]
