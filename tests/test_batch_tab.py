"""The tab "Batch" without a browser."""

import base64
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from ser_core.batch import BatchRow, adapt_rows
from ser_core.errors import AudioError
from ser_core.label_studio import to_task
from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.web import batch_tab
from ser_core.web.language import translate
from tests.test_web import NBSP, FakeModels, parse, text_of


def write_files(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).write_bytes(b"sound")
    return [str(folder / name) for name in names]


def downloaded(html: str) -> dict[str, bytes]:
    """The files that a page's links hold, by name."""
    links = parse(html).findall(".//a[@download]")
    return {
        link.attrib["download"]: base64.b64decode(link.attrib["href"].split(",")[1])
        for link in links
    }


def cells(table: str) -> list[list[str]]:
    """The text of a table's rows."""
    return [
        ["".join(cell.itertext()).replace(NBSP, " ") for cell in row]
        for row in parse(table).findall(".//tbody/tr")
    ]


def test_a_batch_tells_how_far_it_is_and_what_came_out(tmp_path: Path) -> None:
    paths = write_files(tmp_path, "=1+1.wav", "two.wav")
    (first, *_), (said, table, rows) = batch_tab.analyse_files(FakeModels(), paths)
    assert translate("batch_progress", done=1, n=2) in text_of(first)
    assert translate("batch_done", n=2) in text_of(said)
    assert [row[:2] for row in cells(table)] == [
        ["=1+1.wav", "😠 angry 71%"],
        ["two.wav", "😠 angry 71%"],
    ]
    assert [len(row) for row in cells(table)] == [4 + len(LABELS)] * 2  # no empty column
    files = downloaded(said)
    header, first_row, _ = files["moodmirror.csv"].decode().splitlines()
    assert header.startswith("file,actual,emotion,problem,confidence,neutral")
    assert first_row.startswith("'=1+1.wav,,angry,,0.71,")
    assert (
        downloaded(batch_tab.draw_stopped(rows[:1], one_voice=False))["moodmirror.csv"].count(b"\n")
        == 2
    )
    frame = pd.read_parquet(io.BytesIO(files["moodmirror.parquet"]))
    assert frame["angry"].tolist() == [0.71, 0.71]
    answer = json.loads(files["moodmirror.json"])
    assert answer["scores"] is None
    for row, record in zip(answer["files"], frame.to_dict("records"), strict=True):
        nested = row.pop("probabilities") | {f"{k}_ms": v for k, v in row.pop("timings_ms").items()}
        assert record | row | nested | {"warnings": ""} == record


def test_names_of_a_corpus_bring_scores_and_a_confusion_matrix(tmp_path: Path) -> None:
    paths = write_files(
        tmp_path, "03-01-05-01-01-01-12.wav", "03-01-04-01-01-01-12.wav", "other.wav"
    )
    said, table, _ = list(batch_tab.analyse_files(FakeModels(), paths))[-1]
    assert [row[4] for row in cells(table)] == ["angry ✓", "sad ✗", ""]
    told = text_of(said).replace(NBSP, " ")
    assert translate("batch_scores", n=2, accuracy="50%", uar="50%") in told
    counts = [cell.text for cell in parse(said).findall(".//tbody//td")]
    assert counts == ["0", "1", "0", "1"]  # sad and angry, both heard as angry
    scores = json.loads(downloaded(said)["moodmirror.json"])["scores"]
    assert scores["emotions"] == ["sad", "angry"]
    assert scores["confusion"] == [[0, 1], [0, 1]]


def test_a_batch_of_bad_files_is_rows_of_reasons(tmp_path: Path) -> None:
    paths = write_files(tmp_path, "bad.wav")
    models = FakeModels(AudioError("bad.wav is <odd>."))
    said, table, _ = list(batch_tab.analyse_files(models, paths))[-1]
    assert translate("batch_problems", n=1) in text_of(said)
    assert cells(table) == [["bad.wav", "", "", "", "bad.wav is <odd>."]]


def test_an_empty_batch_and_a_bug_are_sentences(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ((said, table, _),) = batch_tab.analyse_files(FakeModels(), [])
    assert "nothing to analyse" in text_of(said)
    assert table == ""
    paths = write_files(tmp_path, "one.wav")
    ((said, *_),) = batch_tab.analyse_files(FakeModels(RuntimeError("oops")), paths)
    assert translate("apology") in text_of(said)
    assert "oops" in caplog.text


def test_rows_of_one_voice_are_adapted_and_back_without_another_analysis(tmp_path: Path) -> None:
    leaning = [0.5, *[0.0] * 6, 0.5]  # to neutral and surprised, whatever is said
    rows = []
    for k in range(1, 7):
        probabilities = [0.6 * share for share in leaning]
        probabilities[k] += 0.4
        answer = Prediction.from_probabilities(probabilities, LABELS)
        rows += [BatchRow(f"{LABELS[k]}-{i}.wav", answer) for i in range(4)]
    said, table = batch_tab.redraw(rows, one_voice=True)
    assert [f"{row[0].split('-')[0]}" in row[1] for row in cells(table)] == [True] * len(rows)
    answer = json.loads(downloaded(said)["moodmirror.json"])["files"][0]
    assert answer == adapt_rows(rows)[0].to_dict()
    _, unadapted = batch_tab.redraw(rows, one_voice=False)
    assert "40%" in cells(unadapted)[0][1]
    assert batch_tab.redraw([], one_voice=True)[1] == ""
    paths = write_files(tmp_path, "one.wav", "two.wav")
    *_, (_, _, kept) = batch_tab.analyse_files(FakeModels(), paths, one_voice=True)
    assert [row.prediction.probabilities[4] for row in kept if row.prediction] == [0.71, 0.71]


def test_a_file_whose_name_another_has_too_has_no_play_button() -> None:
    answer = Prediction.from_probabilities([0.125] * 8, LABELS)
    rows = [BatchRow(name, answer) for name in ("a.wav", "b.wav", "b.wav (2)")]
    table = batch_tab.draw_table(rows, ["/somewhere/a.wav", "/somewhere/b.wav"])
    assert re.findall(r'data-file="([^"]+)"', table) == ["a.wav"]
    assert 'aria-label="Play a.wav"' in table


def test_a_row_offers_every_label_with_its_key_and_a_task_for_label_studio() -> None:
    answer = Prediction.from_probabilities([0.3, *[0.1] * 7], LABELS, model="compact 1.0.0")
    names = ("03-01-05-01-01-01-12.wav", "Ada/<1>.wav", "one.wav")
    table = parse(batch_tab.draw_table([BatchRow(name, answer) for name in names]))
    choices = table.findall(".//td[@class='mm-choice']")
    assert [choice.attrib["data-speaker"] for choice in choices] == ["12", "Ada", ""]
    assert [choice.attrib["data-name"] for choice in choices] == [*names]
    assert choices[0].attrib["data-predicted"] == "neutral"
    assert choices[0].attrib["data-confidence"] == "0.3000"
    options = [(option.attrib["value"], option.text) for option in choices[0].iter("option")]
    assert options[:3] == [("", "–"), ("neutral", "1 neutral"), ("calm", "2 calm")]
    assert [value for value, _ in options[1:]] == [*LABELS]
    task = json.loads(choices[1].attrib["data-task"])
    assert task == to_task("Ada/<1>.wav", answer)
