"""What becomes of a recording, as it is counted."""

import pytest

from ser_core.errors import AudioError, ModelError, NoSpeechError
from ser_core.model.emotion_model import EmotionModel
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor
from ser_core.switch import ModelSwitch
from ser_core.web.metrics import Metrics, monitor_app
from tests.conftest import RATE_HZ, make_babble


def counted(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics._registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (Prediction(("a",), (1.0,)), "answered"),
        (Prediction(("a", "b"), (0.6, 0.4), certain_from=0.7), "uncertain"),
        (NoSpeechError("quiet"), "no_speech"),
        (AudioError("broken"), "refused"),
        (ModelError("gone"), "failed"),
        (ZeroDivisionError("a bug"), "failed"),
    ],
)
def test_each_outcome_has_a_name(
    predictor: Predictor, outcome: Prediction | Exception, name: str
) -> None:
    metrics = Metrics(ModelSwitch(predictor))
    metrics.count_recording(outcome)
    assert counted(metrics, "moodmirror_recordings_total", outcome=name) == 1


def test_a_full_queue_is_a_rejection_and_an_app_that_warms_is_none(predictor: Predictor) -> None:
    metrics = Metrics(ModelSwitch(predictor))
    metrics.count_response("/gradio_api/queue/join", 429, "queue_full")
    metrics.count_response("/healthz", 503)
    assert counted(metrics, "moodmirror_rejections_total", reason="queue_full") == 1
    assert counted(metrics, "moodmirror_responses_total", route="join", status="429") == 1
    assert counted(metrics, "moodmirror_responses_total", route="healthz", status="503") == 1


def test_a_predictor_tells_its_watcher_of_answers_and_refusals(predictor: Predictor) -> None:
    told: list[Prediction | Exception] = []
    switch = ModelSwitch(predictor)
    switch.on_result(told.append)
    answer = switch.predict((RATE_HZ, make_babble()))
    with pytest.raises(NoSpeechError) as refused:
        switch.predict((RATE_HZ, 0 * make_babble()))
    assert told == [answer, refused.value]


def test_a_model_that_is_opened_later_is_watched_too(predictor: Predictor) -> None:
    told: list[Prediction | Exception] = []
    later = Predictor(EmotionModel(predictor.model.path, predictor.manifest))
    switch = ModelSwitch(predictor)
    switch.on_result(told.append)
    switch._settle_on(later)
    switch.predict((RATE_HZ, make_babble()))
    assert len(told) == 1


def test_metrics_are_off_by_default(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MOODMIRROR_METRICS", raising=False)
    watched = monitor_app(ModelSwitch(predictor))
    assert [route.path for route in watched["routes"]] == ["/healthz"]
    assert watched["middleware"] == []
    monkeypatch.setenv("MOODMIRROR_METRICS", "1")
    watched = monitor_app(ModelSwitch(predictor))
    assert [route.path for route in watched["routes"]] == ["/healthz", "/metrics"]
