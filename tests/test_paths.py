"""Outputs: what is replaced, what is refused, and what a run that ends early leaves."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ser_core import paths
from ser_core.errors import OutputError
from ser_core.paths import (
    DRAFT,
    LISTING,
    check_output,
    lists_its_files,
    replacing,
    temporary_folder,
    write_listing,
    writing,
)
from tests.conftest import ROOT

N_FILES, N_KILLS = 5, 12


def tree(folder: Path) -> dict[str, bytes | None]:
    """Paths below a folder, with the bytes of the files."""
    found = folder.rglob("*")
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in found}


def write_version(place: Path, version: int) -> None:
    """Replace a folder by one whose files all hold a number."""
    with replacing(place, lists_its_files) as draft:
        (draft / "inner").mkdir(parents=True)
        (draft / "empty").mkdir()
        for i in range(N_FILES):
            (draft / "inner" / f"{i}.txt").write_text(f"{version}" * 2_000)
        write_listing(draft)


def versions(place: Path) -> set[str]:
    return {path.read_text()[0] for path in (place / "inner").iterdir()}


PLACES: dict[str, Callable[[Path], Path]] = {
    "a file": lambda root: root / "foreign" / "notes.txt",
    "a folder with other files": lambda root: root / "foreign",
    "a folder of folders": lambda root: root / "folders",
    "a link": lambda root: root / "link",
    "a link to nothing": lambda root: root / "dangling",
    "below a file": lambda root: root / "foreign" / "notes.txt" / "new",
    "the current folder": lambda _: Path(),
    "above the current folder": lambda _: Path(".."),
    "a system's folder": lambda _: Path("/proc/nowhere/new"),
    "a name that is too long": lambda root: root / ("x" * 300),
}


@pytest.mark.parametrize("kind", PLACES)
def test_what_is_not_ours_is_refused_and_stays(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("foreign", "empty", "here/inner", "folders/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    (tmp_path / "foreign" / LISTING).write_text('["other.txt"]')
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path / "here" / "inner")
    before = tree(tmp_path)
    with pytest.raises(OutputError):
        check_output(PLACES[kind](tmp_path), lists_its_files)
    with pytest.raises(OutputError):
        write_version(PLACES[kind](tmp_path), 1)
    assert tree(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(OutputError, match="Permission denied"):
        check_output(tmp_path / "new", lists_its_files)
    tmp_path.chmod(0o755)


@pytest.mark.parametrize("listing", ["{", "3", "[3]", "\xff", "null"])
def test_a_folder_with_a_spoilt_listing_is_refused(listing: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LISTING).write_text(listing, encoding="latin-1")
    with pytest.raises(OutputError, match="was not written by this command"):
        check_output(tmp_path / "out", lists_its_files)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_our_folder_is_replaced_and_a_file_added_to_it_is_kept(
    *, can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(paths, "_exchange", lambda *_: False)
    place = tmp_path / "new" / "out"
    for version in (1, 2):
        write_version(place, version)
        assert versions(place) == {str(version)}
    (place / "inner" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"out exists \(\.moodmirror\.json, empty, inner\)"):
        write_version(place, 3)
    assert (place / "inner" / "notes.txt").read_text() == "mine"
    assert [path.name for path in place.parent.iterdir()] == ["out"]


def test_a_file_that_comes_while_the_work_is_done_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "out"

    def write_late() -> None:
        with replacing(place, lists_its_files) as draft:
            draft.mkdir()
            place.mkdir()
            (place / "notes.txt").write_text("mine")

    with pytest.raises(OutputError, match=r"notes\.txt"):
        write_late()
    assert tree(tmp_path) == {"out": None, "out/notes.txt": b"mine"}


@pytest.mark.parametrize("n_writes", range(1, N_FILES + 2))
def test_a_disk_that_is_full_at_any_write_leaves_the_old(
    n_writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, true_write, n_done = tmp_path / "out", Path.write_text, 0
    write_version(place, 1)

    def fill(path: Path, *rest: str, **named: str) -> int:
        nonlocal n_done
        n_done += 1
        if n_done == n_writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return true_write(path, *rest, **named)

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(OutputError, match="out cannot be written: No space left on device"):
        write_version(place, 2)
    assert versions(place) == {"1"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def in_child(work: Callable[[], object]) -> int:
    """Run something in a copy of this process and return its id, for a test to kill it.

    The copy may stand still, since it inherits the locks that other threads hold.
    """
    if child := os.fork():
        return child
    try:
        work()
    finally:
        os._exit(1)


WRITE_TOO_MUCH = """
import resource, sys
from pathlib import Path
from ser_core.paths import lists_its_files, replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
with replacing(Path(sys.argv[1]), lists_its_files) as draft:
    draft.mkdir()
    (draft / "1.txt").write_text("2" * 2_000)
"""


def test_a_file_that_the_system_cuts_off_is_an_error(tmp_path: Path) -> None:
    write_version(tmp_path / "out", 1)
    command = [sys.executable, "-c", WRITE_TOO_MUCH, tmp_path / "out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "OutputError" in done.stderr
    assert os.strerror(errno.EFBIG) in done.stderr
    assert versions(tmp_path / "out") == {"1"}


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_run_that_is_killed_at_any_moment_leaves_the_old_or_the_new(
    *, can_exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not can_exchange:
        monkeypatch.setattr(paths, "_exchange", lambda *_: False)
    place, moment = tmp_path / "out", random.Random(0)

    def write_for_ever() -> None:
        for i in range(10_000_000):
            write_version(place, i % 10)

    write_version(place, 1)
    for _ in range(N_KILLS):
        child = in_child(write_for_ever)
        time.sleep(moment.uniform(0.002, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if not can_exchange:  # the next run moves back what was set aside
            paths._remove_dead_drafts(tmp_path)
        assert len(versions(place)) == 1
        assert lists_its_files(place)
    write_version(place, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_draft_of_a_run_that_goes_on_is_kept(tmp_path: Path) -> None:
    with replacing(tmp_path / "one", lists_its_files) as draft:
        draft.mkdir()
        write_version(tmp_path / "other", 1)
        assert draft.is_dir()
        assert len(list(tmp_path.glob(f"{DRAFT}*"))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_errors_name_the_place() -> None:
    with (
        pytest.raises(OutputError, match=r"here cannot be written: Input/output error\."),
        writing("here"),
    ):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


RECORD = """
import sys, time
from pathlib import Path
from ser_core.paths import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "clip.wav").write_bytes(b"voice")
    print("recorded", flush=True)
    time.sleep(600)
"""


def test_recordings_of_a_killed_app_go_and_those_of_others_stay(tmp_path: Path) -> None:
    foreign, target = tmp_path / "moodmirror-mine", tmp_path / "target"
    foreign.mkdir()
    (foreign / "clip.wav").touch()
    target.mkdir()
    (target / paths.LOCK).touch()
    (tmp_path / "moodmirror-link").symlink_to(target, target_is_directory=True)
    before = tree(tmp_path)

    command = [sys.executable, "-c", RECORD, tmp_path]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "recorded\n"
    with temporary_folder(tmp_path) as alive:
        assert len([*tmp_path.glob("moodmirror-*/clip.wav")]) == 2  # the child's and the foreign
        child.kill()
        child.communicate()
        with temporary_folder(tmp_path):
            assert {*tmp_path.glob("moodmirror-*/clip.wav")} == {foreign / "clip.wav"}
            assert alive.exists()
    assert tree(tmp_path) == before
