"""Figures against counting by hand and against other libraries."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from ser_lab.metrics import (
    bootstrap,
    calibration_bins,
    calibration_gap,
    compute_scores,
    expected_calibration_error,
    interval,
    narrow,
    unweighted_recall,
)

LABELS = ("a", "b", "c")


def one_hot(predicted: list[int]) -> np.ndarray:
    return np.eye(len(LABELS))[predicted]


def test_score_counts_as_one_would_by_hand() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    scores = compute_scores(truth, one_hot([0, 0, 0, 1, 1, 0, 2, 2]), LABELS)
    assert scores.uar == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert scores.war == pytest.approx(6 / 8)
    assert scores.confusion == [[3, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert scores.per_emotion["a"] == pytest.approx(
        {"precision": 3 / 4, "recall": 3 / 4, "f1": 3 / 4, "support": 4}
    )


def test_uar_ignores_how_often_an_emotion_occurs() -> None:
    truth = np.array([0] * 98 + [1, 2])
    assert compute_scores(truth, one_hot([0] * 100), LABELS).uar == pytest.approx(1 / 3)


def test_uar_is_the_balanced_accuracy_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    truth, predicted = random.integers(8, size=(2, 500))
    expected = sklearn.metrics.balanced_accuracy_score(truth, predicted)
    assert unweighted_recall(truth, truth == predicted) == pytest.approx(expected)


def test_uar_leaves_out_emotions_that_do_not_occur() -> None:
    assert unweighted_recall(np.array([0, 0, 2]), np.array([True, False, True])) == 0.75


def test_uar_of_shares_is_the_mean_over_runs() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(8, size=200)
    runs = random.random((3, 200)) < 0.6
    each = [unweighted_recall(truth, right) for right in runs]
    assert unweighted_recall(truth, runs.mean(axis=0)) == pytest.approx(np.mean(each))


def test_bootstrap_agrees_with_scipy_for_one_emotion() -> None:
    right = np.random.default_rng(0).random(200) < 0.7
    uars, wars = bootstrap(np.zeros(200, int), right)
    low, high = interval(uars)
    expected = scipy.stats.bootstrap(
        (right.astype(float),), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.015)
    assert high == pytest.approx(expected.high, abs=0.015)
    np.testing.assert_allclose(uars, wars)


def test_bootstrap_of_a_rare_emotion_is_not_drawn_down_where_it_is_not_drawn() -> None:
    truth = np.array([0] * 50 + [1])
    uars, _ = bootstrap(truth, np.ones(51, bool))
    assert uars.min() == 1.0


def test_narrowing_keeps_the_odds_of_the_classes_that_stay() -> None:
    narrowed = narrow(np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]]), LABELS, ("a", "c"))
    np.testing.assert_allclose(narrowed, [[0.4, 0.6], [0.5, 0.5]])


def test_calibration_bins_count_by_confidence() -> None:
    confidence = np.array([0.30, 0.32, 0.90, 1.0])
    low, nine, full = calibration_bins(confidence, np.array([True, False, True, True]))
    assert (low.n_clips, nine.n_clips, full.n_clips) == (2, 1, 1)
    assert (low.confidence, low.accuracy) == (pytest.approx(0.31), 0.5)
    assert calibration_gap((low, nine, full)) == pytest.approx((2 * 0.19 + 0.1 + 0) / 4)


def test_calibration_error_of_honest_probabilities_is_small_and_of_boasts_large() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1.0, 20_000)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    honest = (random.random(20_000) > confidence).astype(int)
    assert expected_calibration_error(honest, probabilities) < 0.02
    boasts = random.integers(0, 2, 20_000)
    assert expected_calibration_error(boasts, probabilities) == pytest.approx(0.25, abs=0.02)
