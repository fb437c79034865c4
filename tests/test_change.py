"""Changes of emotion within a recording."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_core.change import PENALTY, best_path, find_parts
from ser_core.prediction import Analysis
from ser_core.predictor import Predictor
from tests.conftest import RATE_HZ, make_babble


def total(scores: np.ndarray, path: tuple[int, ...], penalty: float) -> float:
    changes = sum(a != b for a, b in pairwise(path))
    return float(sum(row[k] for row, k in zip(scores, path, strict=True)) - penalty * changes)


@given(st.integers(1, 5), st.floats(0.0, 3.0), st.integers(0, 1_000))
def test_no_labels_have_a_larger_sum_than_the_best_path(n: int, penalty: float, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(n, 3))
    best = total(scores, tuple(best_path(scores, penalty)), penalty)
    every = max(total(scores, path, penalty) for path in product(range(3), repeat=n))
    assert best == pytest.approx(every)


def test_a_change_has_to_be_worth_its_penalty() -> None:
    scores = np.log([[0.6, 0.4], [0.4, 0.6]])
    assert best_path(scores, 0.3) == [0, 1]
    assert len(set(best_path(scores, 0.5))) == 1


@pytest.fixture(scope="module")
def joined(predictor: Predictor) -> Analysis:
    """A voice, a second of silence, and another voice."""
    clip = np.concatenate([make_babble(seed=0), make_babble(seed=1)])
    return predictor.analyse((RATE_HZ, clip))


@pytest.mark.parametrize("penalty", [0.0, PENALTY, 100.0])
def test_parts_are_adjacent_and_change_where_the_pause_is(
    joined: Analysis, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, penalty: float
) -> None:
    answers = np.eye(len(predictor.labels))[[0, 1]] * 0.9 + 0.1 / len(predictor.labels)
    monkeypatch.setattr("ser_core.change.PENALTY", penalty)
    monkeypatch.setattr("ser_core.change.in_batches", lambda *_args, **_options: answers)
    parts = find_parts(joined, predictor.model)
    p = joined.prediction
    assert (parts[0].start_s, parts[-1].end_s) == pytest.approx((p.speech_start_s, p.speech_end_s))
    if penalty == 100.0:
        assert len(parts) == 1
        return
    first, second = parts
    assert first.end_s == second.start_s == pytest.approx(4.0, abs=0.4)
    assert first.emotion(p.labels) == p.labels[0]
    assert second.emotion(p.labels) == p.labels[1]


def test_a_phrase_alone_is_one_part_with_the_probabilities_of_the_clip(
    predictor: Predictor, babble: np.ndarray
) -> None:
    analysis = predictor.analyse((RATE_HZ, babble))
    (part,) = find_parts(analysis, predictor.model)
    assert part.probabilities == analysis.prediction.probabilities


def test_phrases_have_the_features_of_their_own_time(
    joined: Analysis, predictor: Predictor
) -> None:
    seen: list[np.ndarray] = []

    class Recorded:
        manifest = predictor.manifest

        def __call__(self, features: np.ndarray, _n_frames: np.ndarray) -> np.ndarray:
            seen.extend(features)
            return np.full((len(features), len(predictor.labels)), 1 / len(predictor.labels))

    find_parts(joined, Recorded())  # type: ignore[arg-type]
    assert len(seen) == 2
    assert max(map(len, seen)) < len(joined.features)
    assert sum(map(len, seen)) >= len(joined.features)
