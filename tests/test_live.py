"""Answers over a stream."""

from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ser_core.errors import NoSpeechError
from ser_core.live import LiveConfig, LiveSession, LiveSessions
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor
from tests.conftest import ROOT, data_folder

RATE_HZ = 48_000
CALM, ANGRY = (0.9, 0.1), (0.2, 0.8)


@dataclass
class Echo:
    """Answers what it is told to, and remembers what it heard."""

    answers: list[tuple[float, float]] = field(default_factory=lambda: [CALM])
    heard: list[np.ndarray] = field(default_factory=list)
    silent: bool = False
    temperature: float = 1.0
    weights: str = ""

    def predict(self, source: Any) -> Prediction:
        self.heard.append(source[1])
        if self.silent:
            raise NoSpeechError("Nobody speaks.")
        answer = self.answers[min(len(self.heard), len(self.answers)) - 1]
        return Prediction.from_probabilities(
            answer,
            ("calm", "angry"),
            duration_s=(duration_s := len(source[1]) / source[0]),
            speech_end_s=duration_s,
            certain_from=0.6,
            temperature=self.temperature,
            weights=self.weights,
        )


def speech(duration_s: float, *, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Something loud; (n_samples,) int16."""
    random = np.random.default_rng(0)
    return random.integers(-9_000, 9_000, round(duration_s * rate_hz)).astype(np.int16)


def talk(session: LiveSession, listener: Echo, chunks: list[np.ndarray]) -> None:
    for chunk in chunks:
        session.process(RATE_HZ, chunk, listener)


def answers_after_utterances(session: LiveSession) -> tuple[str, str]:
    """The emotion of an undecided window before and after ten utterances that lean to anger."""
    found = []
    for leaning in ([], [(0.6, 0.4), (0.02, 0.98)] * 5):
        for answer in leaning:
            talk(session, Echo([answer]), [speech(0.5)] * 4)
            talk(session, Echo(), [np.zeros(RATE_HZ, np.int16)])
        talk(session, Echo([(0.45, 0.55)]), [speech(0.5)] * 4)
        prediction = session.answers[-1].prediction
        found.append(prediction.emotion if prediction else "")
    return found[0], found[1]


def test_answers_adapt_to_a_voice_by_its_utterances() -> None:
    assert answers_after_utterances(LiveSession()) == ("angry", "calm")
    assert answers_after_utterances(LiveSession(LiveConfig(adapt=False))) == ("angry", "angry")


def test_another_model_starts_without_what_was_kept_of_the_one_before() -> None:
    session = LiveSession()
    answers_after_utterances(session)
    talk(session, Echo(), [np.zeros(RATE_HZ, np.int16)])
    talk(session, Echo([(0.45, 0.55)], weights="another"), [speech(0.5)] * 4)
    prediction = session.answers[-1].prediction
    assert prediction is not None
    assert prediction.probabilities == pytest.approx((0.45, 0.55))


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
    np.testing.assert_array_equal(heard, backlog[-round(2.5 * RATE_HZ) :])


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


def test_an_emotion_settles_when_its_lead_adds_up() -> None:
    waverer, changer = LiveSession(), LiveSession()
    talk(waverer, Echo(answers=[CALM, *[ANGRY, (0.45, 0.55)] * 20]), [speech(0.5)] * 40)
    assert [answer.settled for answer in waverer.answers] == [None] + ["calm"] * 39
    talk(changer, Echo(answers=[CALM] * 10 + [(0.1, 0.9)] * 10), [speech(0.5)] * 20)
    settled = [answer.settled for answer in changer.answers]
    assert settled == [None] + ["calm"] * 11 + ["angry"] * 8  # at the second of the new answers


def test_nothing_settles_while_two_emotions_are_as_likely() -> None:
    session = LiveSession()
    talk(session, Echo(answers=[(0.5, 0.5)] * 10 + [CALM]), [speech(0.5)] * 12)
    assert [answer.settled for answer in session.answers] == [None] * 11 + ["calm"]


def test_each_change_makes_the_next_one_harder_for_some_time() -> None:
    calm, angry = [(0.98, 0.02)] * 4, [(0.02, 0.98)] * 4
    voice = calm + (angry + calm) * 10 + calm * 20 + angry

    def headlines(**settings: float) -> list[str | None]:
        session = LiveSession(LiveConfig(adapt=False, **settings))
        talk(session, Echo(answers=voice), [speech(0.5)] * (1 + len(voice)))
        return [answer.settled for answer in session.answers][1:]

    free, penalised = headlines(penalty=0.0), headlines()
    assert [sum(a != b for a, b in pairwise(one[:84])) for one in (free, penalised)] == [20, 7]
    assert free[-4:] == ["angry"] * 4
    assert penalised[-4:] == ["calm"] + ["angry"] * 3  # after 40 s


def test_silence_makes_changes_easy_again() -> None:
    session, silence = LiveSession(LiveConfig(adapt=False)), [np.zeros(24_000, np.int16)]
    listener = Echo(answers=[(0.98, 0.02)] * 3 + [(0.02, 0.98)])
    talk(session, listener, [speech(0.5)] * 6 + silence * 68)
    assert session.settled is None
    listener.answers = [*[CALM] * len(listener.heard), (0.98, 0.02), (0.02, 0.98)]
    talk(session, listener, [speech(0.5)] * 3)
    assert [answer.settled for answer in session.answers[-2:]] == ["calm", "angry"]


def test_a_cautiously_calibrated_model_settles_as_soon() -> None:
    bold, cautious = [CALM] * 4 + [(0.1, 0.9)] * 4, []
    for answer in bold:
        scores = np.sqrt(answer)
        cautious.append(tuple(scores / scores.sum()))
    one, other = LiveSession(), LiveSession()
    talk(one, Echo(answers=bold), [speech(0.5)] * 9)
    talk(other, Echo(answers=cautious, temperature=2.0), [speech(0.5)] * 9)
    assert [answer.settled for answer in one.answers] == [
        answer.settled for answer in other.answers
    ]
    assert one.settled == "angry"


def test_a_long_silence_alone_unsettles() -> None:
    session, silence = LiveSession(), [np.zeros(24_000, np.int16)]
    talk(session, Echo(), [speech(0.5)] * 4 + silence * 3)
    assert session.settled == "calm"
    talk(session, Echo(), silence * 4)
    assert session.settled is None


def test_late_sound_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("ser_core.live.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    session = LiveSession()

    def arrive(delay_s: float, sound_s: float) -> None:
        now_s[0] += delay_s
        session.process(RATE_HZ, speech(sound_s), Echo())

    for _ in range(10):
        arrive(0.5, 0.5)
    arrive(4.0, 0.5)
    assert session.lost_s == 0.0
    arrive(0.5, 4.0)  # what was late
    for _ in range(10):
        arrive(0.5, 0.5)
    assert session.lost_s == 0.0
    arrive(3.5, 0.5)  # the rest never comes
    for _ in range(10):
        arrive(0.5, 0.5)
    assert session.lost_s == pytest.approx(3.0)


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
        assert now_s[0] < 410.0
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


def test_an_utterance_lasts_from_pause_to_pause() -> None:
    session, pause = LiveSession(), [np.zeros(24_000, np.int16)] * 2
    echo = Echo(answers=[CALM, ANGRY, ANGRY, ANGRY, CALM])  # the pause has to last a while
    talk(session, echo, [*pause, *[speech(0.5)] * 4, *pause, *[speech(0.5)] * 2, *pause])
    utterances = [answer.utterance for answer in session.answers if answer.utterance]
    assert len(utterances) == 2
    first, second = utterances
    assert first.prediction is not None
    expected = np.mean([CALM, ANGRY, ANGRY, ANGRY], axis=0)
    assert first.prediction.probabilities == pytest.approx(tuple(expected))
    assert first.end_s <= second.start_s
    (end,) = session.end("finished")
    assert end["event"] == "end"


def test_a_long_utterance_goes_on_as_another_and_the_last_is_at_the_end() -> None:
    session = LiveSession(LiveConfig(utterance_s=3.0))
    talk(session, Echo(), [speech(0.5)] * 10)
    (first,) = [answer.utterance for answer in session.answers if answer.utterance]
    last, end = session.end("finished")
    assert first.end_s - first.start_s >= 3.0
    assert (last["event"], last["end_s"]) == ("utterance", 5.0)
    assert (end["event"], end["reason"], end["at_s"]) == ("end", "finished", 5.0)


def test_places_are_taken_by_those_who_talk_or_are_connected() -> None:
    sessions, talkers = LiveSessions(2), [LiveSession() for _ in range(3)]
    assert sessions.admit("a", talkers[0])
    talk(talkers[0], Echo(), [speech(1.0)])
    assert sessions.admit("b", talkers[1], is_connected=True)
    assert not sessions.admit("c", talkers[2])
    assert sessions.admit("a", talkers[0])  # its own
    sessions.leave("b")
    assert sessions.admit("c", talkers[2])
    sessions.leave("a")
    assert talkers[0]._window is None
    sessions.leave("a")  # twice is no error


def settled_headlines(tape: np.ndarray, rate_hz: int) -> list[str | None]:
    """Emotion that the compact model has settled at each half second of a tape, (n_samples,)."""
    session, predictor = LiveSession(), Predictor.from_folder(ROOT / "model" / "compact")
    for chunk in np.split(tape, range(rate_hz // 2, len(tape), rate_hz // 2)):
        session.process(rate_hz, chunk, predictor)
    return [answer.settled for answer in session.answers]


@pytest.mark.needs_data
@pytest.mark.parametrize("name", ["103-1240", "118-121721", "1069-133699", "1183-124566"])
def test_calm_reading_changes_the_headline_at_most_three_times(name: str) -> None:
    tape, rate_hz = soundfile.read(data_folder() / f"librispeech/{name}-0000.opus")
    settled = settled_headlines(np.resize(tape, 20 * rate_hz), rate_hz)
    assert sum(a != b for a, b in pairwise(filter(None, settled))) <= 3


@pytest.mark.needs_data
@pytest.mark.parametrize(("first", "second"), [("02", "05"), ("05", "02")])
def test_another_emotion_settles_within_two_and_a_half_seconds(first: str, second: str) -> None:
    names = {"02": "calm", "05": "angry"}
    tapes = []
    for code in (first, second):
        clip = data_folder() / f"ravdess/03-01-{code}-02-01-01-12.opus"
        voice, rate_hz = soundfile.read(clip)
        loud = np.flatnonzero(np.abs(voice) > 0.02 * np.abs(voice).max())
        tapes.append(np.resize(voice[loud[0] : loud[-1]], 6 * rate_hz))
    settled = settled_headlines(np.concatenate(tapes), rate_hz)
    assert settled[11] == names[first]  # at 6 s
    assert settled[16] == names[second]  # at 8.5 s
