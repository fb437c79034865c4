"""Download one file: resumed after a break, checked, and under its name only when complete."""

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import requests

from ser_core import __version__
from ser_core.errors import CorpusError

N_CONNECTIONS = 8
"""Files that are downloaded at the same time."""
TIMEOUT_S = (10.0, 60.0)
"""Limits for the connection and for each read from it."""
ATTEMPTS = 5
"""Failures in a row, without a byte received, after which a download is given up."""
FIRST_PAUSE_S = 1.0
"""Pause after the first failure; it doubles with each further one."""
BLOCK_BYTES = 1 << 16
SPARE_BYTES = 50_000_000
"""Space that stays free on the disk."""
RETRYABLE = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which a request is repeated."""
_LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"

Advance = Callable[[int, int | None], None]
"""Called with the bytes received so far and the file's size, None where it is unknown."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file that a publisher offers.

    Attributes:
        url: Its address.
        name: Its path below the corpus's folder, parts separated by `/`.
        checksum: `KIND:DIGITS`, where the kind is one of hashlib's, `git` for the SHA-1 of a Git
            blob, or `lfs` for that of a Git LFS pointer; empty where none is published.
        n_bytes: Its size, 0 where unknown.
    """

    url: str
    name: str
    checksum: str = ""
    n_bytes: int = 0


class _BrokenError(Exception):
    """A download stopped for a reason that may pass."""


def open_session() -> requests.Session:
    """Open a session that names this program and keeps `N_CONNECTIONS` open."""
    session = requests.Session()
    session.headers["User-Agent"] = f"moodmirror/{__version__}"
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=N_CONNECTIONS)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def read_json(session: requests.Session, url: str) -> Any:
    """Return the JSON behind an address.

    Raises:
        CorpusError: The address cannot be reached, or answers with something else.
    """
    try:
        response = session.get(url, timeout=TIMEOUT_S)
        if not response.ok:
            raise _refusal(url, response)
        return response.json()
    except requests.JSONDecodeError as error:
        raise CorpusError(f"{url} did not answer with JSON. Try again later.") from error
    except requests.RequestException as error:
        raise CorpusError(
            f"{url} cannot be reached ({_reason(error)}). Check the network and try again."
        ) from error


def fetch_file(
    remote: Remote, folder: Path, session: requests.Session, advance: Advance | None = None
) -> Path:
    """Download a file, or resume where the last attempt stopped.

    Args:
        remote: The file; it is not downloaded again if the folder holds it already.
        folder: Where it goes, under its own name.
        session: As `open_session` gives it.
        advance: Called after each block.

    Returns:
        The path of the complete file.

    Raises:
        CorpusError: The file cannot be downloaded, does not match its checksum, or does not fit
            on the disk. What was received stays beside it as `NAME.part`, unless it is wrong.
    """
    path = folder / _safe_name(remote)
    if path.exists() and matches(path, remote.checksum):
        return path
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _receive_all(remote.url, part, session, advance)
        if not matches(part, remote.checksum):
            part.unlink()
            raise CorpusError(
                f"{remote.url} is not the file that its publisher describes: its hash is not "
                f"{remote.checksum}. It was deleted; run the command again, and if that does not "
                "help, the publisher has changed it."
            )
        return part.replace(path)
    except OSError as error:
        raise CorpusError(f"{path} cannot be written: {error.strerror or error}.") from error


def matches(path: Path, checksum: str) -> bool:
    """Return whether a file has a checksum as in `Remote`; without one, every file matches."""
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


def check_space(folder: Path, n_bytes: int) -> None:
    """Raise a CorpusError unless the disk of a folder has room for some bytes."""
    free = shutil.disk_usage(folder).free
    if free < n_bytes + SPARE_BYTES:
        raise CorpusError(
            f"{folder} is on a disk with {free / 1e6:,.0f} MB free, and "
            f"{(n_bytes + SPARE_BYTES) / 1e6:,.0f} MB are needed. Free some space, or name another "
            "folder with --data."
        )


def _receive_all(url: str, part: Path, session: requests.Session, advance: Advance | None) -> None:
    failures = 0
    while True:
        before = _size(part)
        try:
            _receive(url, part, session, advance)
            return
        except (requests.RequestException, _BrokenError) as error:
            here = _size(part)
            failures = 1 if here > before else failures + 1
            if failures == ATTEMPTS:
                raise CorpusError(
                    f"{url} cannot be fetched ({_reason(error)}). Check the network and run "
                    f"the command again; it resumes after the {here / 1e6:,.1f} MB "
                    "already downloaded."
                ) from error
            time.sleep(FIRST_PAUSE_S * 2 ** (failures - 1))


def _receive(url: str, part: Path, session: requests.Session, advance: Advance | None) -> None:
    start = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        sent = response.headers.get("Content-Range", "")
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if sent != f"bytes */{start}":  # nothing follows the part, but it is of another file
                part.unlink(missing_ok=True)
                raise _BrokenError("the partial download does not belong to this file")
            return
        if response.status_code in RETRYABLE:
            raise _BrokenError(f"HTTP {response.status_code}, {response.reason}")
        if not response.ok:
            raise _refusal(url, response)
        resumes = response.status_code == requests.codes.partial_content
        if resumes and not sent.startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _BrokenError("the server sent another part than requested")
        _store(response, part, start if resumes else 0, advance)


def _store(response: requests.Response, part: Path, start: int, advance: Advance | None) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    check_space(part.parent, int(length or 0))
    here = start
    with part.open("ab" if start else "wb") as sink:
        for block in response.iter_content(BLOCK_BYTES):
            sink.write(block)
            here += len(block)
            if advance is not None:
                advance(here, total)
    if total is not None and here != total:
        raise _BrokenError(f"{here:,} of {total:,} bytes arrived")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _git_sha1(content: bytes) -> str:
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


def _safe_name(remote: Remote) -> PurePosixPath:
    name = PurePosixPath(remote.name)
    if name.is_absolute() or ".." in name.parts or "\\" in remote.name or not name.name:
        raise CorpusError(f"{remote.url} is called {remote.name!r}, which leads out of the folder.")
    return name


def _refusal(url: str, response: requests.Response) -> CorpusError:
    return CorpusError(
        f"{url} answers {response.status_code} ({response.reason}). The publisher may have moved "
        'it: download the corpus yourself, and install it with "data place".'
    )


def _reason(error: Exception) -> str:
    """Return the innermost message, without the names of the libraries around it."""
    while isinstance(inner := getattr(error, "reason", None) or (*error.args, None)[0], Exception):
        error = inner
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return (text.strip() or type(error).__name__).splitlines()[0].rpartition(": ")[2]
