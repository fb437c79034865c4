"""Install corpora in the data folder, complete and in one step, and count what is there."""

import shutil
import stat
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from errno import EDQUOT, EFBIG, ENOSPC
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

from ser_core.corpora import Corpus
from ser_core.errors import CorpusError
from ser_core.paths import check_output, holds_only, writing
from ser_core.zips import UNREADABLE, is_clutter
from ser_lab.fetch.sources import SOURCES, Source, find_source
from ser_lab.fetch.transfer import (
    N_CONNECTIONS,
    Remote,
    check_space,
    fetch_file,
    matches,
    open_session,
)

STUB_BYTES = 200
"""Smaller files hold no audio: empty ones, and pointers of Git LFS."""


@dataclass(frozen=True, slots=True)
class CorpusState:
    """Completeness of a corpus in a data folder.

    Attributes:
        corpus: The corpus.
        n_clips: Files named as its clips, each name counted once.
        n_stubs: How many of them are too small to hold audio.
    """

    corpus: Corpus
    n_clips: int
    n_stubs: int

    @property
    def whole(self) -> bool:
        """Whether every published clip is there, and none is a stub."""
        return self.n_clips >= self.corpus.n_clips and not self.n_stubs

    @property
    def text(self) -> str:
        """The state in words, with what to do."""
        if not self.n_clips:
            return "not found"
        if self.n_stubs:
            return f"{self.n_stubs:,} without audio: empty, or Git LFS pointers (run git lfs pull)"
        missing = self.corpus.n_clips - self.n_clips
        return "complete" if missing <= 0 else f"{missing:,} missing"


def check_corpora(data: Path, names: Sequence[str] = ()) -> list[CorpusState]:
    """Count the clips of corpora.

    Args:
        data: Folder with one folder per corpus.
        names: Names of corpora; all where empty.

    Raises:
        CorpusError: A name is unknown.
    """
    return [_check(find_source(name).corpus, data) for name in names or SOURCES]


def fetch_corpus(source: Source, data: Path) -> CorpusState:
    """Download a corpus from its publisher, unless it is there and complete.

    Args:
        source: Where it comes from.
        data: Folder with one folder per corpus; created if missing.

    Returns:
        What is there afterwards.

    Raises:
        CorpusError: The corpus is available on request only; a part of it is there already; a
            file cannot be downloaded, does not match its checksum or does not fit. What was
            received stays in `.FOLDER.partial`, which no loader reads, and is used next time.
    """
    corpus = source.corpus
    if (state := _check(corpus, data)).whole:
        shutil.rmtree(_partial(source, data), ignore_errors=True)  # of a run killed at its end
        return state
    if source.list_files is None:
        raise CorpusError(
            f"{corpus.name} is available on request only. Ask for it at {corpus.source}, and put "
            f'what you receive into place with "data place {corpus.name} PATH".'
        )
    _check_free(source, data)
    arrived, gathered = (_partial(source, data) / name for name in ("arrived", "gathered"))
    with open_session() as session, writing(data):
        remotes = source.list_files(session)
        if not remotes:
            raise CorpusError(f"{corpus.source} lists no file of {corpus.name}. Try again later.")
        for folder in (arrived, gathered):
            folder.mkdir(parents=True, exist_ok=True)
        missing = [r for r in remotes if not _is_gathered(r, gathered)]
        _fetch_all(missing, arrived, session, about_bytes=source.about_bytes)
        for remote in missing:
            _gather(remote, arrived / remote.name, gathered)
        return _install(source, gathered, data)


def place_corpus(source: Source, path: Path, data: Path) -> CorpusState:
    """Install a corpus that was downloaded by hand.

    Args:
        source: Which corpus it is.
        path: A zip or a folder, as the publisher distributes it.
        data: Folder with one folder per corpus; created if missing.

    Returns:
        What is there afterwards.

    Raises:
        OutputError: The folder of the corpus contains something else, or cannot be written.
        CorpusError: The corpus is there already; the path is neither a zip nor a folder, or
            holds no clip of the corpus; or the disk has no room.
    """
    _check_free(source, data)
    partial = _partial(source, data)
    if path.resolve().is_relative_to(partial.resolve()):
        raise CorpusError(f"{path} is where the corpus is gathered. Move it out of {partial}.")
    with writing(data):
        return _install(source, _copy(path, partial / "gathered"), data)


def _copy(path: Path, gathered: Path) -> Path:
    """Copy or unpack a corpus to a new folder, and return that."""
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
        _unpack(path, gathered)
    else:
        raise CorpusError(f"{path} does not exist. Name a zip or a folder with the corpus.")
    return gathered


def _check(corpus: Corpus, data: Path) -> CorpusState:
    files = corpus.find_files(data).values()
    n_stubs = sum(path.stat().st_size < STUB_BYTES for path in files)
    return CorpusState(corpus, len(files), n_stubs)


def _partial(source: Source, data: Path) -> Path:
    """Return where a corpus is gathered: on its own disk, under a name that no loader reads."""
    return data / f".{source.folder}.partial"


def _check_free(source: Source, data: Path) -> None:
    corpus, state = source.corpus, _check(source.corpus, data)
    if state.n_clips:
        raise CorpusError(
            f"{data} already contains {state.n_clips:,} of the {corpus.n_clips:,} clips of "
            f"{corpus.name}. Move them away, or name another folder with --data."
        )
    check_output(data / source.folder, lambda folder: holds_only(folder, ()))


def _fetch_all(
    remotes: Sequence[Remote], folder: Path, session: requests.Session, *, about_bytes: int
) -> None:
    """Download one file under a bar of bytes, or many under a bar of files."""
    if len(remotes) == 1:
        columns = (
            TextColumn("Fetching {task.description}"), BarColumn(), DownloadColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns) as progress:
            task = progress.add_task(remotes[0].name, total=None)
            fetch_file(
                remotes[0],
                folder,
                session,
                lambda here, total: progress.update(task, completed=here, total=total),
            )
        return
    absent = [remote for remote in remotes if not (folder / remote.name).exists()]
    listed = sum(remote.n_bytes for remote in absent)
    check_space(folder, listed or about_bytes * len(absent) // max(len(remotes), 1))
    with ThreadPoolExecutor(N_CONNECTIONS) as pool:
        jobs = [pool.submit(fetch_file, remote, folder, session) for remote in remotes]
        try:
            for job in track(as_completed(jobs), "Fetching files", total=len(jobs)):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _is_gathered(remote: Remote, gathered: Path) -> bool:
    path = gathered / remote.name
    return path.is_file() and matches(path, remote.checksum)


def _gather(remote: Remote, path: Path, gathered: Path) -> None:
    """Unpack or move a downloaded file; delete a damaged archive that has no checksum."""
    if path.suffix != ".zip":
        target = gathered / remote.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        return
    try:
        _unpack(path, gathered)
    except CorpusError:
        if not remote.checksum:
            path.unlink()
        raise


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not is_clutter(member.filename)]
            for member in members:
                _check_member(member, archive)
            check_space(folder, sum(member.file_size for member in members))
            for member in track(members, f"Unpacking {archive.name}"):
                opened.extract(member, folder)
    except UNREADABLE as error:
        if getattr(error, "errno", None) in (ENOSPC, EDQUOT, EFBIG):
            raise  # the archive is whole
        raise CorpusError(f"{archive} cannot be unpacked: {error}. Download it again.") from error


def _check_member(member: zipfile.ZipInfo, archive: Path) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    outside = name.is_absolute() or ".." in name.parts or ":" in member.filename.partition("/")[0]
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise CorpusError(
            f"{archive} contains {member.filename!r}, which leads out of the folder that it is "
            "unpacked into. Nothing was unpacked; download the corpus from its publisher."
        )


def _install(source: Source, gathered: Path, data: Path) -> CorpusState:
    """Move the gathered files into the corpus's folder, if they hold clips of it."""
    if not replace(source.corpus, folders=("",)).find_files(gathered):
        shutil.rmtree(gathered)
        raise CorpusError(
            f"No file in it is named like a clip of {source.corpus.name}. Download the corpus from "
            f"{source.corpus.source} and keep its file names."
        )
    gathered.replace(data / source.folder)
    shutil.rmtree(_partial(source, data))
    return _check(source.corpus, data)
