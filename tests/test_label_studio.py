"""Label Studio's JSON in and out."""

import json
from pathlib import Path
from typing import Any

import pytest

from ser_core.errors import CorpusError
from ser_core.label_studio import read_tasks, to_task
from ser_core.labels import LABELS
from ser_core.prediction import Prediction


def write(folder: Path, tasks: Any) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def annotated(*choices: str, audio: str = "a.wav", **data: Any) -> dict[str, Any]:
    """A task as the export JSON has it, with an annotation for each choice."""
    result = [
        {"type": "choices", "from_name": "mood", "to_name": "sound", "value": {"choices": [c]}}
        for c in choices
    ]
    return {
        "id": 7,
        "data": data | {"audio": audio},
        "annotations": [{"result": [r]} for r in result],
    }


def test_a_prediction_is_a_task_that_reads_back_with_its_label(tmp_path: Path) -> None:
    prediction = Prediction.from_probabilities(
        [0.1, 0.0, 0.6, 0.1, 0.1, 0.1, 0.0, 0.0], LABELS, model="compact 1.0.0"
    )
    task = to_task("Ada & Bo/a #1.wav", prediction, label="sad")
    (guess,) = task["predictions"]
    assert (guess["model_version"], guess["score"]) == ("compact 1.0.0", 0.6)
    (choice,) = guess["result"]
    assert (choice["from_name"], choice["to_name"]) == ("emotion", "audio")
    assert choice["value"] == {"choices": ["happy"]}
    ((_, row),) = read_tasks(write(tmp_path, [task]))
    assert (row["path"], row["label"]) == ("Ada & Bo/a #1.wav", "sad")
    assert "annotations" not in to_task("a.wav", prediction)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/data/local-files/?d=calls/1%20a.wav", "calls/1 a.wav"),
        ("/data/upload/3/1a2b3c4d-hello_there.flac", "hello_there.flac"),
        ("s3://bucket/calls/b.opus", "b.opus"),
        ("https://example.org/x/c%20d.mp3?token=1", "c d.mp3"),
        ("calls/e.m4a", "calls/e.m4a"),
    ],
)
def test_recordings_are_found_from_the_export(address: str, path: str, tmp_path: Path) -> None:
    ((number, row),) = read_tasks(write(tmp_path, [annotated("happy", audio=address)]))
    assert (number, row["path"]) == (7, path)


def test_the_most_frequent_choice_counts_and_a_tie_is_no_label(tmp_path: Path) -> None:
    tasks = [
        annotated("sad", "happy", "sad", speaker="Ada", age=31),
        annotated("sad", "happy") | {"id": 8},
        annotated() | {"id": 9},
        annotated("sad") | {"id": 10, "annotations": [{"was_cancelled": True, "result": [{}]}]},
    ]
    rows = dict(read_tasks(write(tmp_path, tasks)))
    assert {number: row["label"] for number, row in rows.items()} == {7: "sad", 8: ""}
    assert (rows[7]["speaker"], rows[7]["age"]) == ("Ada", "31")


def test_the_short_export_is_read_too(tmp_path: Path) -> None:
    tasks = [
        {"id": 1, "audio": "a.wav", "speaker": "Ada", "emotion": "sad", "annotator": 1},
        {"id": 1, "audio": "a.wav", "speaker": "Ada", "emotion": "sad", "annotator": 2},
        {"id": 2, "audio": "b.wav", "speaker": "Bo", "emotion": {"choices": ["happy"]}},
        {"id": 3, "audio": "c.wav", "speaker": "Bo"},
    ]
    rows = dict(read_tasks(write(tmp_path, tasks)))
    assert [(row["path"], row["label"]) for row in rows.values()] == [
        ("a.wav", "sad"), ("b.wav", "happy"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ({"tasks": []}, "holds no list of tasks"),
        ([{"id": 1, "data": {"text": "hello"}, "annotations": annotated("sad")["annotations"]}],
         "task 1: none of text names a recording"),
        ([{"id": 1, "audio": "a.wav", "emotion": {"choices": ["sad", "angry"]}}],
         "task 1: 2 choices; expected is one"),
        ([{"id": 1, "data": {"audio": "a.wav"}, "annotations": [
            {"result": [{"value": {"start": 0.0, "end": 1.0, "labels": ["sad"]}}]}]}],
         "task 1: a label is about a part of the recording"),
    ],
)  # fmt: skip
def test_other_json_is_refused_in_a_sentence(tasks: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=message):
        list(read_tasks(write(tmp_path, tasks)))


def test_a_file_that_is_no_json_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text("path,label")
    with pytest.raises(CorpusError, match="cannot be read as JSON"):
        list(read_tasks(path))
