"""Speakers: found by their voices, named by channels, and what is known of each."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.diarization import (
    DiarizationConfig,
    adapt_speakers,
    assign_speakers,
    channels_differ,
    name_channels,
    summarise_speakers,
)
from ser_core.paths import bundled
from ser_core.prediction import Prediction
from ser_core.preprocess import Waveform
from ser_core.reference import adapt_together
from ser_core.segments import Segment
from ser_core.speaker_encoder import RATE_HZ, embed_voice

HIGH, LOW = ("happy", "sad", "angry"), ("happy-low-voice", "sad-low-voice")
"""Examples of two voices."""


def spoken(name: str) -> Waveform:
    path = bundled("examples") / f"synthetic-{name}.flac"
    return load_audio(path, AudioConfig(sample_rate_hz=RATE_HZ))


def pairs(*names: str, **known: str) -> list[tuple[Segment, Waveform]]:
    found, end_s = [], 0.0
    for name in names:
        samples = spoken(name)
        start_s, end_s = end_s, end_s + len(samples) / RATE_HZ
        found.append((Segment(start_s, end_s, **known), samples))  # type: ignore[arg-type]
    return found


def test_vectors_of_a_voice_are_more_alike_than_those_of_two() -> None:
    high, low = ([embed_voice(spoken(name)) for name in names] for names in (HIGH[:2], LOW))
    assert all(vector.shape == (192,) for vector in high)
    across = max(float(a @ b) for a in high for b in low)
    assert min(float(high[0] @ high[1]), float(low[0] @ low[1])) > across


def test_a_vector_does_not_depend_on_the_level() -> None:
    loud = spoken("happy")
    quiet = np.asarray(0.05 * loud, np.float32)
    assert float(embed_voice(loud) @ embed_voice(quiet)) > 0.98


def test_two_voices_are_two_speakers_in_order_of_appearance() -> None:
    made = pairs(LOW[0], HIGH[0], LOW[1], HIGH[1])
    found = assign_speakers(made, DiarizationConfig(n_speakers=2))
    assert [s.speaker for s in found] == ["speaker 1", "speaker 2"] * 2
    assert [replace(s, speaker=None) for s in found] == [segment for segment, _ in made]


def test_a_short_noise_does_not_take_the_place_of_a_speaker() -> None:
    made = pairs(LOW[0], HIGH[0], LOW[1], HIGH[1])
    noise = np.random.default_rng(0).normal(0.0, 0.1, RATE_HZ).astype(np.float32)
    found = assign_speakers([*made, (Segment(90.0, 91.0), noise)], DiarizationConfig(n_speakers=2))
    assert [s.speaker for s in found[:4]] == ["speaker 1", "speaker 2"] * 2


def test_one_voice_in_several_moods_is_one_speaker() -> None:
    assert {s.speaker for s in assign_speakers(pairs(*HIGH))} == {"speaker 1"}


def test_a_segment_is_split_where_the_speaker_changes_unless_its_text_is_known() -> None:
    high, low = spoken(HIGH[0]), spoken(LOW[0])
    both = np.concatenate([high, high, low, low])
    length_s, change_s = len(both) / RATE_HZ, 2 * len(high) / RATE_HZ
    config = DiarizationConfig(n_speakers=2)
    parts = assign_speakers([(Segment(1.0, 1.0 + length_s, channel=1), both)], config)
    assert [part.speaker for part in parts] == ["speaker 1", "speaker 2"]
    assert parts[0].end_s == parts[1].start_s == pytest.approx(1.0 + change_s, abs=0.8)
    assert (parts[0].start_s, parts[1].end_s, parts[1].channel) == (1.0, 1.0 + length_s, 1)
    assert len(assign_speakers([(Segment(0.0, length_s, text="Hi"), both)], config)) == 1


def test_known_speakers_and_segments_without_sound_stay_as_they_are() -> None:
    known = pairs(HIGH[0], speaker="Ada")
    nothing = (Segment(9.0, 9.5), np.empty(0, np.float32))
    assert assign_speakers([*known, nothing]) == [known[0][0], nothing[0]]
    mixed = assign_speakers([*known, *pairs(LOW[0])])
    assert [s.speaker for s in mixed] == ["Ada", "speaker 1"]


def test_voiceprints_are_not_part_of_a_segment() -> None:
    (found,) = assign_speakers(pairs(HIGH[0]))
    values = [getattr(found, field.name) for field in fields(found)]
    assert values == [found.start_s, found.end_s, "speaker 1", None, None, None, ()]


def test_channels_are_speakers_where_none_is_known() -> None:
    named = name_channels([Segment(0, 1, channel=0), Segment(0, 1, "Ada", 1), Segment(1, 2)])
    assert [s.speaker for s in named] == ["channel 1", "Ada", None]


def answer(*probabilities: float) -> Prediction:
    return Prediction.from_probabilities(probabilities, ("calm", "sad"), temperature=2.0)


def test_answers_are_adapted_to_each_speaker_apart() -> None:
    ada = [Segment(i, i + 1, "Ada", prediction=answer(p, 1 - p)) for i, p in enumerate((0.9, 0.2))]
    bo = [Segment(i, i + 1, "Bo", prediction=answer(p, 1 - p)) for i, p in enumerate((0.4, 0.6))]
    rest = [Segment(5, 6, prediction=answer(0.5, 0.5)), Segment(6, 7, "Bo")]
    adapted = adapt_speakers([ada[0], bo[0], ada[1], bo[1], *rest])
    expected = adapt_together([s.prediction for s in ada if s.prediction])
    assert [adapted[0].prediction, adapted[2].prediction] == expected
    assert adapted[0] != ada[0]
    assert adapted[4:] == rest


def test_a_summary_weighs_answers_by_their_length() -> None:
    rows = summarise_speakers(
        [
            Segment(0, 1, "Bo", prediction=answer(1.0, 0.0)),
            Segment(1, 4, "Bo", prediction=answer(0.2, 0.8)),
            Segment(4, 5, "Ada"),
        ]
    )
    assert rows[0] == {
        "speaker": "Ada", "n_segments": 1, "speech_s": 1, "emotion": None, "probabilities": None
    }  # fmt: skip
    assert (rows[1]["n_segments"], rows[1]["speech_s"], rows[1]["emotion"]) == (2, 4, "sad")
    assert rows[1]["probabilities"] == pytest.approx({"calm": 0.4, "sad": 0.6})


@pytest.mark.parametrize(
    ("channels", "differ"),
    [
        pytest.param(lambda a, b: [[a, 0 * b], [0 * a, b]], True, id="a call"),
        pytest.param(lambda a, b: [[a, 0.1 * b], [0.1 * a, b]], True, id="a call with crosstalk"),
        pytest.param(lambda a, b: [[a, b], [a, b]], False, id="one sound twice"),
        pytest.param(lambda a, b: [[a, 0.7 * b], [0.7 * a, b]], False, id="one room"),
        pytest.param(lambda a, b: [[a, b], [0 * a, 0 * b]], False, id="an empty channel"),
        pytest.param(lambda a, b: [[a, b]], False, id="mono"),
        pytest.param(lambda a, b: [[0 * a, 0 * b]] * 2, False, id="silence"),
    ],
)
def test_channels_differ_where_they_take_turns(
    channels: Callable[[Waveform, Waveform], list[list[Waveform]]], differ: bool
) -> None:
    made = channels(spoken(HIGH[0]), spoken(LOW[0]))
    samples = np.stack([np.concatenate(channel) for channel in made])
    assert channels_differ((RATE_HZ, samples)) is differ
