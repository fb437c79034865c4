"""What an archive consists of: folders, globs and tars, on disk or wherever fsspec reaches."""

import glob
import os
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ser_core.errors import SerError

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".m4a", ".aac", ".mp4",
    ".webm",
)  # fmt: skip
"""What counts as a clip in a folder or a shard; the content tells what it is."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
INSIDE = "::"
"""Between a shard's address and a member's name."""


class ScoreError(SerError):
    """An archive cannot be read, or a folder of answers is not fit to go on with."""


def list_clips(address: str) -> tuple[list[str], list[str]]:
    """List what an address stands for.

    Args:
        address: A folder, searched to its depths; a glob; a tar; or a clip. On disk, or an
            address that fsspec knows, such as `s3://bucket/folder`.

    Returns:
        Addresses of clips, and of shards, sorted. Of a folder those whose names end like
        recordings or tars; of a glob everything that it matches.

    Raises:
        ScoreError: It cannot be reached, or there is nothing.
    """
    system, path = reach(address)
    try:
        if system.isdir(path):
            found = [name for name in system.find(path) if is_clip(name) or is_shard(name)]
        elif system.exists(path):
            found = [path]
        elif glob.has_magic(path):
            matches = system.glob(path, detail=True)
            found = [name for name, told in matches.items() if told["type"] == "file"]
        else:
            raise ScoreError(
                f"{address} does not exist. Name a folder, a glob, a tar or a recording."
            )
    except OSError as error:
        raise ScoreError(f"{address} cannot be listed: {error}. Check the address.") from error
    if not found:
        raise ScoreError(
            f"{address} contains nothing to analyse: no {', '.join(AUDIO_SUFFIXES)} or tar. "
            "Name another folder or glob."
        )
    found = sorted({_full(system, name, address) for name in found})
    shards = [name for name in found if is_shard(name)]
    return [name for name in found if not is_shard(name)], shards


def reach(address: str) -> tuple[Any, str]:
    """The file system behind an address, and the path there.

    Args:
        address: A path, or an address that fsspec knows.

    Raises:
        ScoreError: fsspec does not know it, or a package for it is missing.
    """
    if "://" not in address:  # any name may lie on a disk, and fsspec reads `::` its own way
        return LocalFileSystem(), str(Path(address).absolute())
    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ScoreError(
            f"{address} cannot be reached: {error}. Install what fsspec names, or use a "
            "folder on this machine."
        ) from error
    return system, path


def _full(system: Any, path: str, address: str) -> str:
    """How a file found under an address is named from anywhere."""
    if isinstance(system, LocalFileSystem):
        return path
    full = str(system.unstrip_protocol(path))
    inner, _, outer = address.partition(INSIDE)  # zip://clips::file.zip
    return f"{full}{INSIDE}{outer}" if outer and "://" in inner else full


def name_of(address: str) -> str:
    """An address as rows can hold it: bytes that are no UTF-8 are written in hexadecimal."""
    return os.fsencode(address).decode("utf-8", errors="backslashreplace")


def is_clip(name: str) -> bool:
    """Whether a name ends like a recording's."""
    return name.lower().endswith(AUDIO_SUFFIXES)


def is_shard(name: str) -> bool:
    """Whether a name ends like a tar's."""
    return name.lower().endswith(TAR_SUFFIXES)
