"""Folders: the cache, and the models and examples that come with the code.

A wheel contains models and examples in `ser_core/bundled` (see `package-dir` in pyproject.toml);
a checkout has them in its root.
"""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def default_cache() -> Path:
    """Return `MOODMIRROR_CACHE`, or `moodmirror` in the user's cache."""
    if configured := os.environ.get("MOODMIRROR_CACHE"):
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "moodmirror"


def entry_name(format_number: int, key: str, *, prefix: str = "") -> str:
    """Return the name of a cache entry.

    Args:
        format_number: Format of its content.
        key: Hash of its settings, in hexadecimal digits, of which 16 are used.
        prefix: Start of the name.
    """
    return f"{prefix}format{format_number}-{key[:16]}"


def remove_earlier_entries(
    folder: Path, format_number: int, is_ours: Callable[[Path], bool], *, prefix: str = ""
) -> None:
    """Remove the entries of earlier formats, which no current version reads.

    Those of later formats stay, so that two versions with one cache do not undo each other.

    Args:
        folder: Holds the entries.
        format_number: The current format.
        is_ours: Whether a folder holds only what this program wrote; others stay.
        prefix: Start of the names.
    """
    pattern = re.compile(re.escape(prefix) + r"(?:format(\d+)-)?[0-9a-f]{16}")
    for path in folder.iterdir():
        match = pattern.fullmatch(path.name)
        if match is None or int(match[1] or 0) >= format_number or not path.is_dir():
            continue
        with suppress(OSError):  # another process may be removing it, too
            if is_ours(path):
                shutil.rmtree(path)


def bundled(name: str) -> Path:
    """Return a folder that comes with the code.

    Args:
        name: `model` or `examples`.
    """
    package = Path(__file__).resolve().parent
    inside = package / "bundled" / name
    return inside if inside.is_dir() else package.parent / name
