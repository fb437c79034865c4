"""Answers over a stream."""

from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_core.errors import NoSpeechError
from ser_core.live import LiveConfig, LiveSession
from ser_core.prediction import Prediction

RATE_HZ = 48_000
CALM, ANGRY = (0.9, 0.1), (0.2, 0.8)


@dataclass
class Echo:
    """Answers what it is told to, and remembers what it heard."""

    answers: list[tuple[float, float]] = field(default_factory=lambda: [CALM])
    heard: list[np.ndarray] = field(default_factory=list)
    silent: bool = False

    def predict(self, source: Any) -> Prediction:
        self.heard.append(source[1])
        if self.silent:
            raise NoSpeechError("Nobody speaks.")
        answer = self.answers[min(len(self.heard), len(self.answers)) - 1]
        return Prediction.from_probabilities(answer, ("calm", "angry"), certain_from=0.6)


def speech(duration_s: float, *, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Something loud; (n_samples,) int16."""
    random = np.random.default_rng(0)
    return random.integers(-9_000, 9_000, round(duration_s * rate_hz)).astype(np.int16)


def talk(session: LiveSession, listener: Echo, chunks: list[np.ndarray]) -> None:
    for chunk in chunks:
        session.process(RATE_HZ, chunk, listener)


@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=40))
def test_chunks_of_any_length_give_at_most_an_answer_each_half_second(sizes: list[int]) -> None:
    session, listener = LiveSession(), Echo()
    talk(session, listener, [speech(size / RATE_HZ) for size in sizes])
    at_s = [answer.at_s for answer in session.answers]
    assert all(b - a >= 0.499 for a, b in pairwise(at_s))
    assert all(len(heard) <= 3 * RATE_HZ for heard in listener.heard)
    longest = max(sizes) / RATE_HZ
    assert len(at_s) >= int(sum(sizes) / RATE_HZ / (0.5 + longest))


def test_half_second_chunks_are_answered_each_from_the_first_second_on() -> None:
    session, listener = LiveSession(), Echo()
    talk(session, listener, [speech(0.5)] * 20)
    assert [answer.at_s for answer in session.answers] == [0.5 * (i + 1) for i in range(20)]
    assert [bool(answer.prediction) for answer in session.answers] == [False] + [True] * 19


def test_a_backlog_is_answered_once_for_its_newest_end() -> None:
    session, listener = LiveSession(), Echo()
    backlog = np.concatenate([speech(20.0), np.full(RATE_HZ, 5_000, np.int16)])
    session.process(RATE_HZ, backlog, listener)
    (heard,) = listener.heard
    np.testing.assert_array_equal(heard, backlog[-3 * RATE_HZ :])


def test_silence_is_no_answer_and_what_came_before_it_is_forgotten() -> None:
    session, listener = LiveSession(), Echo(answers=[CALM, CALM, CALM, ANGRY])
    talk(session, listener, [speech(0.5)] * 4 + [np.zeros(24_000, np.int16)] * 4)
    assert session.answers[-1].prediction is None
    talk(session, listener, [speech(0.5)] * 3)
    last = session.answers[-1].prediction
    assert last is not None
    assert last.probabilities == pytest.approx(ANGRY)
    assert len(listener.heard[-1]) <= 3.5 * RATE_HZ


def test_answers_are_smoothed() -> None:
    session = LiveSession(LiveConfig(smoothing=0.5))
    talk(session, Echo(answers=[CALM, ANGRY]), [speech(0.5)] * 3)
    last = session.answers[-1].prediction
    assert last is not None
    assert last.probabilities == pytest.approx((0.55, 0.45))
    assert not last.certain  # the newest alone would be, at 0.8


def test_a_window_without_speech_is_listened_through() -> None:
    session = LiveSession()
    talk(session, Echo(silent=True), [speech(0.5)] * 6)
    assert len(session.answers) == 6
    assert not any(answer.prediction for answer in session.answers)
    assert session.shares() == {}
    assert session.rows() == []


def test_another_rate_or_type_begins_a_new_window() -> None:
    session, listener = LiveSession(), Echo()
    talk(session, listener, [speech(0.5)] * 4)
    session.process(44_100, speech(1.5, rate_hz=44_100), listener)
    assert len(listener.heard[-1]) == round(1.5 * 44_100)
    session.process(44_100, speech(1.5, rate_hz=44_100).astype(np.float32) / 2**15, listener)
    assert listener.heard[-1].dtype == np.float32
    assert len(listener.heard[-1]) == round(1.5 * 44_100)


def test_a_session_ends_at_its_limit_and_sums_up() -> None:
    session = LiveSession(LiveConfig(limit_s=3.0, smoothing=0.0))
    listener = Echo(answers=[CALM, CALM, ANGRY, ANGRY, ANGRY])
    talk(session, listener, [speech(0.5)] * 40)
    assert session.is_over
    assert session.answers[-1].at_s == 3.0
    assert session.shares() == pytest.approx({"angry": 0.52, "calm": 0.48})
    assert [row["emotion"] for row in session.rows()] == ["calm"] * 2 + ["angry"] * 3


def test_a_session_of_tiny_chunks_ends_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("ser_core.live.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    session = LiveSession(LiveConfig(limit_s=300.0))
    while not session.is_over:
        session.process(RATE_HZ, speech(0.01), Echo())
        now_s[0] += 0.5
        assert now_s[0] < 710.0
    assert session.received_s < 20.0


def test_an_answer_tells_how_far_behind_the_speaker_it_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([100.0, 100.2, 102.9, 103.0])  # a chunk, its answer, the next, its answer
    monkeypatch.setattr("ser_core.live.time", SimpleNamespace(monotonic=lambda: next(clock)))
    session = LiveSession()
    session.process(RATE_HZ, speech(1.0), Echo())
    session.process(RATE_HZ, speech(2.0), Echo())
    assert [answer.lag_s for answer in session.answers] == [pytest.approx(0.2), pytest.approx(1.0)]
    assert session.rows()[1]["lag_s"] == pytest.approx(1.0)


def test_who_sends_no_chunk_for_a_while_no_longer_talks(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("ser_core.live.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    session = LiveSession(LiveConfig(absent_s=5.0))
    assert not session.is_active
    session.process(RATE_HZ, speech(1.0), Echo())
    now_s[0] = 104.9
    assert session.is_active
    now_s[0] = 105.1
    assert not session.is_active


def test_sound_can_be_let_go_and_the_session_goes_on() -> None:
    session, echo = LiveSession(), Echo()
    session.process(RATE_HZ, speech(2.0), echo)
    session.discard_audio()
    assert session._window is None
    assert len(session.answers) == 1
    session.process(RATE_HZ, speech(1.0), echo)
    assert len(echo.heard[-1]) == RATE_HZ
