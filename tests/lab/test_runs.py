"""Recipes of known answers through protocols: figures by hand, records, going on after a stop."""

import json
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.errors import SerError
from ser_core.labels import LABELS
from ser_lab.data.protocols import PROTOCOLS, Fold, Run
from ser_lab.data.splits import RAVDESS_FOLDS, list_clips
from ser_lab.evaluate.records import FoldRecord, read_json
from ser_lab.evaluate.runs import fold_key, majority, run_protocol
from ser_lab.reproduce.recipes import RECIPES
from ser_lab.reproduce.record import read_records
from ser_lab.train.recipes import find_recipe
from ser_lab.train.recipes.lstm import LstmRecipe
from tests.conftest import ROOT
from tests.lab.trees import KnownRecipe, write_tree, write_votes

SIX_FOLDS = PROTOCOLS["ravdess-6fold"]
EACH_FOLD = [f"fold-{i}" for i in range(1, 7)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("tree"))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def confuse_angry_with_happy(emotion: str, seed: int) -> str:
    """With seed 1, sad as calm, too."""
    return {"angry": "happy"}.get(emotion, "calm" if (emotion, seed) == ("sad", 1) else emotion)


def test_figures_are_those_counted_by_hand(tree: Path, tmp_path: Path) -> None:
    recipe = KnownRecipe(confuse_angry_with_happy)
    summary = run_protocol(SIX_FOLDS, recipe, tree, seeds=(0, 1), runs_folder=tmp_path)
    assert summary["uar"]["by_seed"] == {"0": 7 / 8, "1": 6 / 8}
    assert summary["uar"]["mean"] == summary["war"]["mean"] == 13 / 16
    assert summary["uar"]["sd"] == pytest.approx(1 / 8 / np.sqrt(2), abs=1e-5)
    # An emotion is wholly right or wrong, so that only its share of the draw can vary.
    assert summary["uar"]["interval"] == [13 / 16, 13 / 16]
    low, high = summary["war"]["interval"]
    assert 0.70 < low < 13 / 16 < high < 0.90
    assert summary["ece"]["by_seed"] == pytest.approx({"0": 0.075, "1": 0.05}, abs=2e-5)
    assert (summary["n_clips"], summary["n_speakers"]) == (192, 24)
    assert summary["per_emotion"]["happy"] == {
        "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3, abs=1e-5), "support": 24,
    }  # fmt: skip
    assert summary["per_emotion"]["sad"]["recall"] == 0.5
    sad, calm = LABELS.index("sad"), LABELS.index("calm")
    assert summary["confusion"][sad][calm] == summary["confusion"][sad][sad] == 24
    assert [b["n_clips"] for b in summary["calibration"]] == [2 * 192]
    assert set(summary["by_fold"]) == set(EACH_FOLD)
    assert summary["by_sex"]["female"] == {
        "uar": 13 / 16, "war": 13 / 16, "ece": pytest.approx(0.0625, abs=2e-5), "n_clips": 96,
    }  # fmt: skip


def test_folds_are_pooled_before_the_mean_over_emotions(tree: Path, tmp_path: Path) -> None:
    class DeafInOneFold(KnownRecipe):
        def fit_predict(self, table: pd.DataFrame, fold: Fold, run: Run) -> np.ndarray:
            answers = super().fit_predict(table, fold, run)
            return np.roll(answers, 1, axis=1) if fold.name == "fold-1" else answers

    summary = run_protocol(SIX_FOLDS, DeafInOneFold(), tree, seeds=(0,), runs_folder=tmp_path)
    assert summary["uar"]["mean"] == pytest.approx(20 / 24, abs=1e-5)
    assert summary["uar"]["sd"] is None
    assert (summary["by_fold"]["fold-1"]["uar"], summary["by_fold"]["fold-2"]["uar"]) == (0, 1)


def test_unseen_corpora_count_alike_however_large(tree: Path, tmp_path: Path) -> None:
    def hear(emotion: str, _: int) -> str:
        return "calm" if emotion == "surprised" else emotion

    protocol = PROTOCOLS["cross-corpus"]
    summary = run_protocol(protocol, KnownRecipe(hear), tree, seeds=(0,), runs_folder=tmp_path)
    by_corpus = {name: row["uar"] for name, row in summary["by_corpus"].items()}
    # Calm is not scored here: an even answer among the seven, and neutral comes first.
    seven = pytest.approx(6 / 7, abs=1e-5)
    assert by_corpus == {"tess": seven, "ravdess": seven, "crema-d": 1.0}
    assert summary["uar"]["mean"] == pytest.approx((2 * 6 / 7 + 1) / 3, abs=1e-5)
    assert "calm" not in summary["classes"]


def test_crema_d_is_compared_with_the_listeners_too(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    tree = write_tree(tmp_path_factory.mktemp("voted"))

    def vote(name: str) -> dict[str, int]:
        """Vote sad for fear, and tie on disgust."""
        emotion = {"FEA": {"sad": 3}, "DIS": {"sad": 2, "angry": 2}, "HAP": {"happy": 4}}
        return emotion.get(name.split("_")[2], {"neutral": 1})

    write_votes(tree, vote)
    summary = run_protocol(
        PROTOCOLS["crema-d"], KnownRecipe(), tree, seeds=(0,), runs_folder=tmp_path
    )
    assert summary["uar"]["mean"] == 1.0
    # sad: majority of 19 fearful clips, none predicted so; happy 19 of 19; neutral 19 of 57.
    assert summary["listeners"]["mean"] == pytest.approx((0 + 1 + 1 / 3) / 3, abs=1e-5)
    assert summary["listeners"]["n_clips"] == 19 * 5


def test_a_majority_needs_one_favourite() -> None:
    votes = pd.DataFrame({"angry": [3, 2, None], "sad": [1, 2, 5]}, index=["clear", "tied", "half"])
    assert majority(votes).to_dict() == {
        "clear": LABELS.index("angry"),
        "half": LABELS.index("sad"),
    }


def test_an_interrupted_run_resumes(tree: Path, tmp_path: Path) -> None:
    stopped = KnownRecipe(stop_before=2)
    with pytest.raises(KeyboardInterrupt):
        run_protocol(SIX_FOLDS, stopped, tree, seeds=(0,), runs_folder=tmp_path)
    assert not list(tmp_path.rglob("summary.json"))
    again = KnownRecipe()
    resumed = run_protocol(SIX_FOLDS, again, tree, seeds=(0,), runs_folder=tmp_path)
    assert again.trained == [(name, 0) for name in EACH_FOLD[2:]]
    fresh = run_protocol(SIX_FOLDS, KnownRecipe(), tree, seeds=(0,), runs_folder=tmp_path / "new")
    assert resumed | {"wall_s": 0} == fresh | {"wall_s": 0}


def test_other_settings_or_other_clips_train_again(tree: Path, tmp_path: Path) -> None:
    for recipe, expected in (
        (KnownRecipe(), 6),
        (KnownRecipe(), 0),
        (KnownRecipe(settings={"version": 2}), 6),
        (KnownRecipe(settings={"version": 2}, corpora=("tess",)), 6),
    ):
        run_protocol(SIX_FOLDS, recipe, tree, seeds=(0,), runs_folder=tmp_path)
        assert len(recipe.trained) == expected
    more = KnownRecipe(settings={"version": 2}, corpora=("tess",))
    run_protocol(SIX_FOLDS, more, tree, seeds=(0, 1), runs_folder=tmp_path)
    assert more.trained == [(name, 1) for name in EACH_FOLD]


def test_a_record_states_how_it_was_made_and_not_where(tree: Path, tmp_path: Path) -> None:
    run_protocol(SIX_FOLDS, KnownRecipe(), tree, seeds=(3,), runs_folder=tmp_path)
    path = tmp_path / "ravdess-6fold" / "known" / "seed-3" / "fold-1.json"
    stored = json.loads(path.read_text())
    assert (stored["seed"], stored["settings"]) == (3, {"version": 1})
    assert set(stored["machine"]) == {"cpu", "cores", "python", "tensorflow", "keras"}
    assert stored["rows"][0][:3] == ["03-01-01-01-01-01-01", 0, 0]
    assert stored["rows"][0][3:] == [80_000] + [2_857] * 7
    assert str(tree) not in path.read_text()
    record = FoldRecord.read(path)
    assert set(record.answers["speaker"]) == {f"ravdess/{actor}" for actor in RAVDESS_FOLDS[0]}
    assert dict(zip(record.answers["speaker"], record.answers["sex"], strict=True)) == {
        "ravdess/01": "male", "ravdess/11": "male", "ravdess/20": "female", "ravdess/21": "male",
    }  # fmt: skip


def test_a_record_of_a_thousand_clips_stays_small(tmp_path: Path) -> None:
    n_clips = 1_440
    random = np.random.default_rng(0)
    answers = pd.DataFrame(random.dirichlet(np.ones(8), n_clips), columns=list(LABELS))
    answers = answers.assign(
        clip=[f"03-01-01-01-01-{i:05d}" for i in range(n_clips)],
        speaker="ravdess/01",
        sex="male",
        truth="sad",
    )
    record = FoldRecord(
        key="", protocol="", fold="", recipe="", settings={}, seed=0, classes=LABELS, commit="",
        machine={}, wall_s=0.0, n_train=0, n_development=0, answers=answers,
    )  # fmt: skip
    record.write(tmp_path / "record.json")
    assert (tmp_path / "record.json").stat().st_size < 200_000
    kept = FoldRecord.read(tmp_path / "record.json").answers
    np.testing.assert_allclose(kept[list(LABELS)], answers[list(LABELS)], atol=5.1e-6)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_damaged_record_is_told_with_its_remedy(text: str, tmp_path: Path) -> None:
    path = tmp_path / "fold-1.json"
    path.write_text(text)
    with pytest.raises(SerError, match=r"fold-1\.json .* Delete it"):
        FoldRecord.read(path)


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 8)), np.full((32, 8), 0.2), np.full((32, 8), np.nan)]
)
def test_rows_that_are_not_probabilities_are_a_bug(
    wrong: np.ndarray, tree: Path, tmp_path: Path
) -> None:
    class Wrong(KnownRecipe):
        def fit_predict(self, *_: object) -> np.ndarray:
            return wrong

    with pytest.raises(ValueError, match="known returned"):
        run_protocol(SIX_FOLDS, Wrong(), tree, seeds=(0,), runs_folder=tmp_path)


def test_an_unknown_recipe_is_named_with_those_known() -> None:
    with pytest.raises(SerError, match="'gmm' is not a recipe; known: lstm"):
        find_recipe("gmm")


def test_the_baseline_trains_on_a_fold_and_predicts_each_test_clip(
    miniature: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path / "cache"))
    table = list_clips(miniature, ("ravdess", "tess"))
    silent = tmp_path / "03-01-01-01-01-01-01.wav"
    silent.write_bytes(b"no sound")
    speaker = table["speaker"]
    fold = Fold(
        "fold-1",
        train=np.flatnonzero(speaker.isin(["ravdess/03", "ravdess/04", "tess/OAF", "tess/YAF"])),
        development=np.flatnonzero(speaker == "ravdess/02"),
        test=np.flatnonzero(speaker == "ravdess/01"),
        classes=LABELS,
    )
    table.loc[fold.test[0], "path"] = silent
    baseline = LstmRecipe()
    short = replace(baseline, training=replace(baseline.training, epochs=1))
    run = Run(miniature, 0, tmp_path / "run")
    answers = short.fit_predict(table, fold, run)
    assert answers.shape == (8, 8)
    np.testing.assert_allclose(answers.sum(axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(answers[0], 1 / 8)
    assert np.ptp(answers[1]) > 1e-3
    assert (run.folder / "log.csv").exists()
    assert json.loads(json.dumps(short.settings))["training"]["epochs"] == 1


RECORDS = ROOT / "docs" / "runs"


@pytest.mark.needs_data
@pytest.mark.parametrize("recipe", ["accurate", "compact"])
@pytest.mark.parametrize("protocol", ["crema-d", "cross-corpus", "ravdess-6fold", "ravdess-5fold"])
def test_a_committed_record_has_the_key_that_would_be_computed_today(
    protocol: str, recipe: str, data: Path
) -> None:
    measured, system = PROTOCOLS[protocol], find_recipe(recipe)
    table = list_clips(data, dict.fromkeys((*measured.corpora, *system.corpora)))
    stored = [read_json(path) for path in (RECORDS / protocol / recipe).glob("seed-*/*.json")]
    assert stored
    for record in stored:
        folds = {fold.name: fold for fold in measured.folds(table, seed=record["seed"])}
        fold = folds[record["fold"]]
        assert fold_key(measured, system, table, fold, seed=record["seed"]) == record["key"]


def test_a_committed_reproduction_has_the_settings_that_its_recipe_has_today() -> None:
    records = [r for r in read_records(RECORDS) if "subset" not in r.settings]
    assert records
    for record in records:
        assert record.settings == json.loads(json.dumps(RECIPES[record.name].settings))


def test_every_reproduction_has_three_seeds_both_ways() -> None:
    seeds = defaultdict(set)
    for record in read_records(RECORDS):
        seeds[record.name, record.split].add(record.seed)
    once = {f"{family}-paper-preprocessing" for family in ("lstm", "bilstm")}
    for name, split in product({*RECIPES} - once, ("random", "speaker")):
        assert seeds[name, split] == {0, 1, 2}, (name, split)
