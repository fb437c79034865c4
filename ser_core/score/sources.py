"""Clips of one task, brought to this machine: files of their own, or members of a tar."""

import glob
import os
import tarfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ser_core.errors import AudioError, SerError

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


FETCHED = "fetched.clip"
"""What a fetched clip is called here; messages on it are told under its own name."""
FETCH_TRIES = 3
FETCH_PAUSE_S = 1.0
DAMAGED = (tarfile.TarError, zlib.error, EOFError)
"""What reading a shard raises where it is cut off or spoilt; all else may pass."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip at hand.

    Attributes:
        name: Its address, and behind `::` its name in the shard; what rows call it.
        path: Where it lies on this machine, until the next clip is asked for.
        error: Why it cannot be judged.
        is_retryable: Whether it, or what follows it in a shard, could not be had this time;
            another run may have it.
    """

    name: str
    path: Path
    error: str = ""
    is_retryable: bool = False


class Source(Protocol):
    """Some clips that belong together."""

    def clips(self, folder: Path, max_bytes: int) -> Iterator[Clip]:
        """Bring the clips to this machine, one after another.

        Args:
            folder: For those that do not lie on this machine.
            max_bytes: Larger ones are refused unread.
        """

    def left(self, written: frozenset[str], n_most: int) -> "list[Source]":
        """What is not written yet, in pieces of at most so many clips.

        Args:
            written: Names of clips.
            n_most: Clips a piece.
        """

    def names(self) -> tuple[str, ...]:
        """The names of the clips, where they are known; else the one of the shard."""


@dataclass(frozen=True, slots=True)
class Files:
    """Clips that are files of their own.

    Attributes:
        addresses: Paths, or addresses that fsspec knows.
    """

    addresses: tuple[str, ...]

    def clips(self, folder: Path, max_bytes: int) -> Iterator[Clip]:
        """See `Source.clips`."""
        target = folder / FETCHED
        for address in self.addresses:
            system, path = reach(address)
            if isinstance(system, LocalFileSystem):
                yield Clip(name_of(address), Path(path))
                continue
            try:
                _fetch(system, path, target, max_bytes)
            except AudioError as error:
                yield Clip(name_of(address), target, str(error))
            except ScoreError as error:
                yield Clip(name_of(address), target, str(error), is_retryable=True)
            else:
                yield Clip(name_of(address), target)

    def left(self, written: frozenset[str], n_most: int) -> list[Source]:
        """See `Source.left`."""
        missing = [address for address in self.addresses if name_of(address) not in written]
        starts = range(0, len(missing), n_most)
        return [Files(tuple(missing[start : start + n_most])) for start in starts]

    def names(self) -> tuple[str, ...]:
        """See `Source.names`."""
        return tuple(map(name_of, self.addresses))


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar of clips, as WebDataset lays them out; read once from beginning to end.

    Attributes:
        address: A path, or an address that fsspec knows.
        only: Names of the clips that are wanted; None for all.
        written: Names of clips that are passed over.
    """

    address: str
    only: frozenset[str] | None = None
    written: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """What rows and records call it."""
        return name_of(self.address)

    def clips(self, folder: Path, max_bytes: int) -> Iterator[Clip]:
        """See `Source.clips`. What cannot be read is a clip of the shard's name, with an error."""
        target, seen, whole = folder / FETCHED, set(self.written), self.name
        for n_try in range(1, FETCH_TRIES + 1):
            try:
                for name, size, content in self._members():
                    if name in seen or not self._wants(name):
                        continue
                    error = _too_large(name, size, max_bytes) if size > max_bytes else ""
                    target.write_bytes(b"" if error else content.read())
                    seen.add(name)
                    yield Clip(name, target, error)
                return
            except DAMAGED as damage:
                if whole not in seen and self._wants(whole):
                    reason = f"{Path(whole).name} is damaged or cut off ({damage}). Fetch it again."
                    yield Clip(whole, target, reason)
                return
            except Exception as failure:  # file systems raise errors of their own
                if n_try == FETCH_TRIES:
                    yield Clip(whole, target, _unreached(whole, failure), is_retryable=True)
                time.sleep(FETCH_PAUSE_S * n_try)

    def left(self, written: frozenset[str], n_most: int) -> list[Source]:
        """See `Source.left`; this reads the shard's list of members."""
        names: dict[str, None] = {}  # in order, each once
        try:
            for name, _, _ in self._members():
                names[name] = None
        except DAMAGED:
            names[self.name] = None
        done = written | self.written
        missing = [name for name in names if name not in done and self._wants(name)]
        starts = range(0, len(missing), n_most)
        return [
            Shard(self.address, only=frozenset(missing[start : start + n_most])) for start in starts
        ]

    def names(self) -> tuple[str, ...]:
        """See `Source.names`."""
        return (self.name,) if self.only is None else tuple(sorted(self.only))

    def _wants(self, name: str) -> bool:
        return self.only is None or name in self.only

    def _members(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        """Name, bytes and content of each clip."""
        system, path = reach(self.address)
        with system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                content = tar.extractfile(member) if is_clip(member.name) else None
                if content is not None:
                    yield name_of(self.address + INSIDE + member.name), member.size, content


def _too_large(name: str, n_bytes: int, max_bytes: int) -> str:
    return (
        f"{Path(name).name} has {n_bytes:,} bytes; at most {max_bytes:,} are accepted. "
        "Cut it shorter, or export it as FLAC or MP3."
    )


def _fetch(system: Any, path: str, target: Path, max_bytes: int) -> None:
    """Copy a file from elsewhere to this machine; what fails for a moment is tried again."""
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
        except Exception as error:  # file systems raise errors of their own
            if n_try == FETCH_TRIES:
                raise ScoreError(_unreached(path, error)) from error
            time.sleep(FETCH_PAUSE_S * n_try)
        else:
            raise AudioError(_too_large(path, size, max_bytes))


def _unreached(name: str, error: Exception) -> str:
    return f"{Path(name).name} cannot be fetched now: {error}. Start the command again later."
