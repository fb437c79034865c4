"""One speaker's voice, taught."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_core.labels import LABELS
from ser_core.prediction import Analysis, Prediction, Window
from ser_core.speaker import MAX_CORRECTIONS, SpeakerError, SpeakerProfile, mean_log

N = len(LABELS)
EVEN = (1 / N,) * N
MODEL = "accurate 1.0"
SADDISH = (0.2, 0.1, 0.05, 0.4, 0.05, 0.1, 0.05, 0.05)


def heard(
    probabilities: tuple[float, ...], model: str = MODEL, weights: str = "ab12"
) -> Prediction:
    return Prediction(LABELS, probabilities, 12.0, 1.0, 11.0, model=model, weights=weights)


def spoken(probabilities: tuple[float, ...], **changes: Any) -> Analysis:
    prediction = replace(heard(probabilities), **changes)
    windows = (Window(1.0, 7.0, probabilities), Window(5.0, 11.0, probabilities))
    return Analysis(np.zeros(1, np.float32), 16_000, np.zeros((1, 1)), windows, prediction)


REFERENCE = mean_log([EVEN])


def test_what_a_calm_voice_sounds_like_is_taken_off_in_part() -> None:
    profile = SpeakerProfile.enroll(spoken(SADDISH), REFERENCE)
    before = heard(SADDISH)
    after = profile.adapt(before)
    assert sum(after.probabilities) == pytest.approx(1.0)
    sad, fearful = LABELS.index("sad"), LABELS.index("fearful")
    assert after.probabilities[sad] < before.probabilities[sad]
    ratio = after.probabilities[sad] / after.probabilities[fearful]
    assert ratio == pytest.approx(4 ** (1 - 0.4))  # 0.4 / 0.1, 40 % of it taken off
    assert after.model == before.model


def test_a_voice_like_everybodys_changes_nothing() -> None:
    profile = SpeakerProfile.enroll(spoken(SADDISH), mean_log([SADDISH]))
    assert profile.adapt(heard(SADDISH)).probabilities == pytest.approx(SADDISH)


def test_an_answer_relative_to_a_voice_is_as_certain_as_its_own_confidence() -> None:
    profile = SpeakerProfile.enroll(spoken(SADDISH), REFERENCE)
    for _ in range(5):
        profile = profile.corrected(heard(SADDISH), "sad")
    before = replace(heard(SADDISH), certain_from=0.5)
    after = profile.adapt(before)
    assert not before.certain
    assert after.confidence > 0.5
    assert after.certain


def test_each_correction_moves_answers_towards_what_was_said() -> None:
    profile = SpeakerProfile.enroll(spoken(EVEN), REFERENCE)
    angry = LABELS.index("angry")
    before = profile.adapt(heard(SADDISH)).probabilities[angry]
    for _ in range(5):
        profile = profile.corrected(heard(SADDISH), "angry")
        after = profile.adapt(heard(SADDISH)).probabilities[angry]
        assert after > before
        before = after


def test_the_oldest_correction_is_forgotten() -> None:
    profile = SpeakerProfile.enroll(spoken(EVEN), REFERENCE).corrected(heard(SADDISH), "calm")
    for _ in range(MAX_CORRECTIONS):
        profile = profile.corrected(heard(SADDISH), "angry")
    assert [c.emotion for c in profile.corrections] == ["angry"] * MAX_CORRECTIONS


def test_too_little_speech_teaches_nothing() -> None:
    with pytest.raises(SpeakerError, match=r"2\.0 s of speech was found; at least 8 s"):
        SpeakerProfile.enroll(spoken(EVEN, speech_end_s=3.0), REFERENCE)
    with pytest.raises(SpeakerError, match=r"accurate 1\.0 does not support voice profiles"):
        SpeakerProfile.enroll(spoken(EVEN), ())


def test_another_models_answer_is_refused() -> None:
    profile = SpeakerProfile.enroll(spoken(EVEN), REFERENCE)
    other = heard(EVEN, model="compact 1.0", weights="cd34")
    with pytest.raises(SpeakerError, match=r"for the model accurate 1\.0, but compact 1\.0"):
        profile.adapt(other)
    with pytest.raises(SpeakerError, match="for the model"):
        profile.corrected(other, "angry")
    with pytest.raises(SpeakerError, match="'bored' is not one of neutral, calm"):
        profile.corrected(heard(EVEN), "bored")


def test_the_same_name_with_other_weights_is_another_model() -> None:
    profile = SpeakerProfile.enroll(spoken(EVEN), REFERENCE)
    retrained = heard(EVEN, weights="cd34")
    assert not profile.fits(retrained)
    with pytest.raises(
        SpeakerError, match=r"model accurate 1\.0, but another build of it answered"
    ):
        profile.adapt(retrained)
    assert profile.fits(heard(EVEN, model="accurate 1.1"))


def test_a_profile_without_weights_is_refused_and_names_its_model() -> None:
    stored = json.loads(SpeakerProfile.enroll(spoken(EVEN), REFERENCE).to_json())
    del stored["weights"]
    with pytest.raises(
        SpeakerError, match=r"profile for the model accurate 1\.0 .* format 1, not 2"
    ):
        SpeakerProfile.from_json(json.dumps(stored | {"format": 1}))


def test_a_profile_survives_the_visitors_disk_and_holds_no_sound() -> None:
    profile = SpeakerProfile.enroll(spoken(SADDISH), REFERENCE).corrected(heard(SADDISH), "calm")
    text = profile.to_json()
    assert SpeakerProfile.from_json(text) == profile
    stored = json.loads(text)
    assert set(stored) == {"format", "model", "weights", "labels", "shift", "corrections"}
    assert len(text) < 2_000


@pytest.mark.parametrize(
    "change",
    [
        {"shift": [1.0]},
        {"shift": ["x"] * N},
        {"shift": [float("nan")] * N},
        {"labels": 3},
        {"corrections": [{"emotion": "bored", "probabilities": EVEN}]},
        {"corrections": [{"emotion": "sad", "probabilities": (2.0,) * N}]},
        {"format": 0},
    ],
)
def test_another_file_is_no_profile(change: dict[str, Any]) -> None:
    stored = json.loads(SpeakerProfile.enroll(spoken(SADDISH), REFERENCE).to_json())
    with pytest.raises(SpeakerError, match="voice profile"):
        SpeakerProfile.from_json(json.dumps(stored | change))


@given(st.text(max_size=50) | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps))
def test_junk_is_no_profile(text: str) -> None:
    with pytest.raises(SpeakerError):
        SpeakerProfile.from_json(text)
