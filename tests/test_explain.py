"""Which moments spoke for the answer."""

from itertools import pairwise

import numpy as np
import pytest

from ser_core.explain import explain
from ser_core.predictor import Predictor
from tests.conftest import RATE_HZ, make_babble


def test_moments_lie_side_by_side_in_the_part_that_was_judged(
    predictor: Predictor, babble: np.ndarray
) -> None:
    analysis = predictor.analyse((RATE_HZ, babble))
    moments = explain(analysis, predictor.model)
    judged_s = analysis.prediction.speech_end_s - analysis.prediction.speech_start_s
    assert len(moments) == int(judged_s / 0.3)
    assert moments[0].start_s == pytest.approx(analysis.prediction.speech_start_s, abs=1e-3)
    assert moments[-1].end_s == pytest.approx(analysis.prediction.speech_end_s, abs=1e-3)
    for one, following in pairwise(moments):
        assert one.end_s == following.start_s
    assert any(moment.weight != 0.0 for moment in moments)


def test_a_moment_weighs_what_the_answer_loses_without_it(
    predictor: Predictor, babble: np.ndarray
) -> None:
    analysis = predictor.analyse((RATE_HZ, babble))
    first = explain(analysis, predictor.model)[0]
    config = predictor.config
    n_frames = round(
        (first.end_s - first.start_s) * config.audio.sample_rate_hz / config.features.hop_length
    )
    without = predictor.model(analysis.features[np.newaxis, n_frames:])[0]
    top = analysis.prediction.labels.index(analysis.prediction.emotion)
    loss = analysis.prediction.confidence - float(without[top])
    assert first.weight == pytest.approx(loss, abs=1e-4)


def test_of_a_long_recording_the_window_that_is_most_like_the_answer_is_explained(
    predictor: Predictor,
) -> None:
    clip = np.concatenate([make_babble(seed=seed)[RATE_HZ:-RATE_HZ] for seed in range(8)])
    analysis = predictor.analyse((RATE_HZ, clip))
    assert len(analysis.windows) == 5
    top = analysis.prediction.labels.index(analysis.prediction.emotion)
    strongest = max(analysis.windows, key=lambda window: window.probabilities[top])
    moments = explain(analysis, predictor.model)
    assert moments[0].start_s == pytest.approx(strongest.start_s, abs=1e-3)
    assert moments[-1].end_s == pytest.approx(strongest.end_s, abs=1e-3)


def test_a_clip_too_short_to_be_divided_is_not_explained(predictor: Predictor) -> None:
    clip = make_babble()[RATE_HZ : round(1.8 * RATE_HZ)]
    assert explain(predictor.analyse((RATE_HZ, clip)), predictor.model) == ()
