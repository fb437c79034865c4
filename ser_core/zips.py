"""Reading zip archives: errors of unreadable members, and files that are no content."""

import lzma
import zipfile
import zlib
from pathlib import PurePosixPath

UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # a password is needed; its child NotImplementedError: unknown compression
)
"""Errors of Python's zipfile for a member that it cannot read."""
_CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db")


def is_clutter(member: zipfile.ZipInfo) -> bool:
    """Return whether a member is a side file of an operating system."""
    parts = PurePosixPath(member.filename).parts
    return any(part in _CLUTTER or part.startswith("._") for part in parts)
