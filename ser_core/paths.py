"""Folders: outputs, the cache, and the models and examples that come with the code.

An output replaces only what this program wrote, and appears whole: `check_output` is called before
any work, `replacing` writes beside the place and renames.

A wheel contains models and examples in `ser_core/bundled` (see `package-dir` in pyproject.toml);
a checkout has them in its root.
"""

import atexit
import ctypes
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir, mkdtemp

from ser_core.errors import OutputError, SerError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LISTING = ".moodmirror.json"
"""File that lists the others of an output folder, by which a later run recognises them."""
DRAFT = ".moodmirror-"
"""Prefix of a folder beside an output, in which the output is written."""
TEMPORARY = "moodmirror-"
"""Prefix of a running app's folder of recordings."""
N_REMOVALS = 20
"""Most attempts to remove it, 0.1 s apart, as threads may still write."""
LOCK = ".moodmirror-lock"
"""File that marks such a folder, which is locked while its app runs."""
BROWSER_PAGE = "browser/dist"
"""Folder in `examples` of the page that runs a model in the browser, once it is built."""
OLD = "old"
"""Folder in a draft for what is replaced, where two folders cannot be exchanged."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # Linux, `renameat2`


def check_output(place: Path, is_ours: Callable[[Path], bool]) -> None:
    """Check before any work that an output can be written, and replaces nothing foreign.

    Args:
        place: File or folder to write; its parents need not exist.
        is_ours: Whether what is there may be replaced, such as `lists_its_files`.

    Raises:
        OutputError: The place is a symbolic link, the current folder or one above, contains
            something that is not ours, or cannot be written.
    """
    with writing(place):
        if place.is_symlink():
            raise OutputError(f"{place} is a symbolic link. Name the place that it points to.")
        if Path.cwd().is_relative_to(place.resolve()):
            raise OutputError(
                f"{place} is the current folder, or contains it. Name a folder to create in it."
            )
        if place.exists() and not _applies(is_ours, place):
            found = sorted(path.name for path in place.iterdir()) if place.is_dir() else []
            holds = f" ({', '.join(found[:3])}{', …' if found[3:] else ''})" if found else ""
            raise OutputError(
                f"{place} exists{holds} and was not written by this command, so it is not "
                "replaced. Move it away, or name another place."
            )
        parent = next(path for path in place.absolute().parents if path.exists())
        TemporaryDirectory(prefix=DRAFT, dir=parent).cleanup()


@contextmanager
def replacing(place: Path, is_ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield where to write a file or a folder, which then takes its place as a whole.

    A process that is killed at any moment leaves the old or the new; its draft is removed by the
    next run. Arguments and errors are those of `check_output`.
    """
    check_output(place, is_ours)
    place = place.absolute()
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead_drafts(place.parent)
        with (
            TemporaryDirectory(prefix=DRAFT, dir=place.parent, ignore_cleanup_errors=True) as draft,
            _locked(Path(draft)),
        ):
            new = Path(draft) / place.name
            yield new
            check_output(place, is_ours)
            _put(new, place)


@contextmanager
def writing(place: Path | str) -> Iterator[None]:
    """Raise an OutputError that names the place where the file system raises an error."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{place} cannot be written: {error.strerror or error}. Check the disk and the "
            "permissions, or name another place."
        ) from error


def write_listing(folder: Path) -> None:
    """List the files and folders of an output in it, so that a later run may replace them."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    (folder / LISTING).write_text(json.dumps(names, indent=0) + "\n", encoding="utf-8")


def lists_its_files(folder: Path, listing: str = LISTING) -> bool:
    """Return whether a folder is empty, or holds only the files that its listing names."""
    path = folder / listing
    names = [listing, *json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []
    return holds_only(folder, names)


def holds_only(folder: Path, names: Iterable[str]) -> bool:
    """Return whether a folder holds at most these paths and the folders above them."""
    paths = [Path(name) for name in names]
    known = {*paths, *(parent for path in paths for parent in path.parents)}
    return folder.is_dir() and all(p.relative_to(folder) in known for p in folder.rglob("*"))


def _applies(is_ours: Callable[[Path], bool], place: Path) -> bool:
    """Return whether a place is ours; what cannot be read or understood is not."""
    try:
        return is_ours(place)
    except (OSError, ValueError, TypeError, LookupError, SerError):
        return False


def _put(new: Path, place: Path) -> None:
    """Move a file or folder to its place; what it replaces ends in the draft."""
    if not (place.is_dir() and any(place.iterdir())):
        new.replace(place)
    elif not _exchange(new, place):
        old = new.parent / OLD / place.name
        old.parent.mkdir()
        place.rename(old)
        new.rename(place)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, and return whether this system can."""
    if sys.platform != "linux":
        return False
    paths = os.fsencode(one), os.fsencode(other)
    with suppress(AttributeError):  # a C library without it
        libc = ctypes.CDLL(None)
        return not libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    return False


def _remove_dead_drafts(parent: Path) -> None:
    """Remove the drafts of runs that ended early, after moving back what they had set aside."""
    for draft in parent.glob(f"{DRAFT}*/") if fcntl else ():
        with suppress(OSError), _locked(draft):
            for old in (draft / OLD).glob("*"):
                if not (parent / old.name).exists():
                    old.rename(parent / old.name)
            shutil.rmtree(draft)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder until the context or the process ends; raise OSError where it is locked."""
    if not fcntl:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a folder that is removed at the end, or by the next process that was not killed.

    Args:
        parent: Where to create it, if need be with the folders above it.

    Raises:
        OutputError: It cannot be created.
    """
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        draft = Path(mkdtemp(prefix=f".{TEMPORARY}", dir=parent))
    for dead in parent.glob(f"{TEMPORARY}*/{LOCK}") if fcntl else ():
        with suppress(OSError), _locked(dead.parent):
            shutil.rmtree(dead.parent)
    with _locked(draft):
        (draft / LOCK).touch()
        # Under this name it can be found, and is locked already.
        folder = draft.rename(parent / draft.name.removeprefix("."))
        try:
            yield folder
        finally:
            for _ in range(N_REMOVALS):
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists():
                    break
                time.sleep(0.1)


def default_cache() -> Path:
    """Return `MOODMIRROR_CACHE`, or `moodmirror` in the user's cache."""
    if configured := os.environ.get("MOODMIRROR_CACHE"):
        return Path(configured)
    return _user_cache() / "moodmirror"


def _user_cache() -> Path:
    if configured := os.environ.get("XDG_CACHE_HOME"):
        return Path(configured)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return Path(gettempdir())


def provide_caches() -> None:
    """Give numba and matplotlib a temporary folder where the user's cache cannot be written.

    Without one, librosa cannot be used if its own folder is read-only, too. Call it before.
    """
    missing = [name for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR") if name not in os.environ]
    if missing and not _can_write(_user_cache()):
        folder = mkdtemp(prefix=TEMPORARY)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ |= dict.fromkeys(missing, folder)


def _can_write(folder: Path) -> bool:
    """Return whether a folder can be written, or created."""
    places = (folder.absolute(), *folder.absolute().parents)
    place = next(place for place in places if os.path.exists(place))  # noqa: PTH110  # or denied
    try:
        TemporaryDirectory(prefix=DRAFT, dir=place).cleanup()
    except OSError:
        return False
    return True


def entry_name(format_number: int, key: str, *, prefix: str = "") -> str:
    """Return the name of a cache entry.

    Args:
        format_number: Format of its content.
        key: Hash of its settings, in hexadecimal digits, of which 16 are used.
        prefix: Start of the name.
    """
    return f"{prefix}format{format_number}-{key[:16]}"


def remove_earlier_entries(
    folder: Path, format_number: int, is_ours: Callable[[Path], bool], *, prefix: str = ""
) -> None:
    """Remove the entries of earlier formats, which no current version reads.

    Those of later formats stay, so that two versions with one cache do not undo each other.

    Args:
        folder: Holds the entries.
        format_number: The current format.
        is_ours: Whether a folder holds only what this program wrote; others stay.
        prefix: Start of the names.
    """
    pattern = re.compile(re.escape(prefix) + r"(?:format(\d+)-)?[0-9a-f]{16}")
    for path in folder.iterdir():
        match = pattern.fullmatch(path.name)
        if match is None or int(match[1] or 0) >= format_number or not path.is_dir():
            continue
        with suppress(OSError):  # another process may be removing it, too
            if is_ours(path):
                shutil.rmtree(path)


def built_browser_page(examples: Path) -> Path | None:
    """Return the folder of the page that runs a model in the browser; None if it is not built."""
    folder = examples / BROWSER_PAGE
    return folder if (folder / "index.html").is_file() else None


def bundled(name: str) -> Path:
    """Return a folder that comes with the code.

    Args:
        name: `model` or `examples`.
    """
    package = Path(__file__).resolve().parent
    inside = package / "bundled" / name
    return inside if inside.is_dir() else package.parent / name
