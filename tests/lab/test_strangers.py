"""Calibration on unseen corpora: temperature, threshold, and the rule for calm."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.labels import LABELS
from ser_core.model.manifest import Certainty
from ser_lab.evaluate.records import FoldRecord
from ser_lab.evaluate.strangers import (
    StrangerAnswers,
    calibrate_on_strangers,
    calibrated_for_strangers,
    merge_calm,
    recalibrate,
)
from ser_lab.metrics import Calibration

SIX = ("neutral", "happy", "sad", "angry", "fearful", "disgust")


def overconfident(seed: int, *, accuracy: float = 0.5, confidence: float = 0.9) -> StrangerAnswers:
    """Answers right as often as `accuracy` says, and always as confident as `confidence`."""
    random = np.random.default_rng(seed)
    truth = random.choice([LABELS.index(emotion) for emotion in SIX], 600)
    right = random.random(600) < accuracy
    others = [LABELS.index("surprised")] * 600
    probabilities = np.full((600, 8), (1 - confidence) / 7)
    probabilities[np.arange(600), np.where(right, truth, others)] = confidence
    return StrangerAnswers(probabilities, truth, SIX)


def record(fold: str, answers: StrangerAnswers) -> FoldRecord:
    clips = pd.DataFrame(answers.probabilities, columns=list(LABELS))
    clips.insert(0, "truth", [LABELS[i] for i in answers.truth])
    clips.insert(0, "sex", "female")
    clips.insert(0, "speaker", f"{fold}/1")
    clips.insert(0, "clip", [f"{fold}-{i}" for i in range(len(clips))])
    return FoldRecord(
        key="k", protocol="strangers", fold=fold, recipe="known", settings={"blocks": (1, 2)},
        seed=0, classes=answers.emotions, commit="c", machine={}, wall_s=1.0, n_train=1,
        n_development=1, answers=clips,
    )  # fmt: skip


def test_confidence_becomes_accuracy_on_corpora_alike() -> None:
    corpora = [overconfident(seed) for seed in range(4)]
    calibration = calibrate_on_strangers(corpora)
    assert calibration.temperature > 1.5
    confidence, right = corpora[0].confidences(calibration.temperature)
    assert confidence.mean() == pytest.approx(right.mean(), abs=0.05)
    assert calibration.certainty == Certainty(confidence=1.0, precision=1.0, share=0.0)


def test_certain_answers_are_as_often_right_as_promised() -> None:
    sure, unsure = overconfident(0, accuracy=0.9), overconfident(1, accuracy=0.3, confidence=0.4)
    calibration = calibrate_on_strangers([sure, unsure])
    assert calibration.certainty.precision >= 0.75
    assert calibration.certainty.share == pytest.approx(0.5, abs=0.02)
    assert (unsure.confidences(calibration.temperature)[0] < calibration.certainty.confidence).all()


def test_calm_counts_as_neutral_where_a_corpus_has_no_calm() -> None:
    row = np.array([[0.2, 0.5, 0.3, 0, 0, 0, 0, 0]])
    assert merge_calm(row, SIX)[0, :2].tolist() == [0.7, 0.0]
    assert merge_calm(row, ("calm", "happy"))[0, :2].tolist() == [0.0, 0.7]
    assert merge_calm(row, LABELS).tolist() == row.tolist()
    answers = StrangerAnswers(row, np.array([LABELS.index("neutral")]), SIX)
    confidence, right = answers.confidences(1.0)
    assert confidence[0] == pytest.approx(
        0.5, abs=1e-5
    )  # as served, where calm and neutral are two
    assert right[0]


def test_a_corpus_is_calibrated_on_the_others_alone() -> None:
    records = [record(str(seed), overconfident(seed)) for seed in range(3)]
    other = overconfident(7, accuracy=0.95, confidence=0.5)
    changed = [*records[:2], record("2", other)]
    first, second = recalibrate(records), recalibrate(changed)
    columns = list(LABELS)
    kept = [found[0].answers[columns].to_numpy() for found in (first[2], second[2])]
    recorded = (records[2].answers[columns].to_numpy(), other.probabilities)
    temperatures = [
        np.log(table[0].max() / table[0].min()) / np.log(own[0].max() / own[0].min())
        for table, own in zip(kept, recorded, strict=True)
    ]
    assert temperatures[0] == pytest.approx(temperatures[1], rel=1e-6)
    assert first[0][1] != second[0][1]


@pytest.mark.parametrize("protocol", ["strangers", "cross-corpus"])
def test_a_shipped_model_takes_its_calibration_from_records_of_its_own_settings(
    protocol: str, tmp_path: Path
) -> None:
    for seed in range(3):
        one = record(str(seed), overconfident(seed))
        one.write(tmp_path / protocol / "known" / "seed-0" / f"{seed}.json")
    other = replace(record("x", overconfident(9, accuracy=0.99)), settings={"blocks": (1, 3)})
    other.write(tmp_path / "strangers" / "known" / "seed-0" / "x.json")
    later = record("y", overconfident(8, accuracy=0.2))  # further seeds measure the spread alone
    later.write(tmp_path / protocol / "known" / "seed-1" / "y.json")
    own = Calibration(1.5, Certainty(0.5, 0.8, 0.9))
    found = calibrated_for_strangers(own, tmp_path, "known", {"blocks": (1, 2)})
    assert found is not None
    corrections = [overconfident(seed) for seed in range(3)]
    expected = 1.5 * calibrate_on_strangers(corrections).temperature
    assert found.temperature == pytest.approx(expected, rel=1e-2)
    assert calibrated_for_strangers(own, tmp_path, "known", {"blocks": (2, 3)}) is None
