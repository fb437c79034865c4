"""Somebody's own recordings and labels, from a table to a model that serves."""

import csv
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ser_core.cli import app
from ser_core.errors import CorpusError, ModelError
from ser_core.model.manifest import Manifest
from ser_core.predictor import Predictor
from ser_core.web import drawing, words
from ser_lab.data.protocols import PROTOCOLS
from ser_lab.evaluate.shipped import check_unseen, evaluate_model, evaluate_test
from ser_lab.ship import train_and_export
from ser_lab.train.recipes import custom_recipe, find_recipe, split_speakers
from ser_lab.train.recipes.compact import CompactRecipe
from ser_lab.train.recipes.lstm import LstmRecipe, TrainConfig
from tests.lab.conftest import write_clip

LABELS = ("sad", "bored", "in a hurry")
SPEAKERS = ("Ada", "Bo", "Cleo", "Dan", "Eve")


def write_table(folder: Path, speakers: tuple[str, ...] = SPEAKERS) -> Path:
    """Two recordings a speaker and label."""
    rows = [("path", "label", "speaker")]
    for i, speaker in enumerate(speakers):
        for j, label in enumerate(LABELS):
            for take in range(2):
                path = folder / speaker / f"{j}-{take}.wav"
                write_clip(path, 10 * i + j)
                rows.append((str(path.relative_to(folder)), label, speaker))
    table = folder / "shop.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return table


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Table and model folder of two epochs."""
    root = tmp_path_factory.mktemp("own")
    table = write_table(root)
    train(table, root / "model")
    return table, root / "model"


def train(table: Path, folder: Path) -> None:
    """Two epochs of the baseline."""
    recipe = LstmRecipe(training=TrainConfig(epochs=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(table.parent / "cache"))
        custom = custom_recipe(recipe, table)
        train_and_export(custom, table, folder, seeds=(0,), runs=table.parent / "runs")


def test_it_answers_with_the_labels_of_the_table(trained: tuple[Path, Path]) -> None:
    table, folder = trained
    prediction = Predictor.from_folder(folder).predict(table.parent / "Ada" / "0-0.wav")
    assert prediction.labels == LABELS
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-5)
    page = drawing.bars(prediction)
    assert "in a hurry" in page
    assert words.sentence(prediction)


def test_its_figures_are_of_a_speaker_whom_it_did_not_hear(trained: tuple[Path, Path]) -> None:
    table, folder = trained
    manifest = Manifest.read(folder)
    (test,), (development,) = manifest.split["test"], manifest.split["development"]
    assert test != development
    scores, answers = evaluate_test(Predictor.from_folder(folder), table)
    assert set(answers["speaker"]) == {test}
    assert manifest.metrics["test"]["uar"] == scores.uar
    (corpus,) = manifest.corpora
    assert (corpus["name"], corpus["n_training_clips"]) == ("shop", 18)
    assert manifest.licence == "other"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "shop.csv" in card
    assert "studios" not in card


def test_the_card_says_how_its_figures_are_repeated(trained: tuple[Path, Path]) -> None:
    table, folder = trained
    manifest = Manifest.read(folder)
    command = f"python -m ser_core evaluate test --model {folder} --data {table}"
    assert f"```\n{command}\n```" in (folder / "README.md").read_text(encoding="utf-8")
    told = CliRunner().invoke(app, shlex.split(command)[3:], catch_exceptions=False)
    assert told.exit_code == 0
    assert f"The model card says UAR {manifest.metrics['test']['uar']:.1%}." in told.output


def test_a_table_that_is_called_like_a_corpus_is_still_ones_own(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    table = Path(shutil.copy(trained[0], trained[0].with_name("ravdess.csv")))
    train(table, tmp_path / "model")
    manifest = Manifest.read(tmp_path / "model")
    (corpus,) = manifest.corpora
    assert (corpus["title"], corpus["citation"]) == ("Recordings of a table, ravdess.csv", "")
    assert (corpus["licence"], manifest.licence) == ("other", "other")
    (figures,) = manifest.metrics["test"]["by_corpus"].values()
    assert set(figures["per_emotion"]) == set(LABELS)
    check_unseen(manifest, ["ravdess/02"], "any")
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "Ryerson" not in card
    assert "studios" not in card


def test_the_protocols_refuse_other_labels(trained: tuple[Path, Path], tmp_path: Path) -> None:
    predictor = Predictor.from_folder(trained[1])
    with pytest.raises(ModelError, match="in a hurry"):
        evaluate_model(predictor, PROTOCOLS["crema-d"], tmp_path, runs_folder=tmp_path)


@pytest.mark.parametrize("name", ["accurate", "compact"])
def test_the_flagships_turn_to_a_table_too(name: str, trained: tuple[Path, Path]) -> None:
    recipe = custom_recipe(find_recipe(name), trained[0])
    assert recipe.labels == LABELS
    assert recipe.corpora == ("shop",)
    assert len(recipe.split.test) == 1
    teacher = recipe.teacher if isinstance(recipe, CompactRecipe) else recipe
    assert not any(plan.corpora for plan in teacher.copies)


def test_what_cannot_be_learned_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="2 speakers; at least 3 are needed"):
        custom_recipe(LstmRecipe(), write_table(tmp_path, ("Ada", "Bo")))
    table = write_table(tmp_path)
    rows = table.read_text().splitlines()
    table.write_text("\n".join(row for row in rows if "sad" in row or "path" in row))
    with pytest.raises(CorpusError, match="only the label sad"):
        custom_recipe(LstmRecipe(), table)
    table.write_text("\n".join(row.replace("bored", "Sad") for row in rows))
    with pytest.raises(CorpusError, match="only by case"):
        custom_recipe(LstmRecipe(), table)
    test = split_speakers(list(SPEAKERS), table).test[0]
    table.write_text(
        "\n".join(row for row in rows if "bored" not in row or row.endswith(f",{test}"))
    )
    with pytest.raises(CorpusError, match="No training speaker has bored"):
        custom_recipe(LstmRecipe(), table)
