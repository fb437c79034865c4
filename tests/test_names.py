"""Names from elsewhere: on terminals of any encoding, in tables, JSON and messages."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ser_core.audio.load import load_audio
from ser_core.batch import batch_to_dict, collect_files, predict_files
from ser_core.cli import app
from ser_core.cli.output import print_csv, print_json, print_states, print_table
from ser_core.errors import AudioError
from ser_core.names import escape_formula, name_of, printable
from ser_core.prediction import Prediction
from ser_core.web import drawing
from ser_lab.fetch import check_corpora

ODD = {
    "talk [dQw4].wav": "talk [dQw4].wav",
    "x[/b].wav": "x[/b].wav",
    "[red]x.wav": "[red]x.wav",
    ":smile:.wav": ":smile:.wav",
    "a\x1b[31m\x07.wav": r"a\x1b[31m\x07.wav",
    "a\nb\r.wav": r"a\nb\r.wav",
    "a\x9b31m.wav": r"a\x9b31m.wav",
    "\u202egpj.wav": r"\u202egpj.wav",
    "caf\udce9.wav": r"caf\xe9.wav",
    "\ud800.wav": r"\ud800.wav",
    "caf\udcc3\udca9.wav": "café.wav",
    "می\u200cشود 👩\u200d🎤.wav": "می\u200cشود 👩\u200d🎤.wav",
}
"""Names, and how a terminal shows them."""
FORMULAS = ("=1+1.wav", "+1.wav", "-1.wav", "@x.wav")
ANSWER = Prediction(("calm", "angry"), (0.9, 0.1))


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_a_line_without_control_marks(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not set(shown) & {*map(chr, range(32)), "\x7f", "\x9b", "\u202e", "\u2066"}
    shown.encode()
    name_of(text).encode()


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_text_in_every_output(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [(Path(name), ANSWER)]
    print_table(answers)
    # An emoji may be as wide as its parts, and the cell be folded.
    table = capsys.readouterr().out
    assert ODD[name] in table or "👩" in name
    print_csv(answers, ANSWER.labels)
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["file"] == ODD[name]
    print_json(answers)
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text)["file"] == name_of(name)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_name_is_no_formula_in_any_table(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_csv([(Path(name), ANSWER)], ANSWER.labels)
    assert f"\n'{name}," in capsys.readouterr().out
    assert drawing._to_csv(["file", "n"], [[name, -1]]) == f"file,n\n'{name},-1\n".encode()
    assert escape_formula(-1) == -1


@pytest.mark.parametrize("name", ["caf\udce9.wav", "a\x1b[31m.wav"])
def test_a_message_about_a_recording_shows_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for content in (b"", b"junk", b"RIFF\xff\xff\xff\x00WAVEfmt "):
        path.write_bytes(content)
        with pytest.raises(AudioError) as raised:
            load_audio(path)
        assert printable(name) in str(raised.value)
        assert str(raised.value) == printable(raised.value)


class Unable:
    def predict(self, source: object) -> Prediction:
        load_audio(source)  # type: ignore[arg-type]
        return ANSWER


def test_a_batch_of_odd_names_is_valid_in_all_formats(tmp_path: Path) -> None:
    sources, unpacked = tmp_path / "sources", tmp_path / "unpacked"
    sources.mkdir()
    unpacked.mkdir()
    names = [name for name in ODD if not {"/", "\ud800"} & set(name)]  # which no file has
    for name in names:
        (sources / name).write_bytes(b"junk")
    files = collect_files([sources / name for name in names], unpacked)
    rows = list(predict_files(files, Unable()))
    cells = [[row.name, row.error] for row in rows]
    assert len({name for name, _ in cells}) == len(names)
    assert all(text == printable(text) for cell in cells for text in cell)
    json.dumps(batch_to_dict(rows), ensure_ascii=False).encode()
    assert drawing._to_csv(["file", "error"], cells)
    assert drawing._to_parquet(["file", "error"], cells)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_every_encoding_of_a_terminal_shows_tables_help_and_errors(
    encoding: str, tmp_path: Path
) -> None:
    runner = CliRunner(charset=encoding, env={"COLUMNS": "200"})
    for words in (["data", "check", "--data", tmp_path], ["predict", "--help"], []):
        done = runner.invoke(app, list(map(str, words)), catch_exceptions=False)
        assert done.exit_code == (0 if words else 2)
        assert len(done.stdout.splitlines()) > 8
    done = runner.invoke(app, ["explain", "né 🎤\udce9.wav", "--model", "né 🎤\udce9"])
    assert done.exit_code == 2
    assert done.stderr.startswith("moodmirror: ")


def test_states_are_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    place = tmp_path / "[red]x[/b]"
    (place / "ravdess").mkdir(parents=True)
    (place / "ravdess" / "03-01-05-01-01-01-12.wav").touch()
    print_states(check_corpora(place, ()))
    out = capsys.readouterr().out
    assert "✘" in out
    assert "–" in out
