"""One file from the network to the disk: resumed, checked, and there only when it is whole."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pooch
import requests

from ser_core import __version__
from ser_core.errors import CorpusError

GIT_KINDS = ("git:", "lfs:")
_LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


def matches(path: Path, checksum: str) -> bool:
    """Whether a file is what its checksum says; without a checksum every file is.

    Args:
        path: The file.
        checksum: Kind and hexadecimal digits, or nothing.
    """
    kind, _, expected = checksum.partition(":")
    if not kind:
        return True
    with path.open("rb") as file:
        if kind == "git":
            return _git_sha1(file.read()) == expected
        if kind == "lfs":
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            pointer = _LFS_POINTER.format(sha256=sha256, size=path.stat().st_size)
            return _git_sha1(pointer.encode()) == expected
        return hashlib.file_digest(file, kind).hexdigest() == expected


def _git_sha1(content: bytes) -> str:
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


TIMEOUT_S = (10.0, 60.0)
"""For the connection, and for each answer on it."""


def open_session(n_connections: int = 1) -> requests.Session:
    """Open a session that says who asks and keeps its connections.

    Args:
        n_connections: How many transfers run at a time.
    """
    session = requests.Session()
    session.headers["User-Agent"] = f"moodmirror/{__version__}"
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=n_connections)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def read_json(session: requests.Session, url: str) -> Any:
    """Ask for JSON.

    Args:
        session: Who asks.
        url: Whom.

    Raises:
        CorpusError: There is no answer, or another one.
    """
    try:
        response = session.get(url, timeout=TIMEOUT_S)
        if not response.ok:
            raise refusal(url, response)
        return response.json()
    except requests.JSONDecodeError as error:
        raise CorpusError(f"{url} did not answer with JSON. Try again later.") from error
    except requests.RequestException as error:
        raise CorpusError(
            f"{url} cannot be reached ({reason_of(error)}). Check the network and try again."
        ) from error


def refusal(url: str, response: requests.Response) -> CorpusError:
    """An answer that is no success, in words."""
    return CorpusError(
        f"{url} answers {response.status_code} ({response.reason}). The publisher may have moved "
        'it: download the corpus yourself, and install it with "data place".'
    )


def reason_of(error: Exception) -> str:
    """What went wrong, without the names of the libraries that it went through."""
    while isinstance(inner := getattr(error, "reason", None) or (*error.args, None)[0], Exception):
        error = inner
    told = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return (told.strip() or type(error).__name__).splitlines()[0].rpartition(": ")[2]


ATTEMPTS = 5
"""How often in a row a transfer may fail without bringing anything."""
FIRST_PAUSE_S = 1.0
"""Pause after the first failure; it doubles with each more."""
BLOCK_BYTES = 1 << 16
"""So little is lost where a connection breaks."""
SPARE_BYTES = 50_000_000
"""What stays free on the disk."""
BUSY = frozenset({429, 500, 502, 503, 504})
"""HTTP answers after which a server may be asked again."""

Advance = Callable[[int, int | None], None]
"""Is told how many bytes are there, and of how many, where known."""

pooch.get_logger().setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that a publisher offers.

    Attributes:
        url: Where it is.
        name: What it is called below the corpus's folder, folders parted by `/`.
        checksum: As in `ser_lab.fetch.transfer`.
        n_bytes: Its size, 0 where not known.
    """

    url: str
    name: str
    checksum: str = ""
    n_bytes: int = 0


class _BrokenError(Exception):
    """A transfer stopped for a reason that may pass."""


def fetch_file(
    remote: Remote, folder: Path, session: requests.Session, *, advance: Advance
) -> Path:
    """Fetch a file, or go on where the last attempt stopped; one that is there is not fetched.

    Args:
        remote: Which file.
        folder: Where it goes, under its own name.
        session: Who asks.
        advance: Is told of the progress.

    Returns:
        The file, whole.

    Raises:
        CorpusError: It cannot be had, is not what its checksum says, or the disk is full. What
            has come so far stays beside it and is used next time, unless it is wrong.
    """
    path = folder / _safe_name(remote)
    if path.exists():
        if matches(path, remote.checksum):
            return path
        path.unlink()
    known = remote.checksum and not remote.checksum.startswith(GIT_KINDS)
    downloader = _Resuming(remote, path, session, advance)
    try:
        pooch.retrieve(
            remote.url,
            known_hash=remote.checksum if known else None,
            fname=path.name,
            path=path.parent,
            downloader=downloader,
        )
        downloader.forget()
    except ValueError as error:  # pooch's word for a wrong hash
        downloader.forget()
        raise _wrong(remote) from error
    except OSError as error:
        raise CorpusError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def check_space(folder: Path, n_bytes: int) -> None:
    """Refuse what the disk has no room for.

    Args:
        folder: A folder on that disk.
        n_bytes: What is to be written.

    Raises:
        CorpusError: There is no room.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes + SPARE_BYTES:
        raise CorpusError(
            f"{folder} is on a disk with {free / 1e6:,.0f} MB free, and "
            f"{(n_bytes + SPARE_BYTES) / 1e6:,.0f} MB are needed. Free some space, or name another "
            "folder with --data."
        )


class _Resuming:
    """A downloader for pooch that keeps what has come in `NAME.part` and asks for the rest."""

    def __init__(
        self, remote: Remote, path: Path, session: requests.Session, advance: Advance
    ) -> None:
        self._remote = remote
        self._part = path.with_name(f"{path.name}.part")
        self._session = session
        self._advance = advance

    def __call__(self, url: str, output_file: str, _: object) -> None:
        failures = 0
        while True:
            before = self._n_here()
            try:
                self._receive(url, before)
                break
            except (requests.RequestException, _BrokenError) as error:
                failures = 1 if self._n_here() > before else failures + 1
                if failures == ATTEMPTS:
                    raise CorpusError(
                        f"{url} cannot be fetched ({reason_of(error)}). Check the network and run "
                        f"the command again; it resumes after the {self._n_here() / 1e6:,.1f} MB "
                        "already downloaded."
                    ) from error
                time.sleep(FIRST_PAUSE_S * 2 ** (failures - 1))
        gits = self._remote.checksum.startswith(GIT_KINDS)  # which pooch does not know
        if gits and not matches(self._part, self._remote.checksum):
            self.forget()
            raise _wrong(self._remote)
        self._hand_over(Path(output_file))

    def forget(self) -> None:
        """Delete what has come so far."""
        self._part.unlink(missing_ok=True)

    def _hand_over(self, target: Path) -> None:
        """Give pooch the file, and keep it until pooch has checked it: a kill loses nothing."""
        target.unlink()
        try:
            target.hardlink_to(self._part)
        except OSError:  # a disk without hard links
            self._part.replace(target)

    def _n_here(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _receive(self, url: str, start: int) -> None:
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with self._session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self._settle_end(response, start)
                return
            if response.status_code in BUSY:
                raise _BrokenError(f"HTTP {response.status_code}, {response.reason}")
            if not response.ok:
                raise refusal(url, response)
            resumes = response.status_code == requests.codes.partial_content
            if resumes and not response.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            ):
                self.forget()
                raise _BrokenError("the server sent another part than requested")
            self._store(response, start if resumes else 0)

    def _settle_end(self, response: requests.Response, start: int) -> None:
        """Nothing follows what is here: it is all there is, or of another file."""
        if response.headers.get("Content-Range") != f"bytes */{start}":
            self.forget()
            raise _BrokenError("the partial download does not belong to this file")

    def _store(self, response: requests.Response, start: int) -> None:
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        check_space(self._part.parent, int(length or 0))
        n_here = start
        with self._part.open("ab" if start else "wb") as sink:
            for block in response.iter_content(BLOCK_BYTES):
                sink.write(block)
                n_here += len(block)
                self._advance(n_here, total)
        if total is not None and n_here != total:
            raise _BrokenError(f"{n_here:,} of {total:,} bytes arrived")


def _safe_name(remote: Remote) -> PurePosixPath:
    name = PurePosixPath(remote.name)
    if name.is_absolute() or ".." in name.parts or "\\" in remote.name or not name.name:
        raise CorpusError(f"{remote.url} is called {remote.name!r}, which leads out of the folder.")
    return name


def _wrong(remote: Remote) -> CorpusError:
    return CorpusError(
        f"{remote.url} is not the file that its publisher describes: its hash is not "
        f"{remote.checksum}. It was deleted; run the command again, and if that does not help, "
        "the publisher has changed it."
    )
