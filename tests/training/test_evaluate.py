"""Shipped models under a protocol: only on voices that they do not know."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ser_core.errors import ModelError
from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.training.evaluate import (
    check_unseen,
    evaluate_model,
    repeat_command,
    score_by_corpus,
)
from ser_core.training.protocols import PROTOCOLS
from ser_core.training.splits import CREMA_D_SPLIT, SHIPPED_SPLIT
from tests.training.trees import CREMA_D_CODES, write_tree


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
    assert "small 1.2 knows 20 test speakers of ravdess-6fold: ravdess/02, ravdess/03" in message
    assert "ravdess/08" in message  # developed on is known, too
    assert all(speaker not in message for speaker in SHIPPED_SPLIT.test)
    assert "--recipe" in message
    assert not (tmp_path / "ravdess-6fold").exists()


def test_who_was_heard_singing_is_known() -> None:
    check_unseen(manifest("tess"), ["ravdess/02"], "any")
    with pytest.raises(ModelError, match="knows 1 test speakers of any: ravdess/02"):
        check_unseen(manifest("ravdess-song"), ["ravdess/01", "ravdess/02"], "any")


def test_each_tested_corpus_is_scored_among_its_own_emotions() -> None:
    answers = pd.DataFrame(np.full((3, 8), 0.01), columns=list(LABELS))
    answers["corpus"] = ["ravdess", "crema-d", "crema-d"]
    answers["sex"] = ["female", "male", "female"]
    answers["emotion"] = ["calm", "sad", "angry"]
    answers.loc[0, "calm"] = answers.loc[1, "calm"] = answers.loc[2, "angry"] = 0.9
    answers.loc[1, "sad"] = 0.05
    scores = score_by_corpus(answers)
    assert list(scores) == ["ravdess", "crema-d"]
    assert (scores["ravdess"].n_clips, scores["crema-d"].n_clips) == (1, 2)
    assert "calm" not in scores["crema-d"].per_emotion
    assert scores["crema-d"].uar == 1.0  # no calm in CREMA-D: sad is the likeliest left
    by_sex = score_by_corpus(answers, by_sex=True)
    assert list(by_sex) == ["ravdess, female", "crema-d, male", "crema-d, female"]


@pytest.mark.parametrize("name", ["accurate", "compact"])
def test_a_bundled_model_is_measured_again_by_its_name(name: str) -> None:
    bundled = SimpleNamespace(name=name)
    again = repeat_command(bundled, Path("model", name), Path("data"))
    assert again == f"python -m ser_core evaluate test --model {name}"


def test_any_other_model_is_measured_again_by_its_folder() -> None:
    baseline = SimpleNamespace(name="lstm")
    again = repeat_command(baseline, Path("runs/lstm/my model"), Path("data"))
    assert again == "python -m ser_core evaluate test --model 'runs/lstm/my model'"
