"""Any model on somebody's own table, beside the answers of another system."""

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ser_core.errors import AudioError, CorpusError, ModelError
from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_lab.evaluate.custom import (
    NOT_GIVEN,
    OTHER,
    Answers,
    bin_answers,
    compare_systems,
    match_labels,
    parse_pairs,
    predict_clips,
    read_answers,
    read_table,
    score_answers,
    score_groups,
    select_clips,
)
from tests.conftest import run_cli

MODEL = ("neutral", "calm", "happy", "sad")


def write_csv(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def write_table(folder: Path, header: str, *lines: str) -> Path:
    """A table beside files of no content, one a line."""
    for line in lines:
        (folder / line.partition(",")[0]).write_bytes(b"")
    path = folder / "own.csv"
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def truth_table(*truth: int, **groups: list[str]) -> pd.DataFrame:
    table = pd.DataFrame({"truth": truth})
    for column, cells in groups.items():
        table[f"by_{column}"] = pd.Categorical(cells)
    return table


def answers_of(*predicted: int, system: str = "ours", labels: tuple[str, ...] = MODEL) -> Answers:
    """Answers with 0.7 for the predicted emotion; -1 is none."""
    probabilities = np.full((len(predicted), len(labels)), 0.3 / (len(labels) - 1))
    for row, column in zip(probabilities, predicted, strict=True):
        row[:] = np.nan if column < 0 else row
        row[column] = np.nan if column < 0 else 0.7
    return Answers(system, labels, probabilities, is_graded=True)


def test_labels_of_the_same_word_match_and_the_rest_is_left_out() -> None:
    label_map = match_labels(MODEL, ["Sad", "happy", "bored", "Sad"])
    assert label_map.classes == ("happy", "Sad")
    assert label_map.of_model == {"happy": "happy", "sad": "Sad"}
    assert label_map.of_table == {"happy": "happy", "Sad": "Sad"}


def test_pairs_join_labels_of_either_side() -> None:
    pairs = parse_pairs(["calm=neutral, happy=joy", "happy=in high spirits"])
    label_map = match_labels(MODEL, ["neutral", "joy", "in high spirits", "sad"], pairs)
    assert label_map.classes == ("neutral", "joy/in high spirits", "sad")
    assert label_map.of_model == {
        "neutral": "neutral", "calm": "neutral", "happy": "joy/in high spirits", "sad": "sad"
    }  # fmt: skip
    assert label_map.of_table["joy"] == label_map.of_table["in high spirits"]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("joy=happy", "'--map' names 'joy', and the model's labels are neutral, calm, happy, sad"),
        ("happy=glee", "'--map' names 'glee', and the table's labels are joy, anger"),
        ("happy", "'--map' is 'happy'; expected MODEL=TABLE"),
        ("happy=", "'--map' is 'happy='; expected MODEL=TABLE"),
        ("happy=joy", "labels are joy, anger, the model's neutral, calm, happy, sad; at least two"),
        ("", "at least two must match"),
    ],
)
def test_a_wrong_pair_and_too_few_matches_are_a_sentence(pairs: str, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        match_labels(MODEL, ["joy", "anger"], parse_pairs([pairs]))


def test_a_table_needs_no_speakers_and_sorts_its_clips_into_groups(tmp_path: Path) -> None:
    lines = [f"{i}.wav,sad,{age},{'fr' if i % 2 else ''}" for i, age in enumerate(range(20, 40))]
    path = write_table(tmp_path, "path,label,age,language", *lines, "x.wav,sad,,de")
    table = read_table(path, ["age", "language"])
    assert set(table["speaker"]) == {"own/unknown"}
    assert [*table["by_age"].cat.categories] == [
        "20 to 24", "25 to 29", "30 to 34", "35 to 39", NOT_GIVEN
    ]  # fmt: skip
    assert [*table["by_age"][[0, 19, 20]]] == ["20 to 24", "35 to 39", NOT_GIVEN]
    assert [*table["by_language"].cat.categories] == ["de", "fr", NOT_GIVEN]


def test_few_numbers_are_groups_of_their_own_in_order_of_size(tmp_path: Path) -> None:
    lines = [f"{i}.wav,sad,{level}" for i, level in enumerate((10, 5, 10, 0))]
    table = read_table(write_table(tmp_path, "path,label,snr_db", *lines), ["snr_db"])
    assert [*table["by_snr_db"].cat.categories] == ["0", "5", "10", NOT_GIVEN]


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = write_table(tmp_path, "path,label,age", "a.wav,sad,20")
    with pytest.raises(CorpusError, match=r"'--by' names 'sex'; the columns of .* path, label, "):
        read_table(path, ["sex"])


class NamePredictor:
    """Predicts by the first letter of a file's name."""

    labels = MODEL

    def __init__(self, corpus: str = "ravdess") -> None:
        split = {"test": [], "development": []}
        self.manifest = SimpleNamespace(
            name="small", version="1.2", corpora=[{"name": corpus}], split=split
        )

    def predict(self, path: Path) -> Prediction:
        rows = {
            "n": (0.3, 0.3, 0.4, 0.0),
            "h": (0.1, 0.1, 0.6, 0.2),
            "s": (0.0, 0.1, 0.3, 0.6),
        }
        if path.name[0] not in rows:
            raise AudioError(f"{path} cannot be read.")
        return Prediction.from_probabilities(rows[path.name[0]], self.labels)


def test_probabilities_of_one_emotion_are_added_and_the_rest_renormalised(tmp_path: Path) -> None:
    lines = ("n.wav,neutral", "x.wav,neutral", "h.wav,joy", "s.wav,cross")
    table = read_table(write_table(tmp_path, "path,label", *lines))
    label_map = match_labels(MODEL, table["emotion"], parse_pairs(["calm=neutral,happy=joy"]))
    table = select_clips(table, label_map)
    assert [*table["truth"]] == [0, 0, 1]  # nothing is said to be cross
    answers = predict_clips(NamePredictor(), table, label_map)
    np.testing.assert_allclose(answers.probabilities[[0, 2]], [[0.6, 0.4], [0.25, 0.75]])
    assert [*answers.is_given] == [True, False, True]
    scores = score_answers(table, answers)
    assert (scores.n_clips, scores.uar) == (2, 1.0)


def test_clips_of_speakers_in_the_training_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path, "path,label,speaker", "n.wav,neutral,Ada", "s.wav,sad,Bo")
    table = read_table(path)
    label_map = match_labels(MODEL, table["emotion"])
    with pytest.raises(ModelError, match="trained on 2 test speakers of the table: own/Ada, own/B"):
        predict_clips(NamePredictor("own"), select_clips(table, label_map), label_map)


def test_clips_named_like_those_of_the_training_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ("n.wav,neutral", "s.wav,sad", "03-01-01-01-01-01-02.wav,neutral",
             "03-01-01-01-01-01-11.wav,neutral", "1001_DFA_NEU_XX.wav,neutral")  # fmt: skip
    table = read_table(write_table(tmp_path, "path,label", *lines))
    label_map = match_labels(MODEL, table["emotion"])
    predictor = NamePredictor("ravdess")
    predictor.manifest.split["test"] = ["ravdess/11"]
    predict_clips(predictor, select_clips(table, label_map), label_map)
    assert "1 of 5 clips are named like clips of the corpora that small was" in caplog.messages[0]


def test_a_table_of_unreadable_files_is_refused(tmp_path: Path) -> None:
    table = read_table(write_table(tmp_path, "path,label", "x.wav,neutral", "y.wav,sad"))
    label_map = match_labels(MODEL, table["emotion"])
    with pytest.raises(CorpusError, match="None of 2 clips can be read"):
        predict_clips(NamePredictor(), select_clips(table, label_map), label_map)


def read_other(folder: Path, *rows: tuple[str, ...]) -> Answers:
    """Answers of another system on three clips, as a file gives them."""
    own = write_table(folder, "path,label", "a.wav,neutral", "b.wav,joy", "c.wav,sad")
    table = read_table(own)
    label_map = match_labels(MODEL, table["emotion"], parse_pairs(["calm=neutral,happy=joy"]))
    path = write_csv(folder / "other.csv", *rows)
    return read_answers(path, select_clips(table, label_map), label_map, folder=folder)


def test_answers_without_probabilities_are_right_wrong_or_missing(tmp_path: Path) -> None:
    answers = read_other(
        tmp_path,
        ("label", "path"),
        ("Happy", "b.wav"),
        ("bored", str(tmp_path / "a.wav")),
        ("", "c.wav"),
        ("sad", "elsewhere.wav"),
    )
    assert answers.labels == ("neutral", "joy", "sad", OTHER)
    assert [*answers.is_given] == [True, True, False]
    assert [*answers.probabilities[:2].argmax(axis=1)] == [3, 1]
    assert bin_answers(truth_table(0, 1, 2), answers) == ()
    scores = score_answers(truth_table(0, 1, 2), answers)
    assert scores.uar == 0.5
    assert OTHER not in scores.per_emotion
    assert scores.confusion[0] == [0, 0, 0, 1]


def test_answers_of_predict_csv_are_used_with_their_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    answers = read_other(
        tmp_path,
        ("file", "emotion", "confidence", "neutral", "calm", "happy", "sad", "angry"),
        ("../a.wav", "angry", "0.5", "0.1", "0.2", "0.1", "0.1", "0.5"),
        ("../c.wav", "sad", "0.8", "0.1", "0.0", "0.1", "0.8", "0.0"),
    )
    assert answers.is_graded
    np.testing.assert_allclose(answers.probabilities[0], [0.6, 0.2, 0.2])
    assert [*answers.is_given] == [True, False, True]
    table = truth_table(0, 1, 2)
    assert score_answers(table, answers).uar == 1.0
    assert [b.n_clips for b in bin_answers(table, answers)] == [1, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("path", "label"), ("z.wav", "sad")], "has no row for any of the table's 3 clips"),
        ([("path", "label")], "has no row for any of the table's 3 clips"),
        ([("path", "label"), *2 * [("a.wav", "sad")]], r"line 3: 'a\.wav' is listed again"),
        ([("name", "label")], "has the columns name, label; path must be among them"),
        (
            [("path", "label", "neutral", "joy", "sad"), ("a.wav", "sad", "1", "often", "0")],
            "line 2: 'often' is no probability from 0 to 1",
        ),
        (
            [("path", "label", "neutral", "joy", "sad"), ("a.wav", "sad", "1", "0", "70")],
            "line 2: '70' is no probability from 0 to 1",
        ),
    ],
)
def test_a_file_of_answers_that_does_not_fit_is_a_sentence(
    rows: list[tuple[str, ...]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match=message):
        read_other(tmp_path, *rows)


def test_a_group_is_compared_with_the_others_over_the_emotions_that_both_have() -> None:
    sex = ["f"] * 30 + ["m"] * 20
    truth = [0, 1, 2] * 10 + [0, 1] * 10
    predicted = [0, 1, 0] * 10 + [0, 0] * 10
    table = truth_table(*truth, sex=sex)
    female, male = score_groups(table, answers_of(*predicted))
    assert (female.column, female.group, female.n_clips) == ("sex", "f", 30)
    assert female.uar == pytest.approx(2 / 3)
    assert male.uar == 0.5
    assert female.gap == pytest.approx(1.0 - 0.5)  # without the emotion 2, which men lack
    assert male.gap == pytest.approx(-female.gap)
    assert female.gap_interval[0] <= 0.5 <= female.gap_interval[1]


def test_equal_groups_have_a_gap_whose_interval_holds_zero() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(4, size=400)
    predicted = np.where(random.random(400) < 0.6, truth, random.integers(4, size=400))
    table = truth_table(*truth, half=["a", "b"] * 200)
    for score in score_groups(table, answers_of(*predicted)):
        low, high = score.gap_interval
        assert low < 0 < high
        assert 0.1 < high - low < 0.4  # two halves of 200 clips, right in 70 % of them: 4 × 0.046


def test_a_group_of_all_clips_has_no_gap() -> None:
    table = truth_table(0, 1, language=["en", "en"])
    (score,) = score_groups(table, answers_of(0, 1))
    assert np.isnan(score.gap)


def test_two_systems_are_compared_on_the_clips_that_both_have_answered() -> None:
    table = truth_table(0, 1, 0, 1)
    comparison = compare_systems(table, answers_of(0, 1, -1, 1), answers_of(0, 0, 0, -1))
    assert (comparison.ours.n_clips, comparison.ours.uar, comparison.other.uar) == (2, 1.0, 0.5)
    with pytest.raises(CorpusError, match="no clip in common"):
        compare_systems(truth_table(0, 1), answers_of(0, -1), answers_of(-1, 1))


def test_the_bootstrap_is_paired() -> None:
    random = np.random.default_rng(1)
    truth = random.integers(4, size=300)
    ours = np.where(random.random(300) < 0.6, truth, (truth + 1) % 4)
    other = np.where(random.random(300) < 0.05, truth, ours)  # right in a few more
    table = truth_table(*truth)
    comparison = compare_systems(table, answers_of(*ours), answers_of(*other))
    low, high = comparison.uar_gap
    assert low <= comparison.ours.uar - comparison.other.uar <= high < 0
    one_low, one_high = comparison.ours.uar_interval
    assert high - low < (one_high - one_low) / 2
    same = compare_systems(table, answers_of(*ours), answers_of(*ours))
    assert (same.uar_gap, same.war_gap) == ((0.0, 0.0), (0.0, 0.0))


def test_the_mapping_is_shown_before_the_answers_and_both_systems_after_it(
    tmp_path: Path, examples: Path
) -> None:
    rows = [("path", "label", "kind")]
    for emotion, name in {"angry": "anger", "calm": "calm", "sad": "Sad", "happy": "joy"}.items():
        shutil.copy(examples / f"synthetic-{emotion}.flac", tmp_path)
        rows.append((f"synthetic-{emotion}.flac", name, "=[b]odd"))
    own = write_csv(tmp_path / "own.csv", *rows)
    other = write_csv(tmp_path / "[b]x.csv", ("path", "label"), *((r[0], "Sad") for r in rows[1:]))
    done = run_cli(
        "evaluate", "table", "--data", own, "--model", "compact", "--map", "angry=anger",
        "--by", "kind", "--predictions", other,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    order = [
        done.output.index(text)
        for text in ("left out", "compact 0.1.0: 3 clips: UAR", "[b]x.csv: 3 clips", "=[b]odd",
                     "Both, on 3 clips", "recall of anger")
    ]  # fmt: skip
    assert order == sorted(order)
    (left_out,) = [line for line in done.output.splitlines() if line.startswith(" left out")]
    assert left_out.split() == [
        "left", "out", "1", "joy", *(f"{label}," for label in LABELS if label not in
        ("calm", "sad", "angry", "surprised")), "surprised",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table", "--data", "folder"], "folder is a folder; expected a .csv table"),
        (["table", "--data", "own.csv", "--recipe", "lstm"], "table"),
        (["test", "--by", "sex"], "'--by' goes with: evaluate table"),
        (["crema-d", "--map", "sad=Sad"], "'--map' goes with: evaluate table"),
        (["test", "--predictions", "own.csv"], "'--predictions' goes with: evaluate table"),
        (["table", "--data", "own.csv", "--record"], "'--record' goes with: evaluate test"),
    ],
)
def test_options_that_do_not_go_together_are_a_sentence(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    write_table(tmp_path, "path,label", "a.wav,sad", "b.wav,calm")
    done = run_cli("evaluate", *words)
    assert done.exit_code == 2
    assert message in done.stderr
