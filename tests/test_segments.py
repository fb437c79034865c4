"""Segments of a recording: their form, how they are found, and that length costs no memory."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ser_core.audio.load import AudioSource, load_audio
from ser_core.cli.output import print_segments
from ser_core.config import AudioConfig, PipelineConfig, max_duration_s, with_limits
from ser_core.errors import AudioError, SerError
from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor
from ser_core.preprocess import find_ends
from ser_core.quality import QualityWarning
from ser_core.segments import Segment, SegmentConfig, cut, segment
from ser_core.speech_detector import LEVEL
from tests.conftest import RATE_HZ, ROOT

NOISY = QualityWarning("noisy", "The background is loud.")
SAD = Prediction.from_probabilities(
    [0.1, 0.9], ("calm", "sad"), certain_from=0.7, temperature=1.5, weights="ab", warnings=(NOISY,)
)


def test_a_segment_survives_json() -> None:
    whole = Segment(1.5, 2.25, "Ana", 1, "No.", SAD, (NOISY,))
    bare = Segment(0.0, 1.0)
    for known in (whole, bare):
        assert Segment.from_dict(json.loads(json.dumps(known.to_dict()))) == known
    assert Segment.from_dict({"start_s": 0, "end_s": 1}) == bare


@pytest.mark.parametrize("times", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (0.0, float("nan"))])
def test_a_segment_without_sound_is_refused(times: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="has no sound"):
        Segment(*times)


def test_rows_have_the_same_columns_with_and_without_a_prediction() -> None:
    with_prediction, without = (
        Segment(0.0, 1.0, prediction=prediction, warnings=(NOISY,)).to_row(LABELS)
        for prediction in (SAD, None)
    )
    assert list(with_prediction) == list(without)
    assert (with_prediction["emotion"], with_prediction["sad"]) == ("sad", 0.9)
    assert (with_prediction["certain"], with_prediction["angry"]) == (True, None)
    assert (without["emotion"], without["sad"], without["warnings"]) == (None, None, "noisy")


def test_a_terminal_shows_segments_as_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    late = Segment(3_725.04, 3_729.9, "Ana", 1, "[No].", SAD, (NOISY,))
    print_segments([Segment(0.0, 1.25), late])
    header, bare, whole = capsys.readouterr().out.splitlines()
    assert header.split() == [
        *("start", "end", "speaker", "emotion", "confidence", "next", "text", "warnings"),
    ]
    assert bare.split() == ["0:00:00.0", "0:00:01.2", "–", "–"]
    assert whole.split()[:3] == ["1:02:05.0", "1:02:09.9", "Ana"]
    for part in ("sad", "90%", "calm 10%", "[No].", "noisy"):
        assert part in whole


def example(name: str) -> np.ndarray:
    return load_audio(ROOT / "examples" / f"synthetic-{name}.flac", AudioConfig())


def joined(names: Sequence[str], pause_s: float = 0.8) -> tuple[np.ndarray, list[Segment]]:
    """Return examples between pauses, and where they are."""
    pieces, places, n_samples = [], [], 0
    for name in names:
        clip = example(name)
        start, end = find_ends(clip, LEVEL, sample_rate_hz=RATE_HZ)
        pieces += [np.zeros(round(pause_s * RATE_HZ), np.float32), clip[start:end]]
        start_s = n_samples / RATE_HZ + pause_s
        n_samples += sum(map(len, pieces[-2:]))
        places.append(Segment(start_s, n_samples / RATE_HZ))
    return np.concatenate([*pieces, np.zeros(RATE_HZ, np.float32)]), places


SPEECH, PLACES = joined(["angry", "sad", "happy"])


def times_of(found: Iterable[Segment]) -> list[float]:
    return [time_s for segment in found for time_s in (segment.start_s, segment.end_s)]


WHOLE = SegmentConfig(min_silence_s=0.5)
"""Settings by which an example is one utterance: one of them pauses after a comma."""


def found_in(source: AudioSource, **settings: Any) -> list[Segment]:
    return [found for found, _ in cut(source, config=replace(WHOLE, **settings))]


@pytest.mark.parametrize("gain_db", [-40.0, 0.0, 12.0])
def test_utterances_are_found_between_pauses_at_any_level(gain_db: float) -> None:
    found = found_in((RATE_HZ, SPEECH * 10.0 ** (gain_db / 20.0) / 8))
    assert times_of(found) == pytest.approx(times_of(PLACES), abs=0.2)
    assert {segment.channel for segment in found} == {None}


def test_noise_between_utterances_is_none() -> None:
    hiss = np.random.default_rng(0).normal(0, 0.01, len(SPEECH)).astype(np.float32)
    found = found_in((RATE_HZ, SPEECH + hiss))
    assert times_of(found) == pytest.approx(times_of(PLACES), abs=0.25)
    assert found_in((RATE_HZ, hiss)) == []


def test_the_samples_of_a_segment_are_those_of_its_time() -> None:
    for found, samples in cut((RATE_HZ, SPEECH)):
        start = round(found.start_s * RATE_HZ)
        np.testing.assert_array_equal(samples, SPEECH[start : start + len(samples)])
        assert len(samples) / RATE_HZ == pytest.approx(found.end_s - found.start_s, abs=0.001)


def test_an_utterance_that_is_too_long_is_split_at_its_quietest_point() -> None:
    talk = np.tile(example("neutral")[8_000:40_000], 6)  # 12 s without a pause
    talk[4 * RATE_HZ : 4 * RATE_HZ + 2_560] *= 0.02
    found = found_in((RATE_HZ, talk), max_s=6.0)
    assert all(segment.end_s - segment.start_s <= 6.1 for segment in found)
    assert found[0].end_s == pytest.approx(4.08, abs=0.1)
    assert [a.end_s for a in found[:-1]] == [b.start_s for b in found[1:]]


def test_windows_cover_all_of_a_recording() -> None:
    found = found_in((RATE_HZ, np.zeros(14 * RATE_HZ)), mode="windows")
    assert times_of(found) == [0, 6, 3, 9, 6, 12, 8, 14]
    assert times_of(found_in((RATE_HZ, np.zeros(RATE_HZ)), mode="windows")) == [0, 1]


def test_the_channels_of_a_call_are_two_lanes(predictor: Predictor) -> None:
    angry, _ = joined(["angry"])
    sad, _ = joined(["sad"])
    call = np.zeros((len(angry) + len(sad), 2), np.float32)
    call[: len(angry), 0], call[len(angry) :, 1] = angry, sad
    lanes = replace(WHOLE, by_channel=True)
    first, second = segment((RATE_HZ, call), predictor, config=lanes)
    assert (first.channel, second.channel) == (0, 1)
    for found, name in ((first, "angry"), (second, "sad")):
        alone = predictor.predict((RATE_HZ, example(name))).probabilities
        assert found.prediction is not None
        assert found.prediction.probabilities == pytest.approx(alone, abs=0.15)


def test_segments_come_in_order_of_their_starts_before_the_recording_has_ended(
    tmp_path: Path, predictor: Predictor
) -> None:
    call = np.stack([np.tile(SPEECH, 8), np.roll(np.tile(SPEECH, 8), RATE_HZ)], axis=1)
    soundfile.write(tmp_path / "call.wav", call, RATE_HZ)
    shares: list[float] = []
    both = replace(WHOLE, by_channel=True)
    found = segment(tmp_path / "call.wav", predictor, config=both, on_progress=shares.append)
    first = next(found)
    assert 0.0 < shares[-1] < 0.8
    starts = [first.start_s, *(later.start_s for later in found)]
    assert len(starts) == 48
    assert starts == sorted(starts)
    assert shares[-1] == 1.0


def test_given_segments_keep_what_is_known_about_them(predictor: Predictor) -> None:
    given = [
        replace(PLACES[1], speaker="Bo", text="No."),
        replace(PLACES[0], speaker="Ana", warnings=(NOISY,)),
        Segment(0.0, 0.7),
        Segment(100.0, 101.0, text="later"),
        Segment(PLACES[2].start_s + 0.1, PLACES[2].start_s + 0.4),
    ]
    found = list(segment((RATE_HZ, SPEECH), predictor, given=given))
    bare = [replace(known, prediction=None, warnings=known.warnings[:1]) for known in found]
    assert [s.to_dict() | {"warnings": []} for s in bare] == [
        s.to_dict() | {"warnings": []} for s in sorted(given, key=lambda known: known.start_s)
    ]
    silent, ana, bo, short, outside = found
    assert [s.prediction is None for s in found] == [True, False, False, False, True]
    assert (silent.warnings[0].code, ana.warnings[0]) == ("doubtful_speech", NOISY)
    assert "short" in [warning.code for warning in short.warnings]
    assert "ends before" in outside.warnings[0].message
    assert bo.prediction is not None
    assert bo.prediction.duration_s == pytest.approx(bo.end_s - bo.start_s, abs=0.01)
    assert list(segment((RATE_HZ, SPEECH), predictor, given=[])) == []


def test_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(SerError, match="name channel 2, counted from 0; the recording has 1"):
        list(cut((RATE_HZ, SPEECH), given=[Segment(0.0, 1.0, channel=2)]))


def test_the_longest_recording_is_a_setting(
    monkeypatch: pytest.MonkeyPatch, predictor: Predictor
) -> None:
    monkeypatch.delenv("MOODMIRROR_MAX_DURATION_S", raising=False)
    assert max_duration_s(600.0) == 600.0
    with pytest.raises(AudioError, match="at most 2 s"):
        found_in((RATE_HZ, SPEECH), max_duration_s=2.0)
    monkeypatch.setenv("MOODMIRROR_MAX_DURATION_S", "3")
    with pytest.raises(AudioError, match="at most 3 s"):
        found_in((RATE_HZ, SPEECH))
    with pytest.raises(AudioError, match="at most 3 s"):
        Predictor(predictor.model).predict((RATE_HZ, SPEECH))
    for text in ("soon", "-1", "nan"):
        monkeypatch.setenv("MOODMIRROR_MAX_DURATION_S", text)
        with pytest.raises(SerError, match=f"is '{text}'; expected seconds"):
            max_duration_s(600.0)


@pytest.mark.parametrize(
    ("longest", "timeout_s"), [("", 30.0), ("60", 30.0), ("3600", 180.0), ("inf", 3_600.0)]
)
def test_a_longer_recording_has_more_time_to_be_decoded(
    longest: str, timeout_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOODMIRROR_MAX_DURATION_S", longest)
    assert with_limits(PipelineConfig()).audio.ffmpeg_timeout_s == timeout_s
