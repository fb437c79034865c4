"""Shipped models under a protocol: only on voices that they do not know."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ser_core.errors import ModelError
from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_lab.data.protocols import PROTOCOLS
from ser_lab.data.splits import CREMA_D_SPLIT, SHIPPED_SPLIT
from ser_lab.evaluate.shipped import check_unseen, evaluate_model
from tests.lab.trees import CREMA_D_CODES, write_tree


def manifest(*corpora: str) -> SimpleNamespace:
    """A model that learned from some corpora and holds out what shipped models hold out."""
    return SimpleNamespace(
        name="small",
        version="1.2",
        seed=5,
        commit="abc",
        files={"weights": "0" * 64},
        corpora=[{"name": corpus} for corpus in corpora],
        split={
            "test": [*SHIPPED_SPLIT.test, *CREMA_D_SPLIT.test],
            "development": [*SHIPPED_SPLIT.development, *CREMA_D_SPLIT.development],
        },
    )


class NamePredictor:
    """Reads the emotion of a CREMA-D clip from its name, and takes disgust for anger."""

    labels = LABELS

    def __init__(self, *corpora: str) -> None:
        self.manifest = manifest(*corpora)

    def predict(self, path: Path) -> Prediction:
        emotion = CREMA_D_CODES[path.stem.split("_")[2]]
        heard = "angry" if emotion == "disgust" else emotion
        return Prediction.from_probabilities(np.eye(8)[LABELS.index(heard)], LABELS)


def test_a_model_is_measured_on_actors_that_it_holds_out(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data")
    predictor = NamePredictor("ravdess", "crema-d")
    runs = tmp_path / "runs"
    summary = evaluate_model(predictor, PROTOCOLS["crema-d"], tree, runs_folder=runs)
    assert (summary["recipe"], summary["seeds"]) == ("small-shipped", [5])
    assert summary["n_clips"] == 19 * 6
    assert summary["uar"]["mean"] == pytest.approx(5 / 6, abs=1e-5)
    assert summary["settings"]["files"] == predictor.manifest.files
    assert (runs / "crema-d" / "small-shipped" / "seed-5" / "actors.json").is_file()


def test_a_corpus_that_a_model_never_met_needs_no_holding_out(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data")
    predictor = NamePredictor("ravdess", "tess")
    predictor.manifest.split = {"test": [], "development": []}
    summary = evaluate_model(predictor, PROTOCOLS["crema-d"], tree, runs_folder=tmp_path)
    assert summary["uar"]["mean"] == pytest.approx(5 / 6, abs=1e-5)


def test_a_test_on_voices_that_a_model_knows_is_refused_by_name(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data")
    with pytest.raises(ModelError) as refused:
        evaluate_model(
            NamePredictor("ravdess"), PROTOCOLS["ravdess-6fold"], tree, runs_folder=tmp_path
        )
    message = str(refused.value)
    assert (
        "small 1.2 was trained on 20 test speakers of ravdess-6fold: ravdess/02, ravdess/03"
        in message
    )
    assert "ravdess/08" in message  # developed on is known, too
    assert all(speaker not in message for speaker in SHIPPED_SPLIT.test)
    assert "--recipe" in message
    assert not (tmp_path / "ravdess-6fold").exists()


def test_who_was_heard_singing_is_known() -> None:
    check_unseen(manifest("tess"), ["ravdess/02"], "any")
    with pytest.raises(ModelError, match="was trained on 1 test speakers of any: ravdess/02"):
        check_unseen(manifest("ravdess-song"), ["ravdess/01", "ravdess/02"], "any")
