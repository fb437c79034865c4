"""Label Studio's JSON: predictions as tasks to import, and exported annotations as rows.

Source: https://labelstud.io/guide/predictions and https://labelstud.io/guide/export.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ser_core.corpora import AUDIO_SUFFIXES
from ser_core.errors import CorpusError
from ser_core.prediction import Prediction

AUDIO, EMOTION = "audio", "emotion"
"""Names of the recording and of the choice in the labelling configuration."""
LOCAL_FILES = "/data/local-files/"
"""Address of files on the machine of Label Studio, below its document root."""
_LABELS = (EMOTION, "label", "sentiment", "choice")
"""Keys of the choice in a JSON-MIN export, which has the data of a task on the same level."""
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")


def to_task(file: str, prediction: Prediction, *, label: str = "") -> dict[str, Any]:
    """Return a task with a prediction, as plain JSON types.

    Args:
        file: Path below Label Studio's document root.
        prediction: Its emotion is the choice, its confidence the score.
        label: The emotion that was annotated; empty where none was.
    """
    task: dict[str, Any] = {
        "data": {AUDIO: f"{LOCAL_FILES}?d={quote(file)}"},
        "predictions": [
            {
                "model_version": prediction.model,
                "score": prediction.confidence,
                "result": [_choice(prediction.emotion)],
            }
        ],
    }
    return task | ({"annotations": [{"result": [_choice(label)]}]} if label else {})


def _choice(emotion: str) -> dict[str, Any]:
    value = {"choices": [emotion]}
    return {"type": "choices", "from_name": EMOTION, "to_name": AUDIO, "value": value}


def read_tasks(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the annotated tasks of an export, JSON or JSON-MIN.

    Of several annotations of a task the most frequent choice counts; where two are as frequent,
    the label is empty. Tasks that nobody annotated are left out.

    Args:
        path: The export. Files on Label Studio's machine are looked for below its folder, uploads
            and addresses beside it, by name.

    Yields:
        The number of the task and its cells: `path`, `label`, and the data of the task.

    Raises:
        CorpusError: It is no such export, or the labels are about parts of a recording.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise CorpusError(f"{path} holds no list of tasks; export JSON or JSON-MIN.")
    for number, (data, labels) in _group(path, tasks).items():
        if labels:
            ranked = [*Counter(labels).most_common(2), ("", 0)]
            label = ranked[0][0] if ranked[0][1] > ranked[1][1] else ""
            yield number, _cells(data) | {"path": _find_path(path, number, data), "label": label}


def _group(
    path: Path, tasks: Iterable[dict[str, Any]]
) -> dict[int, tuple[dict[str, Any], list[str]]]:
    """Return data and labels by task; JSON-MIN has an entry for each annotation of it."""
    found: dict[int, tuple[dict[str, Any], list[str]]] = {}
    for place, task in enumerate(tasks, 1):
        number = given if isinstance(given := task.get("id"), int) else place
        data = task["data"] if isinstance(task.get("data"), dict) else task
        _, labels = found.setdefault(number, (data, []))
        if data is task:
            key = next((key for key in _LABELS if task.get(key)), "")
            labels += _chosen(path, number, task.get(key, []))
            continue
        for annotation in task.get("annotations") or []:
            if not annotation.get("was_cancelled"):
                for result in annotation.get("result", []):
                    labels += _chosen(path, number, result.get("value", {}))
    return found


def _chosen(path: Path, number: int, value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        if "start" in value:
            raise CorpusError(
                f"{path}, task {number}: a label is about a part of the recording; expected is "
                "one choice about the whole."
            )
        value = value.get("choices", [])
    if len(value) > 1:
        raise CorpusError(f"{path}, task {number}: {len(value)} choices; expected is one.")
    return [str(choice) for choice in value]


def _cells(data: dict[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in data.items() if isinstance(value, str | int | float)}


def _find_path(path: Path, number: int, data: dict[str, Any]) -> str:
    for value in data.values():
        if isinstance(value, str) and (local := _local_path(value)):
            return local
    raise CorpusError(f"{path}, task {number}: none of {', '.join(data)} names a recording.")


def _local_path(address: str) -> str:
    """Return where a task's recording lies from the export; empty if it is none."""
    parts = urlsplit(address)
    is_remote = bool(parts.scheme) or parts.path.startswith("/data/")
    local = parse_qs(parts.query).get("d", [""])[0]
    file = local or (unquote(parts.path) if is_remote else address)
    if PurePosixPath(file).suffix.lower() not in AUDIO_SUFFIXES:
        return ""
    if is_remote and not local:
        return _UPLOAD_PREFIX.sub("", PurePosixPath(file).name)
    return file
