"""The clips of an archive, listed and copied to this machine: single files, or members of tars."""

import glob
import os
import tarfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ser_core.errors import AudioError, SerError

AUDIO_SUFFIXES = (
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".m4a", ".aac", ".mp4",
    ".webm",
)  # fmt: skip
"""Suffixes of clips in a folder or a shard; the format itself is read from the content."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
MEMBER = "::"
"""Separates a shard's address from a member's name."""
FETCHED = "fetched.clip"
"""File name of a fetched clip; rows and errors carry the clip's own name."""
FETCH_TRIES = 3
FETCH_PAUSE_S = 1.0
DAMAGED = (tarfile.TarError, zlib.error, EOFError)
"""Errors of a truncated or corrupted shard; any other error may be temporary."""


class ScoreError(SerError):
    """An archive cannot be read, or an output folder cannot be continued."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip on this machine.

    Attributes:
        name: Its address, and behind `::` its name in the shard.
        path: Its file, valid until the next clip is requested.
        error: Reason why it cannot be analysed; empty if it can.
        is_retryable: Whether it, or the rest of its shard, could not be fetched this time.
    """

    name: str
    path: Path
    error: str = ""
    is_retryable: bool = False


@dataclass(frozen=True, slots=True)
class Files:
    """Clips that are single files.

    Attributes:
        addresses: Paths, or addresses that fsspec supports.
    """

    addresses: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the clips."""
        return tuple(map(name_of, self.addresses))

    def clips(self, folder: Path, max_bytes: int) -> Iterator[Clip]:
        """Yield the clips, fetched to `folder` where remote; larger ones are rejected unread."""
        target = folder / FETCHED
        for address in self.addresses:
            system, path = reach(address)
            if isinstance(system, LocalFileSystem):
                yield Clip(name_of(address), Path(path))
                continue
            try:
                _fetch(system, path, target, max_bytes)
            except (AudioError, ScoreError) as error:
                is_retryable = isinstance(error, ScoreError)
                yield Clip(name_of(address), target, str(error), is_retryable=is_retryable)
            else:
                yield Clip(name_of(address), target)

    def remaining(self, written: frozenset[str], n_most: int) -> "list[Files]":
        """Return the clips that are not in `written`, in pieces of at most `n_most`."""
        missing = [address for address in self.addresses if name_of(address) not in written]
        return [Files(piece) for piece in _pieces(missing, n_most)]


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar of clips in WebDataset's layout, read once from beginning to end.

    Attributes:
        address: A path, or an address that fsspec supports.
        only: Names of the clips to read; None for all.
        written: Names of the clips to skip.
    """

    address: str
    only: frozenset[str] | None = None
    written: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Name of the shard in rows and records."""
        return name_of(self.address)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the clips where they are known, else that of the shard."""
        return (self.name,) if self.only is None else tuple(sorted(self.only))

    def clips(self, folder: Path, max_bytes: int) -> Iterator[Clip]:
        """Yield the clips, extracted to `folder`; larger ones are rejected unread.

        Where the rest cannot be read, the last clip has the shard's name and an error.
        """
        target, seen = folder / FETCHED, set(self.written)
        for n_try in range(1, FETCH_TRIES + 1):
            try:
                for name, size, content in self._members():
                    if name in seen or not self._includes(name):
                        continue
                    error = _too_large(name, size, max_bytes) if size > max_bytes else ""
                    target.write_bytes(b"" if error else content.read())
                    seen.add(name)
                    yield Clip(name, target, error)
                return
            except DAMAGED as damage:
                if self.name not in seen and self._includes(self.name):
                    shard = Path(self.name).name
                    reason = f"{shard} is damaged or cut off ({damage}). Fetch it again."
                    yield Clip(self.name, target, reason)
                return
            except Exception as error:  # each file system raises its own errors
                if n_try == FETCH_TRIES:
                    reason = _unreachable(self.name, error)
                    yield Clip(self.name, target, reason, is_retryable=True)
                time.sleep(FETCH_PAUSE_S * n_try)

    def remaining(self, written: frozenset[str], n_most: int) -> "list[Shard]":
        """Return the clips that are not in `written`, in pieces; this reads the shard's index."""
        names: dict[str, None] = {}  # an ordered set
        try:
            for name, _, _ in self._members():
                names[name] = None
        except DAMAGED:
            names[self.name] = None
        skipped = written | self.written
        missing = [name for name in names if name not in skipped and self._includes(name)]
        return [Shard(self.address, only=frozenset(p)) for p in _pieces(missing, n_most)]

    def _includes(self, name: str) -> bool:
        return self.only is None or name in self.only

    def _members(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        """Yield name, size in bytes, and content of each clip."""
        system, path = reach(self.address)
        with system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                content = tar.extractfile(member) if _is_clip(member.name) else None
                if content is not None:
                    yield name_of(self.address + MEMBER + member.name), member.size, content


Source = Files | Shard
"""Clips of one task."""


def list_clips(address: str) -> tuple[list[str], list[str]]:
    """List the recordings and tars at an address.

    Args:
        address: A folder, searched recursively; a glob; a tar; or a recording. On disk, or an
            address that fsspec supports, such as `s3://bucket/folder`.

    Returns:
        Sorted addresses of clips, and of shards. In a folder, those with the suffix of a recording
        or a tar; with a glob, all files that it matches.

    Raises:
        ScoreError: The address cannot be reached, or contains no clips.
    """
    system, path = reach(address)
    try:
        if system.isdir(path):
            found = [name for name in system.find(path) if _is_clip(name) or _is_shard(name)]
        elif system.exists(path):
            found = [path]
        elif glob.has_magic(path):
            matches = system.glob(path, detail=True)
            found = [name for name, info in matches.items() if info["type"] == "file"]
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
    found = sorted({_full_address(system, name, address) for name in found})
    shards = [name for name in found if _is_shard(name)]
    return [name for name in found if not _is_shard(name)], shards


def reach(address: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path there.

    Raises:
        ScoreError: fsspec does not support it, or a package for it is missing.
    """
    if "://" not in address:  # a file name may contain `::`, which fsspec would split
        return LocalFileSystem(), str(Path(address).absolute())
    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ScoreError(
            f"{address} cannot be reached: {error}. Install what fsspec names, or use a "
            "folder on this machine."
        ) from error
    return system, path


def name_of(address: str) -> str:
    """Return an address as valid UTF-8, with invalid bytes written in hexadecimal."""
    return os.fsencode(address).decode("utf-8", errors="backslashreplace")


def _full_address(system: Any, path: str, address: str) -> str:
    """Return the address of a file that was found under `address`."""
    if isinstance(system, LocalFileSystem):
        return path
    full = str(system.unstrip_protocol(path))
    inner, _, outer = address.partition(MEMBER)  # zip://clips::file.zip
    return f"{full}{MEMBER}{outer}" if outer and "://" in inner else full


def _is_clip(name: str) -> bool:
    return name.lower().endswith(AUDIO_SUFFIXES)


def _is_shard(name: str) -> bool:
    return name.lower().endswith(TAR_SUFFIXES)


def _pieces(names: list[str], n_most: int) -> Iterator[tuple[str, ...]]:
    return (tuple(names[start : start + n_most]) for start in range(0, len(names), n_most))


def _fetch(system: Any, path: str, target: Path, max_bytes: int) -> None:
    """Copy a remote file to this machine, retrying after temporary errors."""
    for n_try in range(1, FETCH_TRIES + 1):
        try:
            size = system.size(path)
            if size is None or size <= max_bytes:
                target.write_bytes(system.cat_file(path))
                return
        except (FileNotFoundError, PermissionError) as error:
            raise AudioError(
                f"{Path(path).name} does not exist or may not be read: {error}."
            ) from error
        except Exception as error:  # each file system raises its own errors
            if n_try == FETCH_TRIES:
                raise ScoreError(_unreachable(path, error)) from error
            time.sleep(FETCH_PAUSE_S * n_try)
        else:
            raise AudioError(_too_large(path, size, max_bytes))


def _too_large(name: str, n_bytes: int, max_bytes: int) -> str:
    return (
        f"{Path(name).name} has {n_bytes:,} bytes; at most {max_bytes:,} are accepted. "
        "Cut it shorter, or export it as FLAC or MP3."
    )


def _unreachable(name: str, error: Exception) -> str:
    return f"{Path(name).name} cannot be fetched now: {error}. Start the command again later."
