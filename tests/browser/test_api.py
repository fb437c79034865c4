"""The endpoints of the running app: by Gradio's client, and by HTTP alone."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ser_core.labels import LABELS
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def client(app_url: str) -> Client:
    return Client(app_url, verbose=False, analytics_enabled=False)


def call(app_url: str, clip: dict[str, Any]) -> str:
    """The event stream of one call, as curl would print it."""
    body = json.dumps({"data": [clip]}).encode()
    request = urllib.request.Request(
        f"{app_url}gradio_api/call/predict", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{app_url}gradio_api/call/predict/{event}") as stream:
        return str(stream.read().decode())


def test_the_client_gets_the_prediction(client: Client, voice: Path) -> None:
    answer = client.predict(audio=handle_file(voice), api_name="/predict")
    assert tuple(answer["probabilities"]) == LABELS
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert answer["confidence"] == answer["probabilities"][answer["emotion"]]


def test_the_client_gets_the_timeline_and_the_moments(client: Client, voice: Path) -> None:
    answer = client.predict(audio=handle_file(voice), api_name="/predict")
    timeline = client.predict(audio=handle_file(voice), api_name="/timeline")
    assert timeline["start_s"] == [pytest.approx(answer["speech_start_s"], abs=1e-3)]
    assert {label: column[0] for label, column in timeline["probabilities"].items()} == (
        pytest.approx(answer["probabilities"], abs=1e-4)
    )
    explained = client.predict(audio=handle_file(voice), api_name="/explain")
    assert explained["emotion"] == answer["emotion"]
    assert explained["method"] == "occlusion"
    assert {"start_s", "end_s", "weight"} == set(explained["moments"][0])


def test_the_client_is_told_what_is_wrong(client: Client, tmp_path: Path) -> None:
    junk = tmp_path / "junk.wav"
    junk.write_text("This is no sound.")
    with pytest.raises(AppError, match=r"junk\.wav"):
        client.predict(audio=handle_file(junk), api_name="/predict")


def test_only_the_documented_endpoints_can_be_called(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)
    assert list(endpoints["named_endpoints"]) == ["/predict", "/timeline", "/explain"]
    assert endpoints["unnamed_endpoints"] == {}


def test_files_of_the_server_cannot_be_read_through_the_endpoint(app_url: str) -> None:
    clip = {"path": str(ROOT / "README.md"), "meta": {"_type": "gradio.FileData"}}
    stream = call(app_url, clip)
    assert "event: error" in stream
    assert "event: complete" not in stream
