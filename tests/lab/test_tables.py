"""A user's own table of recordings."""

import unicodedata
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


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ('"a.wav,sad,Ada\nmore/b.wav,sad,Bo\n', "line 2: unexpected end of data"),
        ('a.wav,sad,Ada\n"more/b.wav,sad,Bo\n', "line 3: unexpected end of data"),
        ('a.wav,sad,"Ada\nmore/b.wav,sad,Bo"\n', "line 2: a quote begins a cell"),
        ('\n\na.wav,sad,"Ada" L.\n', "line 4: ',' expected after"),
        ("a.wav,sad,Ada, the first\n", "line 2: no column for 'the first'"),
        (f"{'x' * 400}.wav,sad,Ada\n", "line 2: no file 'x{80}…'"),
        (f"{'x/' * 3000}.wav,sad,Ada\n", "line 2: no file "),
        ("a\0.wav,sad,Ada\n", "line 2: no file "),
        (f"{'x' * 200_000},sad,Ada\n", "line 2: field larger than field limit"),
    ],
)
def test_no_row_is_lost_without_a_word(rows: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=reason):
        clips_from_csv(write_table(tmp_path, f"path,label,speaker\n{rows}"))


@pytest.mark.parametrize("row", ["a.wav,sad,Ada,,", '"a.wav",sad,Ada', "a.wav , sad,Ada"])
def test_a_spreadsheets_habits_are_read(row: str, tmp_path: Path) -> None:
    (clip,) = clips_from_csv(write_table(tmp_path, f"path, label,speaker\r\n{row}\r\n"))
    assert (clip.emotion, clip.speaker) == ("sad", "own/Ada")


@pytest.mark.parametrize(
    "label",
    ["ऊबा हुआ", "गुस्सा", "சோகம்", "కోపం", "দুঃখিত", "เศร้า", "می\u200cخندد", "ມີຄວາມສຸກ", "ሐዘን", "genervt"],
)
def test_labels_are_words_of_any_script(label: str, tmp_path: Path) -> None:
    (clip,) = clips_from_csv(write_table(tmp_path, f"path,label,speaker\na.wav,{label},Ada\n"))
    assert clip.emotion == label


@pytest.mark.parametrize("label", ["\u0301sad", "\u200csad", "sad\u202e", "so, so", "a" * 41])
def test_labels_that_are_no_words_are_refused(label: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no fit label"):
        clips_from_csv(write_table(tmp_path, f'path,label,speaker\na.wav,"{label}",Ada\n'))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José", unicodedata.normalize("NFD", "José")),
        ("speaker 03", "Speaker 03"),
        ("Ada  L.", "Ada L."),
        ("Ada\xa0L.", "Ada L."),
        ("Straße", "STRASSE"),
        ("Ada\u200b", "Ada"),
    ],
)
def test_a_speaker_in_two_spellings_is_one_and_the_log_says_so(
    one: str, other: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = f"path,label,speaker\na.wav,sad,{one}\nmore/b.wav,sad,{other}\n"
    table = write_table(tmp_path, text)
    assert len({clip.speaker for clip in clips_from_csv(table)}) == 1
    assert len({clip.speaker for clip in clips_from_csv(table)}) == 1
    (message,) = caplog.messages
    assert message == f"{table}: {one!r} and {other!r} are taken as one speaker."


def test_a_label_in_two_normal_forms_is_one(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "fâché") for form in ("NFC", "NFD")]
    text = f"path,label,speaker\na.wav,{forms[0]},Ada\nmore/b.wav,{forms[1]},Bo\n"
    assert {clip.emotion for clip in clips_from_csv(write_table(tmp_path, text))} == {forms[0]}
