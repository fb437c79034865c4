"""The clips of an archive, listed and copied to this machine: single files, or members of tars."""

import os
import re
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from ser_core.corpora import AUDIO_SUFFIXES
from ser_core.errors import AudioError, SerError
from ser_core.model.manifest import sha256_of
from ser_core.names import name_of
from ser_core.segment_formats import FORMATS
from ser_core.zips import is_clutter

TAR_SUFFIXES = (
    ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst",
)  # fmt: skip
SIDE_FILES = "side files (._*, __MACOSX)"
LINKED_FOLDERS = "links to folders"
UNREADABLE_FOLDERS = "folders that cannot be listed"
LINKS_IN_TARS = "links in tars"
DEVICES = "devices and pipes"
REPEATED = "members of a repeated name"
"""Reasons why files and members are passed by; the others are suffixes."""
SIDECAR_SUFFIXES = tuple(FORMATS[name].suffix for name in ("textgrid", "eaf", "rttm", "vtt", "srt"))
"""Suffixes of files of segments beside a recording; the first one counts."""
SIDECAR_MARK = "segments:"
"""Stands before the SHA-256 of a file of segments, behind that of its recording."""
MAGIC = re.compile(r"[*?[]")
"""Characters of a glob."""
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

    def clips(self, folder: Path, max_bytes: int, _skipped: Counter[str]) -> Iterator[Clip]:
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

    def remaining(self, written: Container[str], n_most: int) -> "list[Files]":
        """Return the clips that are not in `written`, in pieces of at most `n_most`."""
        missing = [address for address in self.addresses if name_of(address) not in written]
        return [Files(piece) for piece in pieces(missing, n_most)]


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

    def clips(self, folder: Path, max_bytes: int, skipped: Counter[str]) -> Iterator[Clip]:
        """Yield the clips, extracted to `folder`; larger ones are rejected unread.

        Where the rest cannot be read, the last clip has the shard's name and an error. Members
        that are no clips are counted in `skipped`, by reason.
        """
        target, seen = folder / FETCHED, set(self.written)
        for n_try in range(1, FETCH_TRIES + 1):
            passed_by: Counter[str] = Counter()
            try:
                for name, size, content in self._members(passed_by):
                    if name in seen or not self._includes(name):
                        continue
                    error = _too_large(name, size, max_bytes) if size > max_bytes else ""
                    target.write_bytes(b"" if error else content.read())
                    seen.add(name)
                    yield Clip(name, target, error)
                skipped.update(passed_by)
                return
            except DAMAGED as damage:
                skipped.update(passed_by)
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

    def remaining(self, written: Container[str], n_most: int) -> "list[Shard]":
        """Return the clips that are not in `written`, in pieces; this reads the shard's index."""
        names: dict[str, None] = {}  # an ordered set
        try:
            for name, _, _ in self._members(Counter()):
                names[name] = None
        except DAMAGED:
            names[self.name] = None
        missing = [
            name
            for name in names
            if name not in written and name not in self.written and self._includes(name)
        ]
        return [Shard(self.address, only=frozenset(piece)) for piece in pieces(missing, n_most)]

    def _includes(self, name: str) -> bool:
        return self.only is None or name in self.only

    def _members(self, skipped: Counter[str]) -> Iterator[tuple[str, int, IO[bytes]]]:
        """Yield name, size in bytes, and content of each clip; count the other members."""
        system, path = reach(self.address)
        names = set()
        with system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                if member.isdir():
                    continue
                if reason := _why_no_clip(member) or (member.name in names and REPEATED):
                    skipped[reason] += 1
                elif (content := tar.extractfile(member)) is not None:
                    names.add(member.name)
                    yield name_of(self.address + MEMBER + member.name), member.size, content


Source = Files | Shard
"""Clips of one task."""


def list_clips(
    address: str, skipped: Counter[str], *, with_sidecars: bool = False
) -> Iterator[str]:
    """Yield the addresses of the recordings and tars at an address while they are listed.

    In a folder, those with the suffix of a recording or a tar; with a glob, all files that it
    matches. Files and folders are held for one folder at a time, and of a folder on disk, only
    its folders.

    Args:
        address: A folder, searched recursively; a glob; a tar; or a recording. On disk, or an
            address that fsspec supports, such as `s3://bucket/folder`.
        skipped: Gets the number of files passed by, and of folders that cannot be listed.
        with_sidecars: Whether files of segments beside recordings are used; then they are neither
            clips nor passed by.

    Raises:
        ScoreError: The address cannot be reached, or contains no clips.
    """
    system, path = reach(address)
    is_local, is_empty = isinstance(system, LocalFileSystem), True
    try:
        by_suffix = system.isdir(path)
        for name, info in _list_files(system, path, address, skipped):
            if with_sidecars and is_local and _is_sidecar(Path(name)):
                continue
            if reason := _why_skipped(name, info, name.removeprefix(path), by_suffix=by_suffix):
                skipped[reason] += 1
            else:
                is_empty = False
                yield _full_address(system, name, address)
    except ScoreError:
        raise
    except Exception as error:  # each file system raises its own errors
        raise ScoreError(
            f"{address} cannot be listed: {error}. Check the address, and for a store the "
            "credentials."
        ) from error
    if is_empty:
        raise ScoreError(
            f"{address} contains nothing to analyse: no {', '.join(sorted(AUDIO_SUFFIXES))} or "
            f"tar{describe_skipped(skipped, ', but ')}. Name another folder or glob."
        )


def is_shard(address: str) -> bool:
    """Return whether an address is that of a tar, by its suffix."""
    return address.lower().endswith(TAR_SUFFIXES)


def pieces(names: Iterable[str], n_most: int) -> Iterator[tuple[str, ...]]:
    """Yield names in pieces of `n_most`, which are taken as they are asked for."""
    names = iter(names)
    while piece := tuple(islice(names, n_most)):
        yield piece


def root_of(address: str) -> str:
    """Return what the names of all clips at an address start with: that of its folder."""
    system, path = reach(address)
    if (magic := MAGIC.search(path)) and not system.exists(path):
        path = path[: magic.start()]
    elif system.isdir(path):
        path = f"{path.rstrip('/')}/"
    path = path[: path.rfind("/") + 1]
    return name_of(_full_address(system, path, address))


def describe_skipped(skipped: Mapping[str, int], before: str = "") -> str:
    """Return numbers and reasons of what was passed by, after some text; empty for none."""
    parts = [f"{n:,} {reason}" for reason, n in sorted(skipped.items())]
    return f"{before}{', '.join(parts)}" if parts else ""


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


def stamp_of(address: str) -> str:
    """Return size and time of a file, or its store's tag; empty where they cannot be had."""
    try:
        system, path = reach(address)
        info = system.info(path)
    except Exception:  # each file system raises its own errors
        return ""
    marks = (info.get(key) for key in ("ETag", "etag", "CRC", "mtime", "LastModified", "created"))
    return f"{info.get('size')} {next(filter(None, marks), '')}".replace(" ", "_")


def digest_of(address: str) -> str:
    """Return the SHA-256 of a file on this machine; empty elsewhere, where it would be fetched."""
    system, path = reach(address)
    with suppress(OSError):
        if isinstance(system, LocalFileSystem) and Path(path).is_file():
            return sha256_of(Path(path))
    return ""


def find_sidecar(recording: Path) -> Path | None:
    """Return the file of segments beside a recording; None where there is none."""
    return next(filter(Path.is_file, map(recording.with_suffix, SIDECAR_SUFFIXES)), None)


def sidecar_mark(address: str) -> str:
    """Return `SIDECAR_MARK` and SHA-256 of the segments beside a recording; empty for none."""
    system, path = reach(address)
    is_local = isinstance(system, LocalFileSystem)
    sidecar = find_sidecar(Path(path)) if is_local else None
    return f"{SIDECAR_MARK}{digest_of(str(sidecar))}" if sidecar else ""


def _is_sidecar(path: Path) -> bool:
    """Return whether a file has the segments of a recording beside it."""
    is_used = path.suffix in SIDECAR_SUFFIXES and find_sidecar(path) == path
    return is_used and any(
        path.with_suffix(form).is_file()
        for suffix in AUDIO_SUFFIXES
        for form in (suffix, suffix.upper())
    )


Entry = tuple[str, Mapping[str, Any]]
"""Path and fsspec's info of a file."""


def _list_files(system: Any, path: str, address: str, skipped: Counter[str]) -> Iterator[Entry]:
    """Yield the files below a folder, those that match a glob, or the one of this path."""
    if system.isdir(path):
        yield from _walk(system, path, None, skipped)
    elif system.exists(path):
        yield path, system.info(path)
    elif magic := MAGIC.search(path):
        root = path[: path.rfind("/", 0, magic.start()) + 1]
        depth = None if "**" in path else path.count("/", len(root)) + 1
        matches = re.compile(glob_translate(path)).match
        yield from (entry for entry in _walk(system, root, depth, skipped) if matches(entry[0]))
    else:
        raise ScoreError(f"{address} does not exist. Name a folder, a glob, a tar or a recording.")


def _walk(system: Any, root: str, depth: int | None, skipped: Counter[str]) -> Iterator[Entry]:
    """Yield the files below a folder, at most `depth` levels down; no links are followed.

    fsspec's own `walk` passes by folders that cannot be listed, without a word.
    """
    folders = [(root, 1)]
    while folders:
        folder, level = folders.pop()
        try:
            for info in _list_folder(system, folder):
                name = info["name"]
                if name.rstrip("/") == folder.rstrip("/"):
                    continue  # S3 lists a folder in itself where there is a marker for it
                if info["type"] != "directory":
                    yield name, info
                elif depth is None or level < depth:
                    folders.append((name, level + 1))
        except Exception:  # each file system raises its own errors
            skipped[UNREADABLE_FOLDERS] += 1


def _list_folder(system: Any, folder: str) -> Iterator[Mapping[str, Any]]:
    """Yield fsspec's info of the files and folders in a folder."""
    if not isinstance(system, LocalFileSystem):
        yield from system.ls(folder, detail=True)
        system.invalidate_cache(folder)  # else the names of all folders are kept
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # removed since
                yield system.info(entry)


def _full_address(system: Any, path: str, address: str) -> str:
    """Return the address of a file that was found under `address`."""
    if isinstance(system, LocalFileSystem):
        return path
    full = str(system.unstrip_protocol(path))
    inner, _, outer = address.partition(MEMBER)  # zip://clips::file.zip
    return f"{full}{MEMBER}{outer}" if outer and "://" in inner else full


def _why_skipped(name: str, info: Mapping[str, Any], below: str, *, by_suffix: bool) -> str:
    """Return why a file is passed by; `below` is its path under the folder that was searched."""
    if is_clutter(below):
        return SIDE_FILES
    if info["type"] == "other" and os.path.exists(name):  # noqa: PTH110  # a missing one is a row
        if os.path.isdir(name):  # noqa: PTH112
            return LINKED_FOLDERS
        if not os.path.isfile(name):  # noqa: PTH113
            return DEVICES
    return "" if not by_suffix or _is_clip(name) or is_shard(name) else _suffix_of(name)


def _why_no_clip(member: tarfile.TarInfo) -> str:
    if is_clutter(member.name):
        return SIDE_FILES
    if not member.isreg():
        return LINKS_IN_TARS if member.issym() or member.islnk() else DEVICES
    return "" if _is_clip(member.name) else _suffix_of(member.name)


def _suffix_of(name: str) -> str:
    return name_of(PurePosixPath(name).suffix.lower()) or "without a suffix"


def _is_clip(name: str) -> bool:
    return name.lower().endswith(tuple(AUDIO_SUFFIXES))


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
