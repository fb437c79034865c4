"""The API for programs, tested without a server."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from limits import parse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from ser_core.errors import SerError
from ser_core.live import LiveSessions
from ser_core.predictor import Predictor
from ser_core.segments import segment
from ser_core.switch import ModelSwitch
from ser_core.web import routes
from ser_core.web.access import Access
from ser_core.web.limits import API, BUDGETS, Budgets, RequestLimits
from ser_core.web.metrics import monitor_app
from ser_core.web.stream import LiveStreams
from tests.conftest import ROOT, run_cli

CLIP = ROOT / "examples" / "synthetic-angry.flac"
KEY = "0123456789abcdef"


def client_of(
    models: ModelSwitch,
    folder: Path,
    access: Access | None = None,
    budgets: Budgets = BUDGETS,
    sessions: LiveSessions | None = None,
) -> TestClient:
    """A client of an app that has nothing but the API, with the limits of the whole."""
    access = access or Access()
    streams = LiveStreams(models, sessions or LiveSessions(2), access)
    app = monitor_app(models)
    limits = Middleware(RequestLimits, clips=folder, budgets=budgets)
    return TestClient(
        Starlette(
            routes=[*app["routes"], Mount(API, routes.build_api(models, access, streams.serve))],
            middleware=[*app["middleware"], limits],
        ),
        raise_server_exceptions=False,
    )


@pytest.fixture(scope="module")
def models(predictor: Predictor) -> ModelSwitch:
    return ModelSwitch(predictor)


@pytest.fixture
def client(models: ModelSwitch, tmp_path: Path) -> TestClient:
    return client_of(models, tmp_path)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that all temporary files of this process go to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def check_problem(response, status: int, reason: str, text: str) -> None:  # type: ignore[no-untyped-def]
    """Whether a response is problem details with a sentence."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["reason"]) == (status, reason)
    assert problem["title"]
    assert text in problem["detail"]


@pytest.mark.parametrize("way", ["form", "body"])
def test_one_request_returns_the_prediction_of_the_package(
    client: TestClient, models: ModelSwitch, temporary: Path, way: str
) -> None:
    sent = {"form": {"files": {"file": CLIP.open("rb")}}, "body": {"content": CLIP.read_bytes()}}
    response = client.post("/v1/predict", **sent[way])
    expected = models.predict(CLIP).to_dict()
    answer = response.json()
    assert response.status_code == 200
    assert {**answer, "timings_ms": 0} == {**expected, "timings_ms": 0}
    assert list(answer["timings_ms"]) == list(expected["timings_ms"])
    assert [*temporary.rglob("*")] == []


def test_options_are_those_of_the_page(client: TestClient, models: ModelSwitch) -> None:
    content = CLIP.read_bytes()
    answer = client.post("/v1/predict?denoise=true&model=compact", content=content).json()
    expected = models.analyse(CLIP, denoise=True).prediction
    assert answer["confidence"] == pytest.approx(expected.confidence, abs=1e-6)
    response = client.post("/v1/predict?model=accurate", content=content)
    check_problem(response, 422, "option", "The accurate model is not available here")
    check_problem(client.post("/v1/predict?denoise=often"), 422, "option", "denoise")


def test_segments_are_those_of_the_package(
    client: TestClient, models: ModelSwitch, temporary: Path
) -> None:
    clip = ROOT / "examples" / "synthetic-calm-to-angry.flac"
    answer = client.post("/v1/segments?model=compact", content=clip.read_bytes()).json()
    expected = [one.to_dict() for one in segment(clip, models.get())]
    assert len(expected) > 1
    for found, one in zip(answer["segments"], expected, strict=True):
        assert {**found, "prediction": 0} == {**one, "prediction": 0}
        assert list(found["prediction"]) == list(one["prediction"])
        assert found["prediction"]["probabilities"] == pytest.approx(
            one["prediction"]["probabilities"], abs=1e-4
        )
    windows = client.post("/v1/segments?mode=windows", content=clip.read_bytes()).json()
    assert [one["start_s"] for one in windows["segments"]][:2] == [0.0, 3.0]
    check_problem(client.post("/v1/segments?mode=words"), 422, "option", "mode")
    assert [*temporary.rglob("*")] == []


def test_speakers_are_those_of_the_command(
    client: TestClient, temporary: Path, tmp_path: Path
) -> None:
    voices = [
        soundfile.read(ROOT / "examples" / f"synthetic-{name}.flac")[0]
        for name in ("happy", "happy-low-voice")
    ]
    pause = np.zeros(8_000)
    soundfile.write(tmp_path / "mono.wav", np.concatenate([voices[0], pause, voices[1]]), 16_000)
    sides = [np.pad(voices[0], (0, len(voices[1]))), np.pad(voices[1], (len(voices[0]), 0))]
    soundfile.write(tmp_path / "stereo.wav", np.stack(sides, axis=1), 16_000)
    for speakers, name, expected in (
        ("none", "stereo", [None]),
        ("channels", "stereo", ["channel 1", "channel 2"]),
        ("find", "mono", ["speaker 1"]),  # both are of one synthesiser
        ("2", "mono", ["speaker 1", "speaker 2"]),
    ):
        content = (tmp_path / f"{name}.wav").read_bytes()
        answer = client.post(f"/v1/segments?speakers={speakers}", content=content).json()
        found = [one["speaker"] for one in answer["segments"]]
        assert list(dict.fromkeys(found)) == expected
        done = run_cli(
            "segment", tmp_path / f"{name}.wav", "--speakers", speakers, "--model", "compact"
        )
        assert [one["speaker"] for one in json.loads(done.stdout)["segments"]] == found
    for wrong in ("0", "everyone", "9" * 5_000):
        response = client.post(f"/v1/segments?speakers={wrong}", content=b"x")
        check_problem(response, 422, "option", "expected none, auto, channels, find or a number")
    assert [*temporary.rglob("*")] == []


def test_a_batch_is_a_row_for_each_file(client: TestClient, temporary: Path) -> None:
    named = [("f", ("03-01-05-02-01-01-12.flac", CLIP.read_bytes())), ("f", ("../b.txt", b"text"))]
    answer = client.post("/v1/batch", files=named).json()
    assert [row["file"] for row in answer["files"]] == ["03-01-05-02-01-01-12.flac", "b.txt"]
    assert answer["files"][0]["actual"] == "angry"
    assert answer["files"][1]["error"].startswith("We couldn't read b.txt.")
    assert answer["scores"]["n_files"] == 1
    assert [*temporary.rglob("*")] == []


def test_models_are_listed(client: TestClient, models: ModelSwitch) -> None:
    answer = client.get("/v1/models").json()
    (model,) = answer["models"]
    assert (model["name"], model["is_current"]) == ("compact", True)
    assert tuple(model["labels"]) == models.manifest.labels
    assert answer["state"] == "settled"


def test_what_cannot_be_analysed_is_a_problem_and_leaves_no_file(
    client: TestClient, temporary: Path
) -> None:
    post = client.post
    text = ("a b.txt", b"text")
    check_problem(post("/v1/predict", files={"file": text}), 422, "recording", "read a b.txt")
    check_problem(post("/v1/predict", content=b""), 422, "recording", "has no recording")
    check_problem(post("/v1/predict", files={"file": ("..", b"x")}), 422, "recording", "recording")
    both = [("file", text), ("file", text)]
    check_problem(post("/v1/predict", files=both), 422, "recording", "has 2 files")
    silence = b".snd" + (24).to_bytes(4, "big") + (32_000).to_bytes(4, "big")
    silence += b"".join(n.to_bytes(4, "big") for n in (3, 16_000, 1)) + bytes(32_000)
    check_problem(post("/v1/predict", content=silence), 422, "no_speech", "silence")
    field = {"data": {"model": "compact"}, "files": {"file": text}}
    check_problem(post("/v1/predict", **field), 400, "odd", "Options go into the address")
    many = [("files", text)] * 201
    check_problem(post("/v1/batch", files=many), 422, "option", "more than 200 files")
    broken = {"content-type": "multipart/form-data; boundary=x"}
    check_problem(post("/v1/predict", content=b"--y", headers=broken), 400, "odd", "form")
    check_problem(client.get("/v1/nowhere"), 404, "not_found", "/v1/docs")
    check_problem(client.get("/v1/predict"), 405, "method_not_allowed", "/v1/docs")
    assert [*temporary.rglob("*")] == []


def test_a_bug_is_an_apology_and_a_trace_in_the_log(
    models: ModelSwitch,
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(models, "analyse", lambda *_, **__: 1 / 0)
    response = client.post("/v1/predict", content=CLIP.read_bytes())
    check_problem(response, 500, "failed", "Sorry")
    assert "ZeroDivisionError" in caplog.text
    assert "ZeroDivisionError" not in response.text


def test_the_limits_of_the_page_are_those_of_the_api(
    models: ModelSwitch, tmp_path: Path, temporary: Path
) -> None:
    budgets = replace(BUDGETS, client_bytes=60_000, free_bytes=0)
    client = client_of(models, tmp_path, budgets=budgets)
    clip = CLIP.read_bytes()
    check_problem(client.post("/v1/predict", content=clip * 2), 413, "too_large", "too large")
    for _ in range(3):  # deleted with the answer, so that they do not add up
        assert client.post("/v1/predict", content=clip).status_code == 200
    budgets = replace(BUDGETS, free_bytes=10**18)
    full = client_of(models, tmp_path, budgets=budgets)
    check_problem(full.post("/v1/predict", content=clip), 507, "disk_full", "space")
    assert [*temporary.rglob("*")] == []


def test_a_full_queue_is_refused_with_the_time_to_try_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "MAX_WAITING", 0)
    response = client.post("/v1/predict", content=CLIP.read_bytes())
    check_problem(response, 429, "queue_full", "queue is full")
    assert response.headers["retry-after"] == "5"


def test_requests_and_rejections_are_counted(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOODMIRROR_METRICS", "1")
    models = ModelSwitch(predictor)
    client = client_of(models, tmp_path, Access(frozenset([KEY])))
    header = {"Authorization": f"Bearer {KEY}"}
    assert client.post("/v1/predict", content=b"x").status_code == 401
    response = client.post("/v1/predict", content=CLIP.read_bytes(), headers=header)
    assert response.is_success
    predictor.on_result = None
    # The page's own queue, whose gauges the route shows, is not part of this app.
    (metrics,) = [
        middleware.kwargs["metrics"]
        for middleware in client.app.user_middleware  # type: ignore[attr-defined]
        if "metrics" in middleware.kwargs
    ]
    read = metrics._registry.get_sample_value
    assert read("moodmirror_responses_total", {"route": "v1_predict", "status": "200"}) == 1
    assert read("moodmirror_rejections_total", {"reason": "key"}) == 1
    outcome = "answered" if response.json()["certain"] else "uncertain"
    assert read("moodmirror_recordings_total", {"outcome": outcome}) == 1


def test_a_key_is_needed_where_keys_are_set(models: ModelSwitch, tmp_path: Path) -> None:
    client = client_of(models, tmp_path, Access(frozenset([KEY, "b" * 20])))
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
        response = client.get("/v1/models", headers=header)
        check_problem(response, 401, "key", "Authorization: Bearer KEY")
        assert response.headers["www-authenticate"] == "Bearer"
    assert client.get("/v1/models", params={"key": KEY}).status_code == 401
    assert client.get("/v1/models", headers={"Authorization": f"bearer {KEY}"}).is_success
    assert client.get("/v1/openapi.json").is_success


def test_a_client_above_the_rate_waits(models: ModelSwitch, tmp_path: Path) -> None:
    client = client_of(models, tmp_path, Access(rate=parse("2/minute")))
    assert [client.get("/v1/models").status_code for _ in range(3)] == [200, 200, 429]
    response = client.get("/v1/models")
    check_problem(response, 429, "rate", "At most 2 per 1 minute")
    assert 1 <= int(response.headers["retry-after"]) <= 60


def test_a_key_has_a_rate_at_all_addresses_together(models: ModelSwitch, tmp_path: Path) -> None:
    client = client_of(models, tmp_path, Access(frozenset([KEY]), parse("2/minute")))
    codes = []
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        client._transport.client = (address, 1)  # type: ignore[attr-defined]
        codes.append(client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"}))
    assert [response.status_code for response in codes] == [200, 200, 429]
    assert "of one key" in codes[-1].json()["detail"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("MOODMIRROR_API_KEYS", "short", "at least 16"),
        ("MOODMIRROR_API_KEYS", f"{KEY},mit leerzeichen und ä", "at least 16"),
        ("MOODMIRROR_API_RATE", "often", "a rate such as 60/minute"),
    ],
)
def test_settings_that_cannot_be_read_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SerError, match=text):
        Access.from_environment()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Access.from_environment().keys == frozenset()
    assert Access.from_environment().rate is None
    monkeypatch.setenv("MOODMIRROR_API_KEYS", f" {KEY}, {'b' * 20},")
    monkeypatch.setenv("MOODMIRROR_API_RATE", "60/minute")
    access = Access.from_environment()
    assert access.keys == {KEY, "b" * 20}
    assert access.rate == parse("60/minute")


def test_the_schema_of_openapi_is_that_of_the_package(
    client: TestClient, models: ModelSwitch
) -> None:
    document = client.get("/v1/openapi.json").json()
    schema = document["components"]["schemas"]["PredictionSchema"]["properties"]
    assert [*schema] == [*models.predict(CLIP).to_dict()]
    assert {*document["paths"]} == {"/predict", "/segments", "/batch", "/models"}
    page = client.get("/v1/docs").text
    assert "http" not in page.replace("http://www.w3.org", "")
    assert client.get("/v1/static-offline-docs/swagger-ui-bundle.js").is_success
