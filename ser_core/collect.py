"""What a batch is made of: files as they are, and the members of zip archives, unpacked warily."""

import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from ser_core.corpora import read_emotion
from ser_core.errors import SerError
from ser_core.zips import UNREADABLE, is_clutter

MAX_FILES = 200
MAX_UNPACKED_BYTES = 500_000_000
"""Bytes of all members of all archives together."""
MAX_NAME = 120
"""Characters of a name that are shown."""
BLOCK_BYTES = 1 << 20


class BatchError(SerError):
    """A batch is larger than allowed, or holds nothing to judge."""


@dataclass(frozen=True, slots=True)
class BatchFile:
    """One file to be judged.

    Attributes:
        name: What the visitor calls it, fit to be shown.
        path: Where it lies; None for one that could not be had.
        error: Why it could not be had.
        actual: The emotion that its name tells, where that follows a corpus.
    """

    name: str
    path: Path | None
    error: str = ""
    actual: str | None = None


def collect_files(paths: Sequence[Path], folder: Path) -> list[BatchFile]:
    """List what is to be judged, zip archives taken apart.

    Members are written under numbers, never under their own names, so that no name can
    lead out of the folder; what an archive says about sizes is not believed, the bytes are
    counted while they are written.

    Args:
        paths: Recordings and zip archives.
        folder: An empty folder for the members, which the caller deletes.

    Raises:
        BatchError: There are no files or too many, or archives hold too much.
    """
    files: list[BatchFile] = []
    budget = MAX_UNPACKED_BYTES
    for path in paths:
        if zipfile.is_zipfile(path):
            for file, n_bytes in _unpack(path, folder, len(files), budget):
                files.append(file)
                budget -= n_bytes
                _check_count(files)
        else:
            files.append(_file(path.name, path))
            _check_count(files)
    if not files:
        raise BatchError(
            "There is nothing to analyse. Add recordings, or a zip that contains some."
        )
    return files


def shown_name(name: str) -> str:
    """A file's name without folders, control and direction marks, at most `MAX_NAME` long."""
    last = PurePosixPath(name.replace("\\", "/")).name
    kept = "".join(c for c in last if unicodedata.category(c)[0] != "C").strip()
    return kept[:MAX_NAME] or "unnamed"


def _file(name: str, path: Path | None, error: str = "") -> BatchFile:
    """A file under the name that a visitor or an archive gives it."""
    actual = read_emotion(Path(name.replace("\\", "/")))
    return BatchFile(shown_name(name), path, error, actual)


def _check_count(files: Sequence[BatchFile]) -> None:
    if len(files) > MAX_FILES:
        raise BatchError(
            f"There are more than {MAX_FILES} files, the maximum at a time. Upload fewer."
        )


def _unpack(
    archive: Path, folder: Path, first: int, budget: int
) -> Iterator[tuple[BatchFile, int]]:
    """The members of an archive, and how many bytes each took."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [m for m in opened.infolist() if not m.is_dir() and not is_clutter(m)]
            for i, member in enumerate(members, first):
                name, target = shown_name(member.filename), folder / f"{i:04d}"
                try:
                    with opened.open(member) as source:
                        n_bytes = _write(source, target, budget, archive.name)
                except UNREADABLE as error:
                    target.unlink(missing_ok=True)
                    reason = f"{name} cannot be unpacked: {error}."
                    yield _file(member.filename, None, reason), 0
                    continue
                budget -= n_bytes
                yield _file(member.filename, target), n_bytes
    except zipfile.BadZipFile as error:
        name = shown_name(archive.name)
        yield BatchFile(name, None, f"{name} is a damaged zip: {error}. Create it again."), 0


def _write(source: IO[bytes], target: Path, budget: int, archive: str) -> int:
    n_bytes = 0
    with target.open("xb") as sink:
        while block := source.read(BLOCK_BYTES):
            n_bytes += len(block)
            if n_bytes > budget:
                raise BatchError(
                    f"{shown_name(archive)} is larger than {MAX_UNPACKED_BYTES // 1_000_000} MB "
                    "when unpacked. Split it into smaller archives."
                )
            sink.write(block)
    return n_bytes
