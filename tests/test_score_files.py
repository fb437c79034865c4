"""Files of segments, written from the rows per utterance of an archive."""

import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile

from ser_core.errors import OutputError
from ser_core.predictor import Predictor
from ser_core.score import ScoreConfig, ScoreError
from ser_core.score.files import check_format, segments_of, write_files
from ser_core.segment_formats import FORMATS, read_segments
from ser_core.segments import segment
from tests.conftest import RATE_HZ, make_babble, run_cli
from tests.test_score import run

UTTERANCES = ScoreConfig(rows="utterances")
Scored = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings in two folders, one with its segments beside it, one silent."""
    folder = tmp_path_factory.mktemp("talks")
    (folder / "monday").mkdir()
    talk = np.concatenate([make_babble(seed=1), make_babble(seed=2, duration_s=1.5)])
    soundfile.write(folder / "found.wav", talk, RATE_HZ)
    soundfile.write(folder / "monday" / "given.wav", talk, RATE_HZ)
    soundfile.write(folder / "monday" / "silent.wav", np.zeros(2 * RATE_HZ), RATE_HZ)
    (folder / "monday" / "given.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,500\n[Ada]: Good morning.\n\n"
        "2\n00:01:00,000 --> 00:01:01,000\nToo late.\n"
    )
    return folder


@pytest.fixture(scope="module")
def scored(talks: Path, predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """The output folder of a run over the talks, and its rows."""
    out = tmp_path_factory.mktemp("scored")
    return out, run(talks, out, predictor, UTTERANCES)[1]


def names_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_segments_of_rows_are_those_of_the_recording(
    scored: Scored, talks: Path, predictor: Predictor
) -> None:
    _, rows = scored
    found = [*segments_of([r for r in rows if "found" in r["clip"]], predictor.manifest)]
    expected = [*segment(talks / "found.wav", predictor)]
    assert [(s.start_s, s.end_s) for s in found] == [(s.start_s, s.end_s) for s in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.prediction
        assert other.prediction
        assert one.prediction.emotion == other.prediction.emotion
        assert one.prediction.certain == other.prediction.certain
        assert one.prediction.probabilities == pytest.approx(other.prediction.probabilities)
        assert [w.code for w in one.warnings] == [w.code for w in other.warnings]
    said, late = segments_of([r for r in rows if "given" in r["clip"]], predictor.manifest)
    assert (said.speaker, said.text, late.prediction) == ("Ada", "Good morning.", None)


@pytest.mark.parametrize("name", FORMATS)
def test_each_recording_with_speech_has_a_file_with_all_its_segments(
    name: str, scored: Scored, talks: Path, predictor: Predictor, tmp_path: Path
) -> None:
    (out, rows), files = scored, tmp_path / "files"
    for _ in range(2):  # written again, they replace themselves
        assert write_files(str(out), str(talks), files, name, predictor.manifest) == 2
    suffix = FORMATS[name].suffix
    assert names_in(files) == [f"found.wav{suffix}", f"monday/given.wav{suffix}"]
    for path in ("found.wav", "monday/given.wav"):
        n_rows = sum(row["clip"] == str(talks / path) for row in rows)
        assert len(read_segments(files / f"{path}{suffix}")) == n_rows >= 2


def test_files_are_named_as_recordings_in_stores_globs_and_tars(
    talks: Path, predictor: Predictor, tmp_path: Path
) -> None:
    fsspec.filesystem("memory").put(str(talks), "memory://talks", recursive=True)
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "a.tar", "w") as tar:
        tar.add(talks / "found.wav", "x/found.wav")
        member = tarfile.TarInfo("../../up.wav")
        content = (talks / "found.wav").read_bytes()
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    sources = {
        "memory://talks": ["found.wav.srt", "monday/given.wav.srt"],
        f"{talks}/*/*.wav": ["monday/given.wav.srt"],
        str(talks / "found.wav"): ["found.wav.srt"],
        str(tmp_path / "tars"): ["a.tar/up.wav.srt", "a.tar/x/found.wav.srt"],
    }
    for i, (source, expected) in enumerate(sources.items()):
        out, files = tmp_path / f"out{i}", tmp_path / f"files{i}"
        run(source, out, predictor, UTTERANCES)
        write_files(str(out), source, files, "srt", predictor.manifest)
        assert names_in(files) == expected


def test_a_file_of_someone_else_is_not_replaced(
    scored: Scored, talks: Path, predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "found.wav.srt").write_text("1\n00:00:01,000 --> 00:00:02,500\nMine.\n")
    with pytest.raises(OutputError, match=r"found\.wav\.srt"):
        write_files(str(scored[0]), str(talks), tmp_path, "srt", predictor.manifest)


def test_a_format_that_cannot_be_written_is_said_before_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in FORMATS:
        check_format(name)
    with pytest.raises(ScoreError, match="docx is no format; expected one of srt"):
        check_format("docx")
    monkeypatch.setitem(sys.modules, "srt", None)
    with pytest.raises(ScoreError, match=r"srt is not installed.*pip install .*srt"):
        check_format("srt")


def test_the_command_writes_files_beside_the_parts(
    scored: Scored, talks: Path, tmp_path: Path
) -> None:
    (out, _), files = scored, tmp_path / "grids"
    words = ("score", talks, out, "--model", "compact", "--rows", "utterances")
    done = run_cli(*words, "--to", "textgrid", "--files", files)
    assert f"{files}: 2 files of segments." in done.stdout
    assert len(names_in(files)) == 2
    for wrong in (("--to", "srt"), ("--files", files), ("--to", "docx", "--files", files)):
        refused = run_cli(*words, *wrong)
        assert (refused.exit_code, refused.stdout) == (2, "")
