"""Shipped models: figures by corpus, protocols with unseen speakers, and the bundled models."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard

from ser_core.errors import ModelError
from ser_core.labels import LABELS
from ser_core.model.manifest import Manifest
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor
from ser_lab.data.protocols import PROTOCOLS
from ser_lab.data.splits import CREMA_D_SPLIT, SHIPPED_SPLIT
from ser_lab.evaluate.shipped import (
    check_unseen,
    evaluate_model,
    held_out_clips,
    predict_files,
    reproduce_command,
    scores_by_corpus,
)
from ser_lab.metrics import compute_scores
from ser_lab.report.model_card import CARD, RUNS, write_card
from tests.conftest import ROOT
from tests.lab.trees import CREMA_D_CODES, write_tree

N_CLIPS = 200
MODELS = ROOT / "model"


def test_each_tested_corpus_has_figures_over_its_emotions() -> None:
    answers = pd.DataFrame(np.full((3, 8), 0.01), columns=list(LABELS))
    answers["corpus"] = ["ravdess", "crema-d", "crema-d"]
    answers["sex"] = ["female", "male", "female"]
    answers["emotion"] = ["calm", "sad", "angry"]
    answers.loc[0, "calm"] = answers.loc[1, "calm"] = answers.loc[2, "angry"] = 0.9
    answers.loc[1, "sad"] = 0.05
    scores = scores_by_corpus(answers)
    assert list(scores) == ["ravdess", "crema-d"]
    assert (scores["ravdess"].n_clips, scores["crema-d"].n_clips) == (1, 2)
    assert "calm" not in scores["crema-d"].per_emotion
    assert scores["crema-d"].uar == 1.0  # no calm in CREMA-D: sad is the likeliest left
    by_sex = scores_by_corpus(answers, by_sex=True)
    assert list(by_sex) == ["ravdess, female", "crema-d, male", "crema-d, female"]


@pytest.mark.parametrize("name", ["accurate", "compact"])
def test_a_bundled_model_is_reproduced_by_its_name(name: str) -> None:
    bundled = SimpleNamespace(name=name)
    again = reproduce_command(bundled, Path("model", name), Path("data"))
    assert again == f"python -m ser_core evaluate test --model {name}"


def test_any_other_model_is_reproduced_by_its_folder() -> None:
    baseline = SimpleNamespace(name="lstm")
    again = reproduce_command(baseline, Path("runs/lstm/my model"), Path("data"))
    assert again == "python -m ser_core evaluate test --model 'runs/lstm/my model'"


def manifest(*corpora: str) -> SimpleNamespace:
    """A manifest of a model trained on some corpora, with the test speakers of shipped models."""
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
    """Predicts the emotion in the name of a CREMA-D clip, and angry for disgust."""

    labels = LABELS

    def __init__(self, *corpora: str) -> None:
        self.manifest = manifest(*corpora)

    def predict(self, path: Path) -> Prediction:
        emotion = CREMA_D_CODES[path.stem.split("_")[2]]
        predicted = "angry" if emotion == "disgust" else emotion
        return Prediction.from_probabilities(np.eye(8)[LABELS.index(predicted)], LABELS)


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


def test_a_corpus_that_a_model_was_not_trained_on_is_unseen(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data")
    predictor = NamePredictor("ravdess", "tess")
    predictor.manifest.split = {"test": [], "development": []}
    summary = evaluate_model(predictor, PROTOCOLS["crema-d"], tree, runs_folder=tmp_path)
    assert summary["uar"]["mean"] == pytest.approx(5 / 6, abs=1e-5)


def test_a_test_on_training_speakers_is_refused_by_name(tmp_path: Path) -> None:
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
    assert "ravdess/08" in message  # development speakers are seen, too
    assert all(speaker not in message for speaker in SHIPPED_SPLIT.test)
    assert "--recipe" in message
    assert not (tmp_path / "ravdess-6fold").exists()


def test_speakers_of_song_are_seen() -> None:
    check_unseen(manifest("tess"), ["ravdess/02"], "any")
    with pytest.raises(ModelError, match="was trained on 1 test speakers of any: ravdess/02"):
        check_unseen(manifest("ravdess-song"), ["ravdess/01", "ravdess/02"], "any")


@pytest.mark.needs_data
@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_the_serving_pipeline_has_the_figure_of_the_card(
    name: str,
    data: Path,
    whisper_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(whisper_weights))
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path))
    predictor = Predictor.from_folder(MODELS / name)
    clips = held_out_clips(predictor.manifest, data)
    clips = clips[clips["corpus"] == "ravdess"].sample(N_CLIPS, random_state=0)
    probabilities = predict_files(predictor, [Path(path) for path in clips["path"]])
    truth = np.array([LABELS.index(emotion) for emotion in clips["emotion"]])
    stated = predictor.manifest.metrics["test"]["by_corpus"]["ravdess"]["uar"]
    assert compute_scores(truth, probabilities, LABELS).uar == pytest.approx(stated, abs=0.03)


def test_no_bundled_model_was_trained_on_test_speakers_of_the_other() -> None:
    held_out = [set(Manifest.read(MODELS / n).split["test"]) for n in ("compact", "accurate")]
    assert held_out[0] <= held_out[1]


@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_a_committed_card_is_the_one_that_its_manifest_gives(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(MODELS / name, tmp_path / name)
    write_card(folder, runs=ROOT / RUNS)
    card = (folder / CARD).read_text(encoding="utf-8")
    assert (MODELS / name / CARD).read_text(encoding="utf-8") == card
    # On the Hub "keras" is Keras 3 and its .keras files, "tf-keras" the Keras 2 of TensorFlow.
    assert "\nlibrary_name: keras\n" in card
    assert list(folder.glob("*.keras"))


@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_the_hub_reads_task_labels_and_figures_of_a_card(name: str) -> None:
    data = ModelCard.load(MODELS / name / CARD).data
    manifest = Manifest.read(MODELS / name)
    assert data.pipeline_tag == "audio-classification"
    assert data.labels == list(manifest.labels)
    assert data.model_name == f"MoodMirror {name}"
    found = {(r.dataset_type, r.metric_type): r.metric_value for r in data.eval_results}
    for corpus, part in manifest.metrics["test"]["by_corpus"].items():
        assert found[corpus, "recall"] == pytest.approx(part["uar"], abs=1e-4)
        assert found[corpus, "accuracy"] == pytest.approx(part["war"], abs=1e-4)


def test_the_bundled_parts_are_small() -> None:
    assert _size(MODELS / "compact") <= 12_000_000
    assert (MODELS / "accurate" / "head.keras").stat().st_size <= 4_000_000


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
