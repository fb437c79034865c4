"""Segments of a recording: their form, how they are found, and that length costs no memory."""

import json

import pytest

from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.quality import QualityWarning
from ser_core.segments import Segment

NOISY = QualityWarning("noisy", "The background is loud.")
SAD = Prediction.from_probabilities(
    [0.1, 0.9], ("calm", "sad"), certain_from=0.7, temperature=1.5, weights="ab", warnings=(NOISY,)
)


def test_a_segment_survives_json() -> None:
    whole = Segment(1.5, 2.25, "Ana", 1, "No.", SAD, (NOISY,))
    bare = Segment(0.0, 1.0)
    for segment in (whole, bare):
        assert Segment.from_dict(json.loads(json.dumps(segment.to_dict()))) == segment
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
