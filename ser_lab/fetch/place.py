"""A corpus into the data folder: gathered beside its place, and moved there in one step."""

import shutil
import stat
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import requests
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)

from ser_core.corpora import CORPORA, Corpus
from ser_core.errors import CorpusError
from ser_core.zips import UNREADABLE, is_clutter
from ser_lab.fetch.sources import Source
from ser_lab.fetch.transfer import Remote, check_space, fetch_file, matches, open_session


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip under its members' own names.

    Args:
        archive: The zip.
        folder: Where its members go; made if need be.

    Raises:
        CorpusError: It is no zip or a damaged one, a member leads out of the folder or is a
            link, or the disk has no room. What was unpacked by then stays in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not is_clutter(member)]
            for member in members:
                _check_member(member, archive)
            check_space(folder, sum(member.file_size for member in members))
            for member in track(members, f"Unpacking {archive.name}"):
                opened.extract(member, folder)
    except UNREADABLE as error:
        raise CorpusError(f"{archive} cannot be unpacked: {error}. Download it again.") from error


def _check_member(member: zipfile.ZipInfo, archive: Path) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    outside = name.is_absolute() or ".." in name.parts or ":" in member.filename.partition("/")[0]
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise CorpusError(
            f"{archive} contains {member.filename!r}, which leads out of the folder that it is "
            "unpacked into. Nothing was unpacked; download the corpus from its publisher."
        )


STUB_BYTES = 200
"""Files smaller than this hold no sound: empty ones, and pointers of Git LFS."""


@dataclass(frozen=True, slots=True)
class CorpusState:
    """How much of a corpus a data folder holds.

    Attributes:
        corpus: Which.
        n_clips: Files named as its clips, each name counted once.
        n_stubs: How many of them are too small to hold sound.
    """

    corpus: Corpus
    n_clips: int
    n_stubs: int

    @property
    def whole(self) -> bool:
        """Whether every clip of the publisher's is there, and none is a stub."""
        return self.n_clips >= self.corpus.n_clips and not self.n_stubs

    def tell(self) -> str:
        """The same in words, with what to do."""
        if not self.n_clips:
            return "not found"
        if self.n_stubs:
            return f"{self.n_stubs:,} without audio: empty, or Git LFS pointers (run git lfs pull)"
        missing = self.corpus.n_clips - self.n_clips
        return "complete" if missing <= 0 else f"{missing:,} missing"


def check_corpora(data: Path, names: Sequence[str] = ()) -> list[CorpusState]:
    """Count the clips of corpora.

    Args:
        data: Folder that holds a folder for each corpus.
        names: Names of corpora; all where empty.

    Raises:
        CorpusError: A name is unknown.
    """
    if unknown := [name for name in names if name not in CORPORA]:
        raise CorpusError(f"{unknown[0]!r} is not a corpus; known: {', '.join(CORPORA)}.")
    return [check_corpus(CORPORA[name], data) for name in names or CORPORA]


def check_corpus(corpus: Corpus, data: Path) -> CorpusState:
    """Count the clips of one corpus; see `check_corpora`."""
    files = corpus.find_files(data).values()
    n_stubs = sum(path.stat().st_size < STUB_BYTES for path in files)
    return CorpusState(corpus, len(files), n_stubs)


N_CONNECTIONS = 8
"""Transfers at a time, where a corpus is published clip by clip."""


def fetch_corpus(source: Source, data: Path) -> CorpusState:
    """Fetch a corpus from its publisher; one that is there whole is left alone.

    Args:
        source: How it is had.
        data: Folder that holds a folder for each corpus; made if need be.

    Returns:
        What is there now.

    Raises:
        CorpusError: It is given out on request only; a part of it is there already; a file
            cannot be had, is not what it should be or has no room. What has come stays in
            `.FOLDER.partial`, which no loader reads, and is used next time.
    """
    corpus = source.corpus
    if (state := check_corpus(corpus, data)).whole:
        return state
    if source.list_files is None:
        raise CorpusError(
            f"{corpus.name} is available on request only. Ask for it at {corpus.source}, and put "
            f'what you receive into place with "data place {corpus.name} PATH".'
        )
    _refuse_if_taken(source, data)
    arrived, gathered = (_partial(source, data) / name for name in ("arrived", "gathered"))
    with open_session(N_CONNECTIONS) as session:
        remotes = source.list_files(session)
        if not remotes:
            raise CorpusError(f"{corpus.source} lists no file of {corpus.name}. Try again later.")
        for folder in (arrived, gathered):
            folder.mkdir(parents=True, exist_ok=True)
        missing = [r for r in remotes if not _is_there(r, gathered)]
        _fetch_all(missing, arrived, session, about_bytes=source.about_bytes)
    for remote in missing:
        _take_over(remote, arrived / remote.name, gathered)
    return _settle(source, gathered, data)


def place_corpus(source: Source, path: Path, data: Path) -> CorpusState:
    """Put into place what somebody fetched himself.

    Args:
        source: Which corpus it is.
        path: A zip or a folder, as the publisher gives it out.
        data: Folder that holds a folder for each corpus; made if need be.

    Returns:
        What is there now.

    Raises:
        CorpusError: The corpus is there already; the path is neither a zip nor a folder, or
            holds no clip of the corpus; or the disk has no room.
    """
    _refuse_if_taken(source, data)
    gathered = _partial(source, data) / "gathered"
    if gathered.exists():
        shutil.rmtree(gathered)
    gathered.mkdir(parents=True)
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if file.is_file()]
        check_space(gathered, sum(file.stat().st_size for file in files))
        for file in track(files, f"Copying {path.name}"):
            target = gathered / path.name / file.relative_to(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    elif path.is_file():
        unpack(path, gathered)
    else:
        raise CorpusError(f"{path} does not exist. Name a zip or a folder with the corpus.")
    return _settle(source, gathered, data)


def _is_there(remote: Remote, gathered: Path) -> bool:
    path = gathered / remote.name
    return path.is_file() and matches(path, remote.checksum)


def _take_over(remote: Remote, path: Path, gathered: Path) -> None:
    """Unpack what arrived, or move it; a damaged archive without a checksum is not kept."""
    if path.suffix != ".zip":
        target = gathered / remote.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return
    try:
        unpack(path, gathered)
    except CorpusError:
        if not remote.checksum:
            path.unlink()
        raise


def _partial(source: Source, data: Path) -> Path:
    """Where a corpus is gathered: on the disk of its place, under a name that nobody reads."""
    return data / f".{source.folder}.partial"


def _refuse_if_taken(source: Source, data: Path) -> None:
    corpus, target = source.corpus, data / source.folder
    state = check_corpus(corpus, data)
    if state.n_clips or (target.is_dir() and any(target.iterdir())):
        raise CorpusError(
            f"{data} holds {state.n_clips:,} of the {corpus.n_clips:,} clips of {corpus.name} "
            f"already, or something else in {target}. Move that away, or name another folder "
            "with --data."
        )


def _settle(source: Source, gathered: Path, data: Path) -> CorpusState:
    """Move what was gathered into its place, if it holds clips of the corpus."""
    here = replace(source.corpus, folders=("",))
    if not here.find_files(gathered):
        shutil.rmtree(gathered)
        raise CorpusError(
            f"No file in it is named like a clip of {source.corpus.name}. Download the corpus from "
            f"{source.corpus.source} and keep its file names."
        )
    target = data / source.folder
    gathered.replace(target)
    shutil.rmtree(_partial(source, data))
    return check_corpus(source.corpus, data)


def _fetch_all(
    remotes: Sequence[Remote], folder: Path, session: requests.Session, *, about_bytes: int
) -> None:
    if not remotes:
        return
    if len(remotes) == 1:
        _fetch_one(remotes[0], folder, session)
        return
    absent = [remote for remote in remotes if not (folder / remote.name).exists()]
    told = sum(remote.n_bytes for remote in absent)
    check_space(folder, told or about_bytes * len(absent) // len(remotes))
    with ThreadPoolExecutor(N_CONNECTIONS) as pool:
        jobs = [pool.submit(fetch_file, r, folder, session, advance=_nobody) for r in remotes]
        try:
            for job in track(as_completed(jobs), "Fetching files", total=len(jobs)):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_one(remote: Remote, folder: Path, session: requests.Session) -> None:
    columns = (
        TextColumn("Fetching {task.description}"), BarColumn(), DownloadColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns) as progress:
        task = progress.add_task(remote.name, total=None)
        fetch_file(
            remote,
            folder,
            session,
            advance=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _nobody(_done: int, _total: int | None) -> None:
    """Progress that is told file by file, not byte by byte."""
