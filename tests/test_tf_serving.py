"""The compact SavedModel, asked as TensorFlow Serving asks it: JSON into its signature.

TensorFlow Serving's REST interface makes of each input a tensor of the signature's type and
answers with the signature's outputs by name, or with the only one without it.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from ser_core.predictor import Predictor
from tests.conftest import ROOT

GUIDE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")


class Served:
    """What TensorFlow Serving does with a folder, without our code."""

    def __init__(self, folder: Path) -> None:
        self._loaded = tf.saved_model.load(str(folder), tags=["serve"])
        self._signature = self._loaded.signatures["serving_default"]

    def answer(self, body: str) -> dict[str, Any]:
        """Answer a request in the column or the row format."""
        request = json.loads(body)
        if "inputs" in request:
            outputs = self._run(request["inputs"])
            return {"outputs": outputs if len(outputs) > 1 else outputs["probabilities"]}
        names = request["instances"][0]
        columns = {name: [row[name] for row in request["instances"]] for name in names}
        outputs = self._run(columns)
        if len(outputs) == 1:
            return {"predictions": outputs["probabilities"]}
        rows = zip(*outputs.values(), strict=True)
        return {"predictions": [dict(zip(outputs, row, strict=True)) for row in rows]}

    def _run(self, inputs: dict[str, Any]) -> dict[str, list[Any]]:
        specs = self._signature.structured_input_signature[1]
        assert set(inputs) == set(specs)
        tensors = {name: tf.constant(inputs[name], dtype=specs[name].dtype) for name in specs}
        outputs = self._signature(**tensors)
        return {name: output.numpy().tolist() for name, output in outputs.items()}


def probabilities_in(answer: dict[str, Any]) -> np.ndarray:
    """The probabilities of each window in an answer of either format."""
    found = answer.get("outputs", answer.get("predictions"))
    if isinstance(found, dict):
        found = found["probabilities"]
    return np.array([row["probabilities"] if isinstance(row, dict) else row for row in found])


@pytest.fixture(scope="module")
def served(bundled_model: Path) -> Served:
    return Served(bundled_model / "saved_model")


def documented_request(clip: Path) -> str:
    """What the guide's own code makes of a clip."""
    (code,) = re.findall(r"```python\n(import json.+?)```", GUIDE, re.S)
    names: dict[str, Any] = {}
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        exec(code.replace('"clip.wav"', repr(str(clip))), names)
    finally:
        os.chdir(here)
    return str(names["request"])


@pytest.mark.parametrize("clip", ["synthetic-angry.flac", "synthetic-calm-to-angry.flac"])
def test_the_documented_request_gets_the_apps_answer(
    served: Served, bundled_model: Path, examples: Path, clip: str
) -> None:
    answer = json.loads(json.dumps(served.answer(documented_request(examples / clip))))
    expected = Predictor.from_folder(bundled_model).predict(examples / clip)
    mean = probabilities_in(answer).mean(axis=0)
    np.testing.assert_allclose(mean, expected.probabilities, atol=1e-5)


def test_rows_and_columns_get_the_same_answer(served: Served, examples: Path) -> None:
    request = documented_request(examples / "synthetic-calm-to-angry.flac")
    inputs = json.loads(request)["inputs"]
    rows = [
        {"features": features, "n_frames": n_frames}
        for features, n_frames in zip(inputs["features"], inputs["n_frames"], strict=True)
    ]
    assert len(rows) > 1
    by_rows = probabilities_in(served.answer(json.dumps({"instances": rows})))
    np.testing.assert_allclose(by_rows, probabilities_in(served.answer(request)), atol=1e-6)
