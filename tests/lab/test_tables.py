"""A user's own table of recordings."""

from pathlib import Path

import pytest

from ser_core.corpora import Clip
from ser_core.errors import CorpusError
from ser_lab.data.tables import clips_from_csv


def write_table(folder: Path, text: str, *, encoding: str = "utf-8") -> Path:
    """A table beside two recordings, `a.wav` and `more/b.wav`."""
    for name in ("a.wav", "more/b.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    table = folder / "own.csv"
    table.write_text(text, encoding=encoding)
    return table


def test_rows_become_clips(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "note,path,label,speaker,sex\n"
        ",a.wav,happy,Ada,female\n"
        f"hoarse, {tmp_path}/more/b.wav ,sad,Bo,\n",
    )
    assert clips_from_csv(table) == [
        Clip(tmp_path / "a.wav", "own", "own/Ada", "female", "happy", "", ""),
        Clip(tmp_path / "more" / "b.wav", "own", "own/Bo", "unknown", "sad", "", ""),
    ]


def test_a_corpus_keeps_its_name_to_itself(tmp_path: Path) -> None:
    table = write_table(tmp_path, "path,label,speaker\na.wav,calm,Ada\n")
    (clip,) = clips_from_csv(table.rename(tmp_path / "crema-d.csv"))
    assert (clip.corpus, clip.speaker) == ("crema-d.csv", "crema-d.csv/Ada")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_sex_may_be_left_out(encoding: str, tmp_path: Path) -> None:
    table = write_table(tmp_path, "path,label,speaker\na.wav,calm,Zoë\n", encoding=encoding)
    (clip,) = clips_from_csv(table)
    assert (clip.speaker, clip.sex) == ("own/Zoë", "unknown")


def test_every_faulty_row_is_told_by_line(tmp_path: Path) -> None:
    table = write_table(
        tmp_path,
        "path,label,speaker,sex\n"
        "a.wav,<joy>,Ada,\n"
        "more/b.wav,sad,,\n"
        "\n"
        "c.wav,sad,Bo,\n"
        "a.wav,,Ada,f\n",
    )
    with pytest.raises(CorpusError) as error:
        clips_from_csv(table)
    assert str(error.value) == (
        f"{table}: line 2: no fit label '<joy>'; line 3: no speaker; line 5: no file 'c.wav'; "
        "line 6: 'a.wav' is listed again; line 6: no label; "
        "line 6: sex 'f' is neither female nor male nor empty. "
        "Each row needs a file, a speaker, and a label of letters, digits, spaces and hyphens, "
        "40 at most."
    )


def test_a_long_list_of_faults_is_cut(tmp_path: Path) -> None:
    rows = "".join(f"{i}.wav,sad,Ada\n" for i in range(30))
    with pytest.raises(CorpusError, match=r"line 11: no file '9.wav'; and 20 more\. "):
        clips_from_csv(write_table(tmp_path, f"path,label,speaker\n{rows}"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("path,emotion\na.wav,sad\n", "has the columns path, emotion; label, speaker must be"),
        ("path;label;speaker\n", "has the columns path;label;speaker; path, label, speaker must"),
        ("", "has the columns none;"),
        ("path,label,speaker\n", "has no rows"),
    ],
)
def test_a_table_without_columns_or_rows_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=rf"own\.csv {told}"):
        clips_from_csv(write_table(tmp_path, text))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.csv cannot be read as a table"):
        clips_from_csv(tmp_path / "gone.csv")
    with pytest.raises(CorpusError, match=r"own\.csv cannot be read as a table in UTF-8"):
        clips_from_csv(write_table(tmp_path, "path,label,speaker\né", encoding="latin-1"))
