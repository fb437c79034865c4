"""The whole training on a miniature, to a folder that serves."""

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from ser_core.errors import OutputError
from ser_core.model.manifest import Certainty, Manifest
from ser_core.model.saved_model import save_servable
from ser_core.paths import DRAFT
from ser_core.predictor import Predictor
from ser_lab.data.splits import SpeakerSplit
from ser_lab.evaluate.shipped import evaluate_test
from ser_lab.metrics import find_certainty, fit_temperature
from ser_lab.report.model_card import is_model_folder
from ser_lab.ship import retest, train_and_export
from ser_lab.train.recipes.lstm import LstmRecipe, TrainConfig
from tests.conftest import ROOT
from tests.test_paths import tree

SPLIT = SpeakerSplit(test=("ravdess/01",), development=("ravdess/02",))


@pytest.fixture(scope="module")
def trained(
    miniature: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Manifest]:
    """Model folder, run folder and manifest of two epochs, two seeds."""
    folder, runs = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("runs")
    recipe = LstmRecipe(split=SPLIT, training=TrainConfig(epochs=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(tmp_path_factory.mktemp("cache")))
        manifest = train_and_export(recipe, miniature, folder, seeds=(0, 1), runs=runs)
    return folder, runs, manifest


def test_the_folder_serves(trained: tuple[Path, Path, Manifest], babble: np.ndarray) -> None:
    prediction = Predictor.from_folder(trained[0]).predict((16_000, babble))
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-5)


def test_the_manifest_holds_what_was_measured(
    trained: tuple[Path, Path, Manifest], miniature: Path
) -> None:
    folder, _, manifest = trained
    assert Manifest.read(folder) == manifest
    test = manifest.metrics["test"]
    scores, answers = evaluate_test(Predictor.from_folder(folder), miniature)
    assert (test["n_clips"], len(answers)) == (8, 8)
    assert test["uar"] == scores.uar
    assert test["seed_uars"][str(manifest.seed)] == pytest.approx(scores.uar)
    assert set(answers["speaker"]) == {"ravdess/01"}


def test_the_run_leaves_log_checkpoint_and_table(trained: tuple[Path, Path, Manifest]) -> None:
    _, runs, _ = trained
    for seed in (0, 1):
        log = pd.read_csv(runs / f"seed-{seed}" / "log.csv")
        assert list(log["epoch"]) == [0, 1]
        keras.models.load_model(runs / f"seed-{seed}" / "best.keras")
    table = pd.read_csv(runs / "clips.csv")
    assert table["split"].value_counts().to_dict() == {"train": 30, "development": 8, "test": 8}
    ravdess = table[table["corpus"] == "ravdess"]
    codes = {"repetition": "first", "modality": "audio-only", "channel": "speech"}
    assert (ravdess[[*codes]] == pd.Series(codes)).all(axis=None)


def test_the_card_and_its_pictures_are_there(trained: tuple[Path, Path, Manifest]) -> None:
    folder, _, manifest = trained
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"**{manifest.metrics['test']['uar']:.1%}**" in card
    assert "license: cc-by-nc-sa-4.0" in card
    for picture in ("curves", "calibration", "confusion_test", "confusion_development", "network"):
        assert f"figures/{picture}.png" in card
        assert (folder / "figures" / f"{picture}.png").stat().st_size > 5_000
    summary = (folder / "figures" / "summary.txt").read_text(encoding="utf-8")
    assert f"Trainable params: {manifest.n_parameters:,}" in summary
    assert is_model_folder(folder)


def test_a_model_that_cannot_be_written_leaves_the_old_one(
    trained: tuple[Path, Path, Manifest],
    miniature: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, before = trained[0], tree(trained[0])
    recipe = LstmRecipe(split=SPLIT, training=TrainConfig(epochs=1))

    def fill(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("ser_lab.ship.write_card", fill)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        train_and_export(recipe, miniature, folder, seeds=(0,), runs=tmp_path)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        retest(folder, miniature)
    assert tree(folder) == before
    assert not list(folder.parent.glob(f"{DRAFT}*"))


def test_a_savedmodel_that_does_not_fit_on_the_disk_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object, **__: object) -> None:
        raise tf.errors.OutOfRangeError(None, None, "{{node}} /x/data; File too large [Op:SaveV2]")

    monkeypatch.setattr(tf.saved_model, "save", fill)
    with pytest.raises(OSError, match=r"^File too large$"):
        save_servable(SimpleNamespace(serve=None), tmp_path)


def test_only_a_model_folder_without_other_files_may_be_replaced(
    trained: tuple[Path, Path, Manifest], miniature: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained[0], folder)
    assert is_model_folder(folder)
    for name in ("notes.txt", "figures/mine.png", "saved_model/mine/x"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
        with pytest.raises(OutputError, match="was not written by this command"):
            train_and_export(LstmRecipe(), miniature, folder, seeds=(0,), runs=tmp_path / "runs")
        (folder / name).unlink()
    (folder / "manifest.json").unlink()
    assert not is_model_folder(folder)


@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_the_bundled_models_may_be_replaced(name: str) -> None:
    assert is_model_folder(ROOT / "model" / name)


def test_temperature_undoes_a_known_sharpening() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 8))
    truth = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    assert fit_temperature(3 * logits, truth) == pytest.approx(3.0, rel=0.05)


def test_certain_answers_reach_the_precision_and_are_as_many_as_can_be() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    certainty = find_certainty(probabilities, np.array([0, 1, 0, 1]), precision=0.6)
    assert certainty == Certainty(confidence=0.7, precision=pytest.approx(2 / 3), share=0.75)
    nothing = find_certainty(probabilities, np.ones(4, int), precision=0.6)
    assert nothing == Certainty(confidence=1.0, precision=1.0, share=0.0)
