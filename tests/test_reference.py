"""Adaptation to a voice by other clips of it."""

from dataclasses import replace

import numpy as np
import pytest

from ser_core.prediction import Prediction
from ser_core.reference import Reference, adapt_together

N = 4


def answers(n_clips: int, *, leaning: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities and truth of a voice that sounds like emotion 0 whatever it says."""
    random = np.random.default_rng(seed)
    truth = np.arange(n_clips) % N
    logits = random.normal(0, 0.5, (n_clips, N)) + 2.0 * np.eye(N)[truth]
    logits[:, 0] += leaning
    raised = np.exp(logits)
    return raised / raised.sum(axis=1, keepdims=True), truth


def test_a_leaning_voice_is_understood_better_with_other_clips_of_it() -> None:
    known, _ = answers(20, leaning=3.0)
    tested, truth = answers(200, leaning=3.0, seed=1)
    reference = Reference.of(known)
    adapted = np.array([reference.adapt(row) for row in tested])
    np.testing.assert_allclose(adapted.sum(axis=1), 1.0)
    assert (adapted.argmax(axis=1) == truth).mean() > (tested.argmax(axis=1) == truth).mean() + 0.2


def test_a_voice_without_a_leaning_keeps_its_answers() -> None:
    known, _ = answers(20, leaning=0.0)
    tested, _ = answers(200, leaning=0.0, seed=1)
    adapted = np.array([Reference.of(known).adapt(row) for row in tested])
    assert (adapted.argmax(axis=1) == tested.argmax(axis=1)).mean() > 0.95


def test_clips_of_one_emotion_change_less_than_varied_ones() -> None:
    rows, truth = answers(80, leaning=0.0)
    one_sided, varied = Reference.of(rows[truth == 2]), Reference.of(rows[:20])
    assert one_sided.variety < 0.5 < varied.variety
    same = np.tile(rows[2], (20, 1))
    assert Reference.of(same).variety == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(Reference.of(same).adapt(rows[0]), rows[0], atol=1e-6)


def test_the_more_clips_the_more_is_subtracted_and_none_change_nothing() -> None:
    rows, _ = answers(40, leaning=3.0)
    sizes = [np.abs(Reference.of(rows[:n]).shift).max() for n in (4, 8, 40)]
    assert sizes == sorted(sizes)
    assert Reference().adapt(rows[0]) == tuple(rows[0])


def test_references_add_up() -> None:
    rows, _ = answers(12, leaning=1.0)
    joined = Reference.of(rows[:5]) + Reference.of(rows[5:])
    assert joined.n_clips == 12
    np.testing.assert_allclose(joined.shift, Reference.of(rows).shift)
    assert Reference() + joined == joined + Reference() == joined


def test_a_probability_of_zero_stays_finite() -> None:
    reference = Reference.of([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    assert np.isfinite(reference.adapt([0.0, 0.0, 0.0, 1.0])).all()


def test_no_prediction_is_adapted_by_itself() -> None:
    rows, _ = answers(6, leaning=2.0)
    labels = tuple("abcd")
    predictions = [Prediction.from_probabilities(row, labels) for row in rows]
    adapted = adapt_together(predictions)
    expected = Reference.of(rows[1:]).adapt(rows[0])
    np.testing.assert_allclose(adapted[0].probabilities, expected)
    assert adapt_together(predictions[:1])[0].probabilities == predictions[0].probabilities


def test_a_calibrated_model_is_adapted_as_it_would_be_without() -> None:
    rows, _ = answers(12, leaning=2.0)
    labels = tuple("abcd")
    bold = [Prediction.from_probabilities(row, labels) for row in rows]
    cautious = [
        replace(prediction, temperature=2.0).with_uncalibrated(prediction.probabilities)
        for prediction in bold
    ]
    assert max(prediction.confidence for prediction in cautious) < 0.9
    for one, other in zip(adapt_together(bold), adapt_together(cautious), strict=True):
        np.testing.assert_allclose(one.probabilities, other.uncalibrated)
