"""The command line: `python -m ser_core …`, or `moodmirror …` once installed."""

from ser_core.cli import lab, listen, reproduction
from ser_core.cli.common import app

__all__ = ["app", "lab", "listen", "reproduction"]
