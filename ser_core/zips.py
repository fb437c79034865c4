"""Reading zip archives: damaged ones as far as possible, and files that are no content."""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,  # a password is needed; its child NotImplementedError: unknown compression
    ValueError,  # a name that is no UTF-8, a negative position
    LookupError,
    OverflowError,
)
"""Errors of Python's zipfile for an archive or a member that it cannot read."""
_CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db")
_STARTS = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")
_ENTRY = b"PK\1\2"
_ENTRY_BYTES = 46
_UTF8_FLAG = 0x08
"""In the high byte of an entry's flags."""
_LAST_VERSION = 63


def is_clutter(name: str) -> bool:
    """Return whether a file or a member is a side file of an operating system."""
    parts = PurePosixPath(name).parts
    return any(part in _CLUTTER or part.startswith("._") for part in parts)


def is_zip(path: Path) -> bool:
    """Return whether a file begins as a zip; a recording may contain one further on."""
    try:
        with path.open("rb") as file:
            return file.read(4) in _STARTS
    except (OSError, ValueError):
        return False


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; an entry with an odd name or version does not make the others unreadable.

    Raises:
        UNREADABLE: Its directory cannot be read.
    """
    with _Mending(path) as file, zipfile.ZipFile(file) as archive:
        file.is_directory = False
        yield archive


class _Mending(io.FileIO):
    """A zip whose directory is mended while it is read."""

    is_directory = True

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(-1 if size is None else size) or b""
        if self.is_directory and content.startswith(_ENTRY):
            return _mend(bytearray(content))
        return content


def _mend(directory: bytearray) -> bytes:
    """Mark names that are no UTF-8 as cp437, and unknown versions as the last that is known."""
    start = 0
    while directory.startswith(_ENTRY, start) and start + _ENTRY_BYTES <= len(directory):
        n_name, n_extra, n_comment = struct.unpack_from("<3H", directory, start + 28)
        directory[start + 6] = min(directory[start + 6], _LAST_VERSION)
        name_start = start + _ENTRY_BYTES
        try:
            directory[name_start : name_start + n_name].decode()
        except UnicodeDecodeError:
            directory[start + 9] &= ~_UTF8_FLAG
        start = name_start + n_name + n_extra + n_comment
    return bytes(directory)
