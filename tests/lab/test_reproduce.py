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
from matplotlib.figure import Figure
from typer.testing import CliRunner

from ser_core.cli import app
from ser_core.features import pad_features
from ser_core.labels import LABELS
from ser_core.predictor import Predictor
from ser_lab.data.splits import list_clips
from ser_lab.report import plots
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
    LONGEST_S,
    PRINTED,
    RECIPES,
    REPRODUCTIONS,
    Copy,
    CopySettings,
    PrintedSteps,
    Reproduction,
    find_reproductions,
)
from ser_lab.reproduce.record import FOLDER, Record, read_records
from ser_lab.reproduce.report import PAPERS
from ser_lab.reproduce.run import Job, cross_entropy, find_jobs, reproduce
from ser_lab.reproduce.splits import draw_splits
from tests.conftest import RATE_HZ, make_babble
from tests.lab.conftest import JL_PRIMARY, write_clip
from tests.lab.trees import write_tree

EACH = RECIPES
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
    """Every system by the command line, its other variants to their records, an epoch each.

    And one with the preprocessing that its paper prints, and one on some of the clips.
    """
    root = tmp_path_factory.mktemp("reproduced")
    places = ["--data", str(tree), "--runs", str(root / "records"), "--out", str(root / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(root / "cache"))
        once = ["--split", "speaker", "--epochs", "1"]
        more = {
            "lstm": ["--preprocessing", "paper", *once],
            "svm": ["--split", "speaker", "--only", "statement=kids", "--only", "channel=speech"],
        }
        for family, (first, *others) in REPRODUCTIONS.items():
            which = ["--variant", first.variant, *([] if family == "svm" else once)]
            for options in (which, *([more[family]] if family in more else [])):
                done = CliRunner().invoke(app, ["reproduce", family, *options, *places])
                assert done.exit_code == 0, done.output
                assert ("savee" in done.stdout) == ("savee" in first.corpora)
            printed = [PRINTED[family]] if family == "bilstm" else []
            for recipe in (*others, *printed):
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


def test_epochs_are_as_many_as_the_papers_print() -> None:
    printed = {"lstm": 100, "cnn": 1_000, "dual-rnn": 200, "mfcc-lstm-copies-before-256": 200}
    assert {name: Job(EACH[name], "random").allowed_epochs for name in printed} == printed
    short = EACH["mfcc-lstm-copies-before"].schedule
    assert short is not None
    assert (short.epochs, short.patience) == (50, 5)


@pytest.mark.parametrize("family", REPRODUCTIONS)
def test_epochs_are_obeyed_or_refused(family: str, tmp_path: Path) -> None:
    if family != "svm":
        jobs = list(find_jobs(family, None, None, seeds=(0,), epochs=1_500))
        assert {job.allowed_epochs for job in jobs} == {1_500}
        return
    refused = CliRunner().invoke(
        app, ["reproduce", family, "--epochs", "9", "--out", str(tmp_path)]
    )
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "svm is not trained in epochs: leave out --epochs." in refused.stderr


def test_each_hybrid_lstm_shows_one_effect() -> None:
    plain, stopped, l2, both = (recipe.settings for recipe in REPRODUCTIONS["hybrid-lstm"])
    names = {"variant"}
    assert {k for k in plain if plain[k] != stopped[k]} == names | {"schedule"}
    assert {k for k in plain if plain[k] != l2[k]} == names | {"plan"}
    assert {k for k in stopped if stopped[k] != both[k]} == names | {"plan"}
    assert {k for k in l2 if l2[k] != both[k]} == names | {"schedule"}


def test_the_papers_steps_are_level_trim_pad_and_noise_reduction() -> None:
    import librosa
    import noisereduce
    from pydub import AudioSegment, effects

    speech = make_babble()[: 2 * RATE_HZ]
    pcm = np.round(speech * 32_767).astype("<i2")
    segment = AudioSegment(pcm.tobytes(), frame_rate=RATE_HZ, sample_width=2, channels=1)
    loud = np.array(effects.normalize(segment, headroom=-5).get_array_of_samples(), np.float32)
    assert np.mean(np.abs(loud) >= 32_767) > 0.001  # 5 dB above full scale is limited
    trimmed, _ = librosa.effects.trim(loud / 32_768, top_db=30)
    n_samples = round(LONGEST_S * RATE_HZ)
    padded = np.pad(trimmed, (0, n_samples - len(trimmed)))
    expected = noisereduce.reduce_noise(y=padded, sr=RATE_HZ)
    steps = PrintedSteps().apply(speech, "clip", sample_rate_hz=RATE_HZ)
    assert len(steps) == n_samples
    np.testing.assert_allclose(steps, expected, atol=1e-5)


def test_what_cannot_be_preprocessed_or_chosen_is_refused(names: Path, tmp_path: Path) -> None:
    for arguments, complaint in (
        (["cnn", "--preprocessing", "paper"], "cnn has one preprocessing; leave out"),
        (["lstm", "--preprocessing", "printed"], "not a preprocessing; known: serving, paper."),
        (["lstm", "--only", "repetition"], "'repetition' is no condition; write --only"),
        (["lstm", "--only", "take=first"], "'take' is not a column of clips; known: corpus, "),
    ):
        places = ["--data", str(names), "--out", str(tmp_path / "out")]
        refused = CliRunner().invoke(app, ["reproduce", *arguments, *places])
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert complaint in refused.stderr


def test_the_loss_is_that_of_keras() -> None:
    random = np.random.default_rng(0)
    logits, truth = random.normal(size=(9, 5)).astype(np.float32), random.integers(0, 4, 9)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(truth, logits)
    assert cross_entropy(truth, logits) == pytest.approx(float(expected), abs=1e-5)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures instead of files."""
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "save_chart", lambda figure, _: drawn.append(figure))
    return drawn


def test_curves_of_one_epoch_are_seen_and_name_no_speakers(figures: list[Figure]) -> None:
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    for n_epochs in (1, 2):
        plots.plot_curves(pd.DataFrame(dict.fromkeys(names, [0.5] * n_epochs)), Path("x.png"))
    for figure, marker in zip(figures, ("o", ""), strict=True):
        for axes in figure.axes:
            assert {line.get_marker() for line in axes.lines[:2]} == {marker}
            assert all(tick == round(tick) for tick in axes.get_xticks())
        legend = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
        assert legend == ["training", "development", "kept: epoch 1"]


def test_a_network_is_drawn_and_summed_up_layer_by_layer(
    figures: list[Figure], tmp_path: Path
) -> None:
    core = core_of(EACH["cnn"], n_columns=148)
    plots.draw_network(core, Path("x.png"))
    (axes,) = figures[0].axes
    boxes = [text.get_text() for text in axes.texts if text.get_text()]
    assert len(boxes) == len(core.operations)
    assert sum("Conv1D, 10 × 10" in box for box in boxes) == 2
    assert any(box.endswith("Dense, 700, 140,700 weights") for box in boxes)
    n_arrows = sum(len(keras.tree.flatten(layer.input)) for layer in core.operations)
    assert len(axes.texts) - len(boxes) == n_arrows == len(boxes)  # two branches, joined again
    plots.write_summary(core, tmp_path / "summary.txt")
    summary = (tmp_path / "summary.txt").read_text(encoding="utf-8")
    assert "Total params: 254,175" in summary
    assert all(layer.name in summary for layer in core.layers)


def test_the_networks_of_an_ensemble_are_drawn_beside_each_other(figures: list[Figure]) -> None:
    front = build_input_layers(EACH["svm"].front, EACH["svm"].pipeline.features.columns)
    network = join(front, core_of(EACH["svm"], n_columns=148))
    plots.draw_network(network, Path("x.png"))
    assert [axes.get_title() for axes in figures[0].axes] == ["front", "core"]


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
    assert set(record.unseen) == {"jl-corpus"}
    assert ("loss" in record.test) == (recipe.schedule is not None)
    assert str(reproduced) not in json.dumps(record.settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
def test_every_system_leaves_what_its_paper_prints(name: str, reproduced: Path) -> None:
    folder = reproduced / "out" / name / "speaker" / "seed-0"
    found = {path.name for path in folder.iterdir()}
    expected = {"confusion_development.png", "confusion_test.png", "report_test.txt", "model"}
    assert found >= expected | {"per_emotion_test.csv", "answers.csv", "recall_test.png"}
    assert found >= {"summary.txt", "network.png"}
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
def test_the_papers_preprocessing_leaves_all_but_a_model(reproduced: Path) -> None:
    name = PRINTED["lstm"].name
    folder = reproduced / "out" / name / "speaker" / "seed-0"
    assert {"curves.png", "network.png", "answers.csv"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "model").exists()
    record = Record.read(reproduced / "records" / FOLDER / name / "speaker" / "seed-0.json")
    assert record.settings["steps"]["settings"]["preprocess"]["headroom_db"] == -5.0
    assert record.settings["pipeline"]["preprocess"]["level"] == "none"


@pytest.mark.slow
def test_a_run_on_some_of_the_clips_has_a_record_of_its_own(reproduced: Path) -> None:
    folder = reproduced / "records" / FOLDER
    record = Record.read(folder / "svm-kids-speech" / "speaker" / "seed-0.json")
    whole = Record.read(folder / "svm" / "speaker" / "seed-0.json")
    assert record.settings["subset"] == {"statement": "kids", "channel": "speech"}
    assert "subset" not in whole.settings
    assert record.by_corpus.keys() == {"ravdess"}
    assert record.n_clips == {"train": 10, "development": 5, "test": 5}


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
    assert len(records) == len(EACH) + 2  # the SVM with both splits, and on some of the clips
    assert {record.name for record in records} == {*EACH, "svm-kids-speech"}
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
