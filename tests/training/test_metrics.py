"""Figures against counting by hand and against other libraries."""

import numpy as np
import pytest
import scipy.stats

from ser_core.training.metrics import bootstrap_uar, expected_calibration_error, score

LABELS = ("a", "b", "c")


def one_hot(predicted: list[int]) -> np.ndarray:
    return np.eye(len(LABELS))[predicted]


def test_score_counts_as_one_would_by_hand() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    scores = score(truth, one_hot([0, 0, 0, 1, 1, 0, 2, 2]), LABELS)
    assert scores.uar == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert scores.war == pytest.approx(6 / 8)
    assert scores.confusion == [[3, 1, 0], [1, 1, 0], [0, 0, 2]]
    assert scores.per_emotion["a"] == pytest.approx(
        {"precision": 3 / 4, "recall": 3 / 4, "f1": 3 / 4, "support": 4}
    )


def test_uar_ignores_how_often_an_emotion_occurs() -> None:
    truth = np.array([0] * 98 + [1, 2])
    assert score(truth, one_hot([0] * 100), LABELS).uar == pytest.approx(1 / 3)


def test_bootstrap_interval_agrees_with_scipy_for_one_emotion() -> None:
    right = np.random.default_rng(0).random(200) < 0.7
    low, high = bootstrap_uar(np.zeros(200, int), np.where(right, 0, 1))
    expected = scipy.stats.bootstrap(
        (right.astype(float),), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert low == pytest.approx(expected.low, abs=0.015)
    assert high == pytest.approx(expected.high, abs=0.015)


def test_calibration_error_of_honest_probabilities_is_small_and_of_boasts_large() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1.0, 20_000)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    honest = (random.random(20_000) > confidence).astype(int)
    assert expected_calibration_error(honest, probabilities) < 0.02
    boasts = random.integers(0, 2, 20_000)
    assert expected_calibration_error(boasts, probabilities) == pytest.approx(0.25, abs=0.02)
