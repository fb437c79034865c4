"""Where this project keeps what it can make again: features and assembled models."""

import os
from pathlib import Path


def default_cache() -> Path:
    """`MOODMIRROR_CACHE`, or `moodmirror` in the user's cache."""
    if configured := os.environ.get("MOODMIRROR_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "moodmirror"
