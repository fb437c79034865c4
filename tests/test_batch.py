"""Many recordings at once."""

import random
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from ser_core import batch as collect
from ser_core.batch import (
    BatchError,
    BatchRow,
    collect_files,
    measure_rows,
    predict_files,
    shown_name,
)
from ser_core.errors import AudioError
from ser_core.prediction import Prediction


class Sizes:
    """Answers with the file's size; refuses what is no sound."""

    def predict(self, source: Any) -> Prediction:
        if source.read_bytes().startswith(b"junk"):
            raise AudioError(f"{source.name} is no sound. Choose another.")
        return Prediction.from_probabilities((0.9, 0.1), ("calm", "angry"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return folder


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_files_and_members_are_rows_and_a_bad_one_tells_its_reason(
    tmp_path: Path, folder: Path
) -> None:
    single = tmp_path / "one.wav"
    soundfile.write(single, np.zeros(100), 16_000)
    archive = pack(
        tmp_path / "more.zip",
        {
            "a/two.wav": single.read_bytes(),
            "a/bad.wav": b"junk",
            "a/": b"",
            "__MACOSX/a/._two.wav": b"junk",
        },
    )
    rows = list(predict_files(collect_files([single, archive], folder), Sizes()))
    assert [row.name for row in rows] == ["one.wav", "a/two.wav", "a/bad.wav"]
    assert [row.prediction is not None for row in rows] == [True, True, False]
    assert rows[2].to_dict() == {
        "file": "a/bad.wav",
        "error": "a/bad.wav is no sound. Choose another.",
    }
    assert rows[0].to_dict()["emotion"] == "calm"


@pytest.mark.parametrize(
    "name", ["../../escape.wav", "/etc/escape.wav", "..\\..\\escape.wav", "C:\\escape.wav"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, folder: Path, name: str) -> None:
    archive = pack(tmp_path / "evil.zip", {name: b"sound"})
    (file,) = collect_files([archive], folder)
    assert file.name in ("escape.wav", "etc/escape.wav")
    assert file.path is not None
    assert file.path.parent == folder
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["0000", "evil.zip", "unpacked"]


def test_an_archive_that_would_fill_the_disk_is_stopped(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "MAX_UNPACKED_BYTES", 3_000_000)
    bomb = pack(tmp_path / "bomb.zip", {f"{i}.wav": bytes(1_000_000) for i in range(9)})
    assert bomb.stat().st_size < 20_000
    with pytest.raises(BatchError, match=r"bomb\.zip is larger than 3 MB when unpacked"):
        collect_files([bomb], folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3_000_000


def test_what_an_archive_says_of_its_sizes_is_not_believed(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "MAX_UNPACKED_BYTES", 100_000)
    archive = pack(tmp_path / "liar.zip", {"a.wav": bytes(1_000_000)})
    content = archive.read_bytes()
    true_size, said = (1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    assert content.count(true_size) == 2
    archive.write_bytes(content.replace(true_size, said))
    try:
        files = collect_files([archive], folder)
    except BatchError:
        files = []
    assert all(file.path is None or file.path.stat().st_size <= 10 for file in files)


def test_a_damaged_member_is_a_row_and_the_others_are_judged(tmp_path: Path, folder: Path) -> None:
    whole = pack(tmp_path / "whole.zip", {"a.wav": b"sound" * 999, "b.wav": b"sound"})
    content = bytearray(whole.read_bytes())
    content[40:60] = bytes(20)  # within the first member's data
    whole.write_bytes(content)
    first, second = collect_files([whole], folder)
    assert first.path is None
    assert "a.wav cannot be unpacked" in first.error
    assert second.path is not None
    assert [path.name for path in folder.iterdir()] == ["0001"]


def test_too_many_files_and_none_at_all_are_refused(tmp_path: Path, folder: Path) -> None:
    many = pack(tmp_path / "many.zip", {f"{i}.wav": b"sound" for i in range(201)})
    with pytest.raises(BatchError, match="more than 200 files"):
        collect_files([many], folder)
    with pytest.raises(BatchError, match="nothing to analyse"):
        collect_files([pack(tmp_path / "none.zip", {})], folder)


@given(st.text(max_size=300))
def test_a_shown_name_is_short_and_holds_no_marks(name: str) -> None:
    shown = shown_name(name)
    assert 0 < len(shown) <= 120
    assert "/" not in shown
    assert shown.isprintable() or " " in shown or not shown.isascii()
    assert "\u202e" not in shown


def test_a_member_behind_a_password_is_a_row_with_its_reason(tmp_path: Path, folder: Path) -> None:
    archive = pack(tmp_path / "locked.zip", {"a.wav": b"sound"})
    content = bytearray(archive.read_bytes())
    for header, flags_at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags_at] |= 1
    archive.write_bytes(content)
    (file,) = collect_files([archive], folder)
    assert file.path is None
    assert "a.wav cannot be unpacked" in file.error
    assert "password" in file.error


def test_names_of_a_corpus_tell_the_actual_emotion(tmp_path: Path, folder: Path) -> None:
    archive = pack(
        tmp_path / "corpus.zip",
        {
            "03-01-05-01-01-01-12.wav": b"sound",
            "AudioData/DC/su01.wav": b"sound",
            "DC/holiday.wav": b"sound",
        },
    )
    rows = list(predict_files(collect_files([archive], folder), Sizes()))
    assert [row.actual for row in rows] == ["angry", "surprised", None]
    assert rows[0].to_dict()["actual"] == "angry"
    assert "actual" not in rows[2].to_dict()


def told(actual: str | None, predicted: str | None) -> BatchRow:
    if predicted is None:
        return BatchRow("a.wav", None, "no sound", actual)
    return BatchRow("a.wav", Prediction((predicted,), (1.0,)), actual=actual)


def test_scores_count_the_rows_that_were_judged_and_whose_names_tell() -> None:
    rows = [
        *[told("sad", "sad")] * 3,
        told("sad", "calm"),
        told("angry", "angry"),
        told("angry", None),
        told(None, "happy"),
    ]
    scores = measure_rows(rows)
    assert scores is not None
    assert scores.n_files == 5
    assert scores.emotions == ("calm", "sad", "angry")
    assert scores.confusion == ((0, 0, 0), (1, 3, 0), (0, 0, 1))
    truth, predicted = ["sad"] * 4 + ["angry"], ["sad"] * 3 + ["calm", "angry"]
    assert scores.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert scores.uar == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert measure_rows([told(None, "happy"), told("sad", None)]) is None


def test_rows_of_the_same_name_can_be_told_apart(tmp_path: Path, folder: Path) -> None:
    members = {"Ada/01.wav": b"sound", "Bo/01.wav": b"sound", "B/" * 99 + "01.wav": b"sound"}
    one, other = (pack(tmp_path / name, members) for name in ("one.zip", "other.zip"))
    names = [file.name for file in collect_files([one], folder)]
    assert names[:2] == ["Ada/01.wav", "Bo/01.wav"]
    assert len(names[2]) <= 120
    assert names[2].endswith("/B/01.wav")
    for path in folder.iterdir():
        path.unlink()
    names = [file.name for file in collect_files([one, other, one], folder)]
    assert len(set(names)) == 9
    assert {"one.zip/Ada/01.wav", "other.zip/Ada/01.wav", "one.zip/Ada/01.wav (2)"} < set(names)


@pytest.mark.parametrize("names", [["a", "a", "a (2)"], ["a (2)", "a", "a"], ["a", "a (2)", "a"]])
def test_a_number_is_one_that_no_other_name_has(
    names: list[str], tmp_path: Path, folder: Path
) -> None:
    paths = [tmp_path / f"{i}" / name for i, name in enumerate(names)]
    found = [file.name for file in collect_files(paths, folder)]
    assert len(set(found)) == 3
    assert found[0] == names[0]


def test_a_recording_with_a_zip_in_its_tail_is_a_recording(tmp_path: Path, folder: Path) -> None:
    sound = tmp_path / "a.wav"
    soundfile.write(sound, np.zeros(100), 16_000)
    record = pack(tmp_path / "x.zip", {"b.wav": b"sound"}).read_bytes()
    sound.write_bytes(sound.read_bytes() + record)
    assert zipfile.is_zipfile(sound)
    (file,) = collect_files([sound], folder)
    assert (file.name, file.path) == ("a.wav", sound)


def test_an_odd_entry_is_a_row_and_the_others_are_analysed(tmp_path: Path, folder: Path) -> None:
    archive = pack(tmp_path / "odd.zip", {f"{i}é.wav": b"sound" for i in range(4)})
    content = archive.read_bytes()
    entries = [i for i in range(len(content)) if content.startswith(b"PK\1\2", i)]
    changed = bytearray(content.replace("0é".encode(), b"0\xff\xff"))  # no UTF-8
    changed[entries[1] + 6] = 99  # made by a later version
    changed[entries[2] + 10] = 77  # compressed as nobody does
    archive.write_bytes(changed)
    files = collect_files([archive], folder)
    assert [file.path is not None for file in files] == [False, True, False, True]
    assert "cannot be unpacked: That compression method is not supported" in files[2].error
    nameless = pack(tmp_path / "none.zip", {"x": b"sound", "y.wav": b"sound"})
    content = nameless.read_bytes()
    start = content.index(b"PK\1\2")
    short = bytearray(content[:start] + content[start:].replace(b"x", b"", 1))
    short[start + 28] = 0
    size = len(content) - 22 + 12
    short[size - 1 : size + 3] = (int.from_bytes(content[size : size + 4], "little") - 1).to_bytes(
        4, "little"
    )
    nameless.write_bytes(short)
    assert [file.name for file in collect_files([nameless], folder / "..")] == ["unnamed", "y.wav"]


def test_no_mutated_zip_raises_anything_but_our_own_errors(tmp_path: Path) -> None:
    content = pack(tmp_path / "a.zip", {f"{i}é.wav": b"sound" * i for i in range(5)}).read_bytes()
    generator = random.Random(0)
    for i in range(500):
        mutated = bytearray(content)
        for _ in range(generator.randint(1, 6)):
            mutated[generator.randrange(4, len(content))] = generator.randrange(256)
        archive, target = tmp_path / "mutated.zip", tmp_path / f"{i}"
        target.mkdir()
        archive.write_bytes(mutated)
        with suppress(BatchError):
            assert collect_files([archive], target)
