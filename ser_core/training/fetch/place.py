"""A corpus into the data folder: gathered beside its place, and moved there in one step."""

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import requests
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)

from ser_core.errors import CorpusError
from ser_core.training.fetch.archive import unpack
from ser_core.training.fetch.check import CorpusState, check_corpus
from ser_core.training.fetch.checksum import matches
from ser_core.training.fetch.network import open_session
from ser_core.training.fetch.sources import Source
from ser_core.training.fetch.transfer import Remote, check_space, fetch_file

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
