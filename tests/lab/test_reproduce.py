"""The papers' systems: their sizes, their splits, and each of them from end to end."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ser_core.cli import app
from ser_core.features import pad_features
from ser_core.labels import LABELS
from ser_core.predictor import Predictor
from ser_lab.data.splits import list_clips
from ser_lab.reproduce.networks import (
    MeanFrames,
    PaddedFrames,
    build_core,
    build_input_layers,
    join,
    prepare,
)
from ser_lab.reproduce.recipes import (
    COMMON_FIVE,
    COPIES,
    REPRODUCTIONS,
    Copy,
    CopySettings,
    Reproduction,
    find_reproductions,
)
from ser_lab.reproduce.record import FOLDER, Record, read_records
from ser_lab.reproduce.report import PAPERS
from ser_lab.reproduce.run import Job, reproduce
from ser_lab.reproduce.splits import draw_splits
from tests.conftest import RATE_HZ, make_babble
from tests.lab.conftest import JL_PRIMARY, write_clip
from tests.lab.trees import write_tree

EACH = {recipe.name: recipe for variants in REPRODUCTIONS.values() for recipe in variants}
FIRST = [variants[0].name for variants in REPRODUCTIONS.values()]
ACTORS = ("01", "03", "05", "08")  # tested on, learned from twice, developed on
TESS_EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the papers' four corpora and the one that they never heard; no SAVEE."""
    root = tmp_path_factory.mktemp("corpora")
    codes = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    names = {
        "ravdess": [
            f"03-01-{e:02d}-01-{s}-01-{a}" for e, s, a in product(range(1, 9), ("01", "02"), ACTORS)
        ],
        "tess": [f"{a}_back_{e}" for a, e in product(("OAF", "YAF"), TESS_EMOTIONS)],
        "crema_d": [f"{a}_DFA_{e}_XX" for a, e in product((1001, 1002, 1004, 1005), codes)],
        "jl_corpus": [f"{a}_{e}_1a_1" for a, e in product(("female1", "male2"), JL_PRIMARY)],
    }
    for folder, stems in names.items():
        for seed, stem in enumerate(stems):
            write_clip(root / folder / f"{stem}.wav", seed=seed % 8)
    return root


@pytest.fixture(scope="module")
def reproduced(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every system by the command line, its other variants to their records, an epoch each."""
    root = tmp_path_factory.mktemp("reproduced")
    places = ["--data", str(tree), "--runs", str(root / "records"), "--out", str(root / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(root / "cache"))
        for family, (first, *others) in REPRODUCTIONS.items():
            which = ["--variant", first.variant, "--epochs", "1"]
            which += [] if family == "svm" else ["--split", "speaker"]
            done = CliRunner().invoke(app, ["reproduce", family, *which, *places])
            assert done.exit_code == 0, done.output
            assert ("Missing in" in done.stdout) == ("savee" in first.corpora)
            for recipe in others:
                job = Job(recipe, "speaker", epochs=1)
                reproduce(job, tree, logs=root / job.place).record.write(root / "records")
        yield root


def core_of(recipe: Reproduction, *, n_columns: int) -> keras.Model:
    padded = isinstance(recipe.front, PaddedFrames)
    shape = (2, recipe.front.n_frames, n_columns) if padded else (2, n_columns)
    prepared = np.random.default_rng(0).normal(size=shape)
    return build_core(
        recipe.plan, prepared, n_labels=len(recipe.labels), standardise=recipe.standardise
    )


@pytest.mark.parametrize(
    ("name", "n_columns", "expected"),
    [
        ("lstm", 15, 54_024),
        ("mfcc-lstm-no-copies", 13, 125_320),
        ("mfcc-lstm-copies-before-256", 13, 355_720),
        ("svm", 148, 5 * 149),
    ],
)
def test_a_network_is_as_large_as_its_paper_says(name: str, n_columns: int, expected: int) -> None:
    core = core_of(EACH[name], n_columns=n_columns)
    assert sum(int(np.prod(w.shape)) for w in core.trainable_weights) == expected


def test_both_branches_of_the_cnn_end_ten_by_ten() -> None:
    core = core_of(EACH["cnn"], n_columns=148)
    ends = [layer.output.shape[1] for layer in core.layers if layer.name.startswith("flatten")]
    assert ends == [100, 100]


def test_every_recipe_has_its_paper() -> None:
    assert set(PAPERS) == set(EACH)


def test_padding_of_a_batch_does_not_change_a_clip() -> None:
    random = np.random.default_rng(0)
    clips = [random.normal(size=(n, 15)).astype(np.float32) for n in (20, 50)]
    columns = EACH["lstm"].pipeline.features.columns
    for front in (PaddedFrames(30), MeanFrames()):
        model = build_input_layers(front, columns)
        together = prepare(model, clips)
        alone = np.concatenate([prepare(model, [clip]) for clip in clips])
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-4)


def test_padded_frames_are_those_of_sixteen_bit_samples() -> None:
    import librosa

    speech = make_babble()[RATE_HZ : 2 * RATE_HZ]
    mfcc, loud = (
        librosa.feature.mfcc(y=samples, sr=RATE_HZ, n_mfcc=13).T
        for samples in (speech, speech * 32_768)
    )
    columns = EACH["lstm"].pipeline.features.columns
    frames = np.concatenate([np.full((len(mfcc), 2), 0.5), mfcc], axis=1).astype(np.float32)
    (prepared,) = prepare(build_input_layers(PaddedFrames(60), columns), [frames])
    np.testing.assert_allclose(prepared[: len(loud), 2:], loud, atol=0.1)
    assert prepared[0, 0] == 0.5 * 32_768
    assert prepared[0, 1] == 0.5
    assert not prepared[len(loud) :].any()


def test_mean_mel_bands_are_means_of_power() -> None:
    frames = np.array([[0.0, 1.0], [20.0, 3.0]], np.float32)
    (means,) = prepare(build_input_layers(MeanFrames(), ("log_mel_0", "mfcc_0")), [frames])
    np.testing.assert_allclose(means, [(1 + 100) / 2, 2.0], rtol=1e-5)


def test_a_joined_network_answers_as_its_parts() -> None:
    recipe = EACH["svm"]
    random = np.random.default_rng(0)
    clips = [random.normal(size=(n, 148)).astype(np.float32) for n in (5, 9)]
    front = build_input_layers(recipe.front, recipe.pipeline.features.columns)
    prepared = prepare(front, clips)
    core = build_core(recipe.plan, prepared, n_labels=5, standardise=True)
    whole = join(front, core)([*pad_features(clips)])
    np.testing.assert_allclose(whole, core(prepared), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("copy", COPIES, ids=lambda copy: copy.settings.kind)
def test_a_copy_is_another_sound_and_the_same_each_time(copy: Copy) -> None:
    speech = make_babble()[RATE_HZ : 2 * RATE_HZ]
    changed = copy.apply(speech, "clip", sample_rate_hz=RATE_HZ)
    np.testing.assert_array_equal(changed, copy.apply(speech, "clip", sample_rate_hz=RATE_HZ))
    assert changed.dtype == np.float32
    slower = copy.settings == CopySettings("time")
    assert len(changed) == pytest.approx(len(speech) * (1.25 if slower else 1), rel=0.01)
    assert slower or np.abs(changed - speech).max() > 0.01


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("names") / "data")


def with_copies(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table.assign(copy=kind) for kind in ("", "noise")], ignore_index=True)


@pytest.mark.parametrize("name", EACH)
def test_no_speaker_stands_on_two_sides_of_the_speaker_split(name: str, names: Path) -> None:
    recipe = EACH[name]
    table = list_clips(names, [corpus for corpus in recipe.corpora if corpus != "savee"])
    table = with_copies(table[table["emotion"].isin(recipe.labels)])
    for seed in (0, 1):
        sides = [set(table["speaker"].iloc[r]) for r in draw_splits(recipe, table, "speaker", seed)]
        assert all(sides)
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


@pytest.mark.parametrize("split", ["random", "speaker"])
def test_copies_made_after_the_draw_are_of_training_clips_alone(split: str, names: Path) -> None:
    table = with_copies(list_clips(names, ("ravdess",)))
    train, development, test = draw_splits(EACH["mfcc-lstm-copies-after"], table, split, 0)
    assert set(table["copy"].iloc[train]) == {"", "noise"}
    assert set(table["copy"].iloc[[*development, *test]]) == {""}
    assert not set(table["path"].iloc[train]) & set(table["path"].iloc[[*development, *test]])


def test_copies_made_before_the_draw_put_clips_on_both_sides(names: Path) -> None:
    table = with_copies(list_clips(names, ("ravdess",)))
    train, _, test = draw_splits(EACH["mfcc-lstm-copies-before"], table, "random", 0)
    shared = set(table["path"].iloc[train]) & set(table["path"].iloc[test])
    assert len(shared) > len(test) / 2


def test_sides_are_as_large_as_in_the_papers() -> None:
    table = pd.DataFrame({"emotion": ["sad"] * 4_240, "copy": "", "path": range(4_240)})
    sides = draw_splits(EACH["lstm"], table, "random", 0)
    assert [len(rows) for rows in sides] == [3_703, 368, 161]


def test_emotions_are_balanced_before_the_draw(names: Path) -> None:
    recipe = EACH["cnn"]
    table = list_clips(names, ("ravdess", "crema-d"))
    table = table[table["emotion"].isin(COMMON_FIVE)].assign(copy="")
    table = table[~((table["emotion"] == "sad") & (table["corpus"] == "crema-d"))]
    drawn = np.concatenate(draw_splits(recipe, table.reset_index(drop=True), "random", 0))
    counts = table.iloc[drawn]["emotion"].value_counts()
    assert counts.to_dict() == dict.fromkeys(COMMON_FIVE, 24)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "split"), [*((name, "speaker") for name in EACH), ("svm", "random")]
)
def test_every_system_runs_to_its_record(name: str, split: str, reproduced: Path) -> None:
    recipe = EACH[name]
    record = Record.read(reproduced / "records" / FOLDER / name / split / "seed-0.json")
    assert (record.name, record.split) == (name, split)
    assert record.settings == json.loads(json.dumps(recipe.settings))
    assert record.epochs["run"] == (0 if recipe.schedule is None else 1)
    missing = ["savee"] if "savee" in recipe.corpora else []
    assert record.corpora["missing"] == missing
    assert sum(record.n_clips.values()) > 30
    assert record.test["n_clips"] == record.n_clips["test"]
    assert set(record.unseen) == set(recipe.unseen)
    assert str(reproduced) not in json.dumps(record.settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_every_system_leaves_what_its_paper_prints(name: str, reproduced: Path) -> None:
    folder = reproduced / "out" / name / "speaker" / "seed-0"
    found = {path.name for path in folder.iterdir()}
    expected = {"confusion_development.png", "confusion_test.png", "report_test.txt", "model"}
    assert found >= expected | {"per_emotion_test.csv", "answers.csv"}
    assert ("curves.png" in found) == (EACH[name].schedule is not None)
    shown = pd.read_csv(folder / "answers.csv", keep_default_na=False)
    right = shown["actual"] == shown["predicted"]
    assert len(shown)
    assert (shown["verdict"] == right.map({True: "right", False: "wrong"})).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_every_model_serves_both_ways_alike(
    name: str, reproduced: Path, babble: np.ndarray
) -> None:
    folder = reproduced / "out" / name / "speaker" / "seed-0" / "model"
    answers = [
        Predictor.from_folder(path, trust=True).predict((RATE_HZ, babble))
        for path in (folder, folder / "network.keras")
    ]
    assert answers[0].labels == EACH[name].labels
    np.testing.assert_allclose(answers[0].probabilities, answers[1].probabilities, atol=1e-4)


@pytest.mark.slow
def test_a_served_clip_is_answered_as_in_training(reproduced: Path, tree: Path) -> None:
    out = reproduced / "out"
    for name in ("lstm", "cnn"):
        folder = out / name / "speaker" / "seed-0"
        shown = pd.read_csv(folder / "answers.csv").iloc[:4]
        predictor = Predictor.from_folder(folder / "model")
        paths = {path.name: path for path in tree.rglob("*.wav")}
        heard = [predictor.predict(paths[file]).emotion for file in shown["file"]]
        assert heard == list(shown["predicted"])


@pytest.mark.slow
def test_the_command_line_predicts_with_a_keras_file(reproduced: Path, tree: Path) -> None:
    model = reproduced / "out" / "svm" / "random" / "seed-0" / "model" / "network.keras"
    clip = next(tree.rglob("OAF_back_sad.wav"))
    done = CliRunner().invoke(app, ["predict", "--model", str(model), "--json", str(clip)])
    assert done.exit_code == 0, done.output
    assert tuple(json.loads(done.stdout)["probabilities"]) == COMMON_FIVE


def test_unknown_names_are_told_with_those_known(tmp_path: Path) -> None:
    for arguments, complaint in (
        (["gmm"], "'gmm' is not a reproduction; known: lstm, bilstm"),
        (["mfcc-lstm", "--variant", "none"], "known: no-copies, copies-after"),
        (["svm", "--split", "sex"], "'sex' is not a split; known: random, speaker"),
        (["svm", "--data", str(tmp_path)], "contains none of the corpora"),
    ):
        refused = CliRunner().invoke(app, ["reproduce", *arguments])
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert complaint in refused.stderr


@pytest.mark.slow
def test_records_are_read_as_they_were_written(reproduced: Path) -> None:
    records = list(read_records(reproduced / "records"))
    assert len(records) == len(EACH) + 1
    assert {record.name for record in records} == set(EACH)
    assert replace(records[0], seed=1).place != records[0].place
    assert find_reproductions("lstm")[0].labels == LABELS


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n_clips"), [("lstm", 2 * 8), ("cnn", 2 * 5 + 5)])
def test_a_reproduced_model_is_evaluated_on_the_speakers_that_it_held_out(
    name: str, n_clips: int, reproduced: Path, tree: Path
) -> None:
    model = reproduced / "out" / name / "speaker" / "seed-0" / "model"
    done = CliRunner().invoke(app, ["evaluate", "--model", str(model), "--data", str(tree)])
    assert done.exit_code == 0, done.output
    counts = [int(n) for n in re.findall(r": (\d+) clips:", done.stdout)]
    assert sum(counts) == n_clips  # of the emotions that it knows
    assert "The model card says" not in done.stdout  # it has none


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "split", "options", "complaint"),
    [
        ("svm", "random", [], "svm .* holds out no test speakers"),
        ("svm", "speaker", ["--record"], "svm .* has no test figures"),
        ("svm", "speaker", ["crema-d"], "this protocol needs"),
        ("lstm", "speaker", ["ravdess-6fold"], "lstm .* 23 test speakers of ravdess-6fold"),
    ],
)
def test_what_a_reproduced_model_cannot_be_measured_on_is_refused_before_the_work(
    name: str, split: str, options: list[str], complaint: str, reproduced: Path, names: Path
) -> None:
    model = reproduced / "out" / name / split / "seed-0" / "model"
    refused = CliRunner().invoke(
        app, ["evaluate", *options, "--model", str(model), "--data", str(names)]
    )
    assert (refused.exit_code, refused.stdout) == (2, ""), refused.output
    assert re.search(complaint, refused.stderr)
