"""What is taken away while the page is up, and what stays."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from ser_core.web.cleanup import ClipFolder

LIFE_S = 300.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that is set by hand."""
    clock = SimpleNamespace(now_s=1_000.0)
    clock.monotonic = lambda: clock.now_s
    monkeypatch.setattr("ser_core.web.cleanup.time", clock)
    return clock


def place(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"voice")
    return path


def test_a_clip_and_its_folder_go_when_their_time_is_up(
    clock: SimpleNamespace, tmp_path: Path
) -> None:
    clips, old = ClipFolder(tmp_path, LIFE_S), place(tmp_path, "hash/old.wav")
    assert clips.delete_old() == set()
    clock.now_s += LIFE_S - 1.0
    young = place(tmp_path, "other/young.wav")
    assert clips.delete_old() == set()
    clock.now_s += 2.0
    assert clips.delete_old() == {str(old)}
    assert young.exists()
    assert clips.delete_old() == set()
    clock.now_s += LIFE_S
    assert clips.delete_old() == {str(young)}
    clock.now_s += LIFE_S
    clips.delete_old()
    assert [*tmp_path.iterdir()] == []


def test_a_clip_that_is_used_again_lives_anew(clock: SimpleNamespace, tmp_path: Path) -> None:
    clips, clip = ClipFolder(tmp_path, LIFE_S), place(tmp_path, "clip.wav")
    clips.delete_old()
    clock.now_s += LIFE_S - 1.0
    os.utime(clip)
    clips.delete_old()
    clock.now_s += LIFE_S - 1.0
    assert clips.delete_old() == set()
    clock.now_s += 2.0
    assert clips.delete_old() == {str(clip)}


def test_what_is_to_be_kept_stays_and_so_does_what_a_link_points_to(
    clock: SimpleNamespace, tmp_path: Path
) -> None:
    folder, outside = tmp_path / "clips", place(tmp_path, "outside/mine.wav")
    kept, link = place(folder, "example.flac"), folder / "link"
    link.symlink_to(outside.parent, target_is_directory=True)
    clips = ClipFolder(folder, LIFE_S)
    clips.delete_old(keep=[str(kept)])
    clock.now_s += LIFE_S + 1.0
    assert clips.delete_old(keep=[str(kept)]) == {str(link)}
    assert kept.exists()
    assert outside.exists()
