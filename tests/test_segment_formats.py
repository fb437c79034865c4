"""Files of segments: what is written is read again, by this program and by others."""

import io
import json
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import parselmouth
import pysubs2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parselmouth.praat import call
from pyarrow import parquet
from pympi.Elan import Eaf

from ser_core.errors import OutputError, SerError
from ser_core.prediction import Prediction
from ser_core.quality import QualityWarning
from ser_core.segment_formats import FORMATS, encode_segments, read_segments, write_segments
from ser_core.segments import Segment

SAD = Prediction.from_probabilities([0.1, 0.9], ("calm", "sad"), certain_from=0.5)
TALK = [
    Segment(0.0, 1.5, "Ada", 0, 'He said "no" & left.', SAD, (QualityWarning("noisy", "Loud."),)),
    Segment(1.0, 2.25, "Bo B.", 1, "¿Qué? 你好", SAD),
    Segment(2.0, 3.0, "Bo B.", 1, None, SAD),
    Segment(4.0, 5.125, None, None, "No one knows."),
    Segment(6.0, 7.0),
]
"""Two speakers at once, one that overlaps itself, and segments without speaker, text or emotion."""
CAPTIONS = ("srt", "vtt", "audacity")
TIERS = ("textgrid", "eaf")
TABLES = ("csv", "parquet")

WORD = st.text(
    st.characters(
        exclude_categories=("Cs", "Cc", "Cn", "Zs", "Zl", "Zp"), exclude_characters="[]<{"
    ),
    min_size=1,
    max_size=8,
)
LINE = st.lists(WORD, min_size=1, max_size=4).map(" ".join)
MS = st.integers(0, 40_000_000)


@st.composite
def segments(draw: st.DrawFn) -> list[Segment]:
    found = []
    for start, length in draw(
        st.lists(st.tuples(MS, st.integers(1, 9_999)), min_size=1, max_size=6)
    ):
        speaker = draw(st.none() | LINE.filter(lambda name: name != "speech" and "#" not in name))
        text = draw(st.none() | LINE.filter(lambda text: text != "speech"))
        text = None if text == speaker else text
        prediction = draw(st.none() | st.just(SAD))
        channel = draw(st.none() | st.integers(0, 7))
        times = (start / 1_000, (start + length) / 1_000)
        found.append(Segment(*times, speaker, channel, text, prediction))
    return sorted(found, key=lambda s: (s.start_s, s.end_s))


def reread(found: list[Segment], name: str, folder: Path) -> list[Segment]:
    path = folder / f"talk{FORMATS[name].suffix}"
    path.write_bytes(encode_segments(found, name, recording=Path("talk.wav")))
    return read_segments(path)


def plain(found: list[Segment], *fields: str) -> list[tuple[object, ...]]:
    return sorted(
        ((s.start_s, s.end_s, *(getattr(s, field) for field in fields)) for s in found), key=repr
    )


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(found=segments())
def test_times_speakers_and_text_survive_any_format(found: list[Segment], tmp_path: Path) -> None:
    for name in CAPTIONS + TIERS:
        assert plain(reread(found, name, tmp_path), "speaker", "text") == plain(
            found, "speaker", "text"
        ), name
    for name in TABLES:
        fields = ("speaker", "text", "channel")
        assert plain(reread(found, name, tmp_path), *fields) == plain(found, *fields), name
    assert reread(found, "json", tmp_path) == found
    spoken = [replace(s, speaker=s.speaker and s.speaker.replace(" ", "_")) for s in found]
    assert plain(reread(found, "rttm", tmp_path), "speaker") == plain(spoken, "speaker")


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_was_read_is_written_as_it_was(name: str, tmp_path: Path) -> None:
    bare = [replace(segment, prediction=None, warnings=()) for segment in TALK]
    once = encode_segments(bare, name)
    path = tmp_path / f"a{FORMATS[name].suffix}"
    path.write_bytes(once)
    again = encode_segments(read_segments(path), name)
    if name == "eaf":
        once, again = (content.partition(b"VERSION")[2] for content in (once, again))  # the date
    assert once == again


def test_subtitles_open_in_another_library() -> None:
    for name in ("srt", "vtt"):
        text = encode_segments(TALK, name).decode()
        cues = pysubs2.SSAFile.from_string(text, format_=name)
        assert [(cue.start, cue.end) for cue in cues] == [
            (0, 1500), (1000, 2250), (2000, 3000), (4000, 5125), (6000, 7000)
        ]  # fmt: skip
        assert "[sad 90%]" in cues[0].text
        assert "¿Qué? 你好" in cues[1].text


def test_a_textgrid_opens_in_praat(tmp_path: Path) -> None:
    path = tmp_path / "talk.TextGrid"
    write_segments(TALK, path)
    grid = parselmouth.read(str(path))
    tiers = {
        call(grid, "Get tier name", i): i for i in range(1, call(grid, "Get number of tiers") + 1)
    }
    assert list(tiers)[:3] == ["Ada", "Ada/emotion", "Ada/confidence"]
    assert {"Bo B.", "Bo B. #2", "speech"} <= set(tiers)
    assert call(grid, "Get label of interval", tiers["Ada"], 1) == 'He said "no" & left.'
    assert call(grid, "Get label of interval", tiers["Ada/emotion"], 1) == "sad"
    assert call(grid, "Get end time of interval", tiers["Ada"], 1) == 1.5
    assert call(grid, "Get total duration") == 7.0


@pytest.mark.parametrize("form", ["Save as text file...", "Save as short text file..."])
@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16"])
def test_textgrids_of_praat_are_read(form: str, encoding: str, tmp_path: Path) -> None:
    grid = call("Create TextGrid", 0, 10, "Ada points", "points")
    call(grid, "Insert boundary", 1, 2.5)
    call(grid, "Insert boundary", 1, 4.25)
    call(grid, "Set interval text", 1, 2, 'a "b" č !c 5 <exists>')
    call(grid, "Insert point", 2, 3.0, "here")
    call("Text writing preferences", encoding)
    path = tmp_path / "a.TextGrid"
    call(grid, form, str(path))
    call("Text writing preferences", "UTF-8")
    assert read_segments(path) == [Segment(2.5, 4.25, speaker="Ada", text='a "b" č !c 5 <exists>')]


def test_an_elan_file_opens_in_another_library(tmp_path: Path) -> None:
    path = tmp_path / "talk.eaf"
    write_segments(TALK, path, recording=Path("talk.wav"))
    eaf = Eaf(str(path))
    assert eaf.get_annotation_data_for_tier("Ada") == [(0, 1500, 'He said "no" & left.')]
    assert eaf.get_annotation_data_for_tier("Ada/emotion") == [(0, 1500, "sad")]
    assert eaf.get_parameters_for_tier("Bo B. #2")["PARTICIPANT"] == "Bo B."
    assert eaf.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == "./talk.wav"
    tree = ElementTree.parse(path)
    slots = [slot.get("TIME_SLOT_ID") for slot in tree.iter("TIME_SLOT")]
    used = [a.get(key) for a in tree.iter("ALIGNABLE_ANNOTATION")
            for key in ("TIME_SLOT_REF1", "TIME_SLOT_REF2")]  # fmt: skip
    assert sorted(slots) == sorted(used)


def test_elan_files_of_another_library_are_read_without_the_tiers_below_others(
    tmp_path: Path,
) -> None:
    eaf = Eaf(author="x")
    eaf.rename_tier("default", "utterances")
    eaf.add_linguistic_type("words", "Included_In")
    eaf.add_tier("words", ling="words", parent="utterances")
    eaf.add_annotation("utterances", 100, 900, "two words")
    eaf.add_annotation("words", 100, 400, "two")
    eaf.to_file(str(tmp_path / "a.eaf"))
    assert read_segments(tmp_path / "a.eaf") == [
        Segment(0.1, 0.9, speaker="utterances", text="two words")
    ]


def test_tables_have_the_columns_of_a_row() -> None:
    table = parquet.read_table(io.BytesIO(encode_segments(TALK, "parquet"))).to_pylist()
    assert table == [segment.to_row(SAD.labels) for segment in TALK]
    header = encode_segments(TALK, "csv").decode().splitlines()[0]
    assert header == ",".join(table[0])


def test_rttm_has_the_emotion_where_tools_ignore_it() -> None:
    row = encode_segments(TALK, "rttm", recording=Path("my talk.wav")).decode().splitlines()[1]
    assert row == "SPEAKER my_talk 2 1.000 1.250 <NA> sad Bo_B. 0.900 <NA>"


FOREIGN = {
    "whisperx.srt": (
        "1\n00:00:00,500 --> 00:00:02,000\n[SPEAKER_01]: <i>Hello</i>\nthere\n\n"
        "2\r\n00:00:02.500 --> 00:00:03,000\r\nBye\r\n",
        [Segment(0.5, 2.0, "SPEAKER_01", text="Hello there"), Segment(2.5, 3.0, text="Bye")],
    ),
    "call.vtt": (
        "\ufeffWEBVTT - a title\n\nNOTE\nby hand\n\nintro\n00:01.000 --> 00:02.000 align:left\n"
        "<v.loud Ada>A &lt; <b>B</b></v>\n",
        [Segment(1.0, 2.0, "Ada", None, "A < B")],
    ),
    "labels.txt": (
        "0.500000\t1.250000\tlaughs\n\\\t100.0\t200.0\n2.0\t2.0\tmark\n3.0\t4.0\t\n",
        [Segment(0.5, 1.25, None, None, "laughs"), Segment(3.0, 4.0)],
    ),
    "nist.rttm": (
        ";; by hand\nSPKR-INFO talk 1 <NA> <NA> <NA> unknown ada <NA>\n"
        "SPEAKER talk 1 3.5 1.5 <NA> <NA> ada <NA> <NA>\nSPEAKER talk 2 0.25 1 <NA> <NA> bo <NA>\n",
        [Segment(0.25, 1.25, "bo", 1), Segment(3.5, 5.0, "ada", 0)],
    ),
    "excel.csv": (
        "start;end;speaker;text;mood\n0,5;1,5;Ada;'=1;x\n",
        [Segment(0.5, 1.5, "Ada", None, "=1")],
    ),
    "whisper.json": (
        '{"text": "Hi", "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": "Hi"}]}',
        [Segment(0.0, 1.5, None, None, "Hi")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_programs_are_read(name: str, tmp_path: Path) -> None:
    content, expected = FOREIGN[name]
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_segments(tmp_path / name) == expected


GRID = encode_segments(TALK[:1], "textgrid").decode()
ELAN = encode_segments(TALK[:1], "eaf").decode()
BAD = {
    "a.srt": ("1\n00:00:01,000 -> 00:00:02,000\nHi\n", "line 2: .* is no time; expected 00:00"),
    "e.srt": ("1\n00:00:01,5 --> 00:00:02,000\nHi\n", "line 2: .* is no time"),
    "b.srt": ("1\n00:00:03,000 --> 00:00:02,000\nHi\n", "line 2: .* has no sound; expected an end"),
    "c.srt": ("Dear reader,\nhello.\n", "line 1: no subtitle"),
    "a.vtt": ("1\n00:00:01.000 --> 00:00:02.000\nHi\n", "line 1: no WebVTT"),
    "b.vtt": ("WEBVTT\n\n00:01.000 --> 00:00:02\nHi\n", "line 3: .* is no time"),
    "c.vtt": ("WEBVTT\n\nHi\nthere\n", "c.vtt has no segments; expected at least one"),
    "d.vtt": ("WEBVTT\n00:00:01.000 --> 00:00:02.000\n0 --> 1\n", "line 3: .* is no time"),
    "a.txt": ("0.5 1.5 spaces\n", "line 1: no label; expected start, end and text between tabs"),
    "b.txt": ("0.5\t1.5\ta\n2\t1\tb\n", "line 2: .* has no sound"),
    "a.rttm": ("SPEAKER talk 1 0.5\n", "line 1: no RTTM"),
    "b.rttm": ("SPEAKER talk 1 0.5 -1 <NA> <NA> a <NA> <NA>\n", "line 1: .* has no sound"),
    "c.rttm": ("SPEAKER talk 1 0.5 inf <NA> <NA> a <NA> <NA>\n", "line 1: a segment that ends at"),
    "a.csv": ("start_s,speaker\n1,Ada\n", "line 2: no end_s; expected columns"),
    "b.csv": ("start_s,end_s\n0,1\nx,2\n", "line 3: could not convert"),
    "c.csv": ("start_s,end_s,channel\n0,1,left\n", "line 2: invalid literal"),
    "d.csv": ("start_s,end_s\n", "has no segments"),
    "a.json": ('{"segments": [\n{"start_s": 1,}]}', "line 2: no JSON"),
    "b.json": ('{"text": ""}', "no segments; expected a list"),
    "c.json": ('[{"start": 0, "end": 1, "prediction": {"a": 1}}]', "segment 1 has another form"),
    "a.parquet": ("PAR1", "no Parquet"),
    "a.TextGrid": (GRID[:-40], "line 37: the file ends where the end of an interval is expected"),
    "b.TextGrid": (GRID.replace("xmin = 0.000", "xmin = zero", 1), "line 18: .* where the end"),
    "c.TextGrid": ("0.5 1.5 Hi\n", "line 1: '0.5' where \"ooTextFile\" is expected"),
    "d.TextGrid": (GRID.replace("xmax = 1.500\n            text", "xmax = 0\n            text", 1),
                   "line 18: .* has no sound"),
    "a.eaf": (ELAN[: len(ELAN) // 2], r"line \d+: no XML"),
    "b.eaf": ("<html></html>", "line 1: no file of ELAN"),
    "c.eaf": (ELAN.replace('TIME_SLOT_REF1="ts2"', 'TIME_SLOT_REF1="ts99"'), r"line \d+: 'ts99'"),
    "e.csv": ('start_s,end_s\n"' + "x" * 200_000, "line 1: no table, field larger than"),
    "d.srt": ("1\n" + "9" * 12 + ":00:00,000 --> 00:00:02,000\nHi\n", "has a number that is too"),
    "e.TextGrid": (GRID.replace("size = ", "size = 1e999 ", 1), "has a number that is too large"),
    "d.eaf": (ELAN.replace('TIME_VALUE="', 'TIME_VALUE="' + "9" * 400), "has a number that is too"),
    "a.docx": ("", "is no file of segments; expected a name in .srt, .vtt"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_one_sentence_with_the_line(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SerError, match=message) as error:
        read_segments(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mark", ["<b ", "{\\", "[", "[a 1"])
def test_marks_that_never_end_are_read_in_time(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\n" + mark * 30_000)
    start_s = time.process_time()
    (found,) = read_segments(path)
    assert found.text
    assert time.process_time() - start_s < 2.0


def test_a_missing_file_and_another_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(SerError, match="No such file"):
        read_segments(tmp_path / "none.srt")
    (tmp_path / "old.txt").write_bytes("0\t1\ta\n1\t2\té\n".encode("latin-1"))
    with pytest.raises(SerError, match="line 2: no UTF-8"):
        read_segments(tmp_path / "old.txt")


def test_every_cut_of_a_file_is_refused_or_read_as_a_start_of_it(tmp_path: Path) -> None:
    for name, form in FORMATS.items():
        whole = encode_segments(TALK, name)
        for end in range(0, len(whole), 97):
            path = tmp_path / f"cut{form.suffix}"
            path.write_bytes(whole[:end])
            try:
                found = read_segments(path)
            except SerError:
                continue
            assert name in (*CAPTIONS, "rttm", "csv")  # the others have an end
            assert len(found) <= len(TALK)


def test_the_segments_of_one_recording_are_chosen_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "all.rttm"
    rows = ("SPEAKER my_talk 1 0 1 <NA> <NA> a <NA> <NA>\n", "SPEAKER b.2 1 5 1 <NA> <NA> b <NA>\n")
    path.write_text("".join(rows))
    assert read_segments(path, recording=Path("x/my talk.wav")) == [Segment(0.0, 1.0, "a")]
    assert read_segments(path, recording=Path("b.2.wav")) == [Segment(5.0, 6.0, "b")]
    with pytest.raises(SerError, match=r"2 recordings \(b.2, my_talk, …\), none .* as c.wav"):
        read_segments(path, recording=Path("c.wav"))
    path.write_text(rows[0])
    assert len(read_segments(path, recording=Path("renamed.wav"))) == 1
    table = tmp_path / "all.csv"
    table.write_text("file,start_s,end_s\nx/a.wav,0,1\nx/b.wav,1,2\n")
    assert read_segments(table, recording=Path("b.flac")) == [Segment(1.0, 2.0)]


def test_only_files_with_emotions_are_replaced(tmp_path: Path) -> None:
    for name, form in FORMATS.items():
        path = tmp_path / f"a{form.suffix}"
        if name not in TABLES:  # which have a column for them
            write_segments([replace(s, prediction=None) for s in TALK], path, name=name)
            kept = path.read_bytes()
            with pytest.raises(OutputError, match="was not written by this command"):
                write_segments(TALK, path)
            assert path.read_bytes() == kept
            path.unlink()
        write_segments(TALK, path)
        write_segments(TALK[:1], path)
        assert len(read_segments(path)) == 1


def test_json_has_what_the_api_has() -> None:
    stored = json.loads(encode_segments(TALK, "json"))
    assert stored == {"segments": [segment.to_dict() for segment in TALK]}
