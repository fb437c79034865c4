"""Gain of references without labels, from records."""

from dataclasses import replace

import numpy as np

from ser_lab.evaluate.adapted import KINDS, N_CLIPS, measure_adapted
from tests.lab.test_enrolment import record


def gains(strength: float) -> dict[tuple[str, int], float]:
    scores = measure_adapted([record({"a/1": 3, "a/2": 4, "a/3": 5}, strength=strength)])
    assert [(score.kind, score.n_clips) for score in scores] == [
        (kind, n) for kind in KINDS for n in N_CLIPS
    ]
    return {(score.kind, score.n_clips): score.gain for score in scores}


def test_leaning_voices_gain_the_more_the_more_clips_are_known() -> None:
    gain = gains(3.0)
    assert 0.02 < gain["as they come", 5] < gain["as they come", 50]
    assert gain["balanced", 50] > 0.1
    assert gain["one emotion", 50] > -0.01
    assert gain["the same emotion", 50] < gain["one emotion", 50]


def test_voices_without_a_leaning_lose_nothing() -> None:
    gain = gains(0.0)
    assert (
        np.abs([gain[kind, n] for kind in ("balanced", "as they come") for n in N_CLIPS]).max()
        < 0.02
    )


def test_the_only_clip_of_a_speaker_stays_as_it_was_answered() -> None:
    fold = record({"a/1": 3}, strength=3.0)
    alone = replace(fold, answers=fold.answers.iloc[:1])
    assert all(score.gain == 0.0 for score in measure_adapted([alone]))
