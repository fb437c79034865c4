"""What everyone who opens a zip has to know."""

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
"""What Python's zipfile raises over a member that it cannot read."""
_CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db")


def is_clutter(member: zipfile.ZipInfo) -> bool:
    """Whether a member is what an operating system leaves about, and not the packer's own."""
    parts = PurePosixPath(member.filename).parts
    return any(part in _CLUTTER or part.startswith("._") for part in parts)
