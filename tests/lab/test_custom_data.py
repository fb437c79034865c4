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
from ser_core.score import ScoreConfig, Task, Worker, open_output, read_parts
from ser_core.score.sources import Files
from ser_core.web import drawing, words
from ser_lab.data.protocols import PROTOCOLS
from ser_lab.data.splits import is_table
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


def test_an_unreadable_clip_of_any_speaker_is_left_out_before_the_first_epoch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = write_table(tmp_path)
    with table.open("a", newline="") as stream:
        for speaker in SPEAKERS:
            broken = tmp_path / speaker / "broken.wav"
            broken.write_bytes(b"no sound")
            csv.writer(stream).writerow((f"{speaker}/broken.wav", "bored", speaker))
        csv.writer(stream).writerow(("Ada/broken.txt", "bored", "Zoe"))  # has no other
        (tmp_path / "Ada" / "broken.txt").write_bytes(b"")
    recipe = custom_recipe(LstmRecipe(training=TrainConfig(epochs=1)), table)
    told = [message for message in caplog.messages if "is left out" in message]
    assert len(told) == 6
    assert "broken.wav is left out: We couldn't read broken.wav" in told[0]
    assert "shop/Zoe" not in (*recipe.split.test, *recipe.split.development)
    train(table, tmp_path / "model")
    manifest = Manifest.read(tmp_path / "model")
    assert manifest.metrics["test"]["n_clips"] == 6
    assert "broken" not in (tmp_path / "runs" / "clips.csv").read_text()


def test_too_few_readable_clips_are_refused_before_the_first_epoch(tmp_path: Path) -> None:
    table = write_table(tmp_path)
    for clip in [*(tmp_path / "Ada").iterdir(), *(tmp_path / "Bo").iterdir()]:
        clip.write_bytes(b"no sound")
    custom_recipe(LstmRecipe(), table)
    for clip in (tmp_path / "Cleo").iterdir():
        clip.write_bytes(b"no sound")
    with pytest.raises(CorpusError, match="2 speakers; at least 3 are needed"):
        custom_recipe(LstmRecipe(), table)
    for clip in tmp_path.rglob("*.wav"):
        clip.write_bytes(b"no sound")
    with pytest.raises(CorpusError, match="None of 30 recordings can be read"):
        custom_recipe(LstmRecipe(), table)


def test_labels_named_like_columns_do_not_replace_them(tmp_path: Path) -> None:
    table = write_table(tmp_path)
    text = table.read_text()
    for label, name in zip(LABELS, ("statement", "confidence", "error"), strict=True):
        text = text.replace(f",{label},", f",{name},")
    table.write_text(text)
    train(table, tmp_path / "model")
    predictor = Predictor.from_folder(tmp_path / "model")
    assert predictor.labels == ("confidence", "error", "statement")
    _, answers = evaluate_test(predictor, table)
    assert answers.columns.is_unique
    assert answers["p_statement"].between(0, 1).all()
    assert (answers["statement"] == "").all()
    output = open_output(str(tmp_path / "out"), predictor.manifest, ScoreConfig())
    Worker(lambda: predictor, output, ScoreConfig()).run(Task(Files((f"{tmp_path}/Bo/0-0.wav",))))
    ((_, rows),) = read_parts(output.address)
    assert rows is not None
    assert rows[0]["error"] is None
    assert rows[0]["confidence"] == max(rows[0][f"p_{label}"] for label in predictor.labels)
    table = CliRunner().invoke(
        app, ["predict", f"{tmp_path}/Bo/0-0.wav", "--csv", "--model", f"{tmp_path}/model"]
    )
    header = table.output.splitlines()[0].split(",")
    assert header[3:8] == ["certain", "intensity", "p_confidence", "p_error", "p_statement"]


@pytest.mark.parametrize("name", ["shop.tsv", "shop.xlsx", "shop"])
def test_other_files_than_csv_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("path\tlabel\tspeaker\n")
    with pytest.raises(CorpusError, match=r"neither a folder of corpora nor a \.csv table"):
        is_table(path)


def test_a_table_that_is_not_the_models_is_refused_with_what_was_expected(
    trained: tuple[Path, Path], predictor: Predictor, tmp_path: Path
) -> None:
    table, model = trained
    renamed = Path(shutil.copy(table, table.with_name("renamed.csv")))
    custom = Predictor.from_folder(model)
    with pytest.raises(CorpusError, match=r"clips of shop are needed.* Name shop\.csv with --data"):
        evaluate_test(custom, renamed)
    with pytest.raises(CorpusError, match=r"'shop' is not a corpus.* name shop\.csv with --data"):
        evaluate_test(custom, tmp_path)
    with pytest.raises(CorpusError, match="Name the folder that contains crema-d with --data"):
        evaluate_test(predictor, table)


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
