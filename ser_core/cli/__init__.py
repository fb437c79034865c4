"""The command line: `python -m ser_core …`, or `moodmirror …` once installed."""

from ser_core.cli import data, lab, listen, publish
from ser_core.cli.common import app

__all__ = ["app", "data", "lab", "listen", "publish"]
