"""The endpoints of the running app: by Gradio's client, and by HTTP alone."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from playwright.sync_api import Page
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ser_core.labels import LABELS
from tests.browser.conftest import run_app
from tests.conftest import ROOT, needs_ffmpeg, needs_program

DOCUMENT = ROOT / "docs" / "api.md"


@pytest.fixture(scope="module")
def client(app_url: str) -> Client:
    return Client(app_url, verbose=False, analytics_enabled=False)


def call(app_url: str, clip: dict[str, Any]) -> str:
    """The event stream of one call, as curl would print it."""
    body = json.dumps({"data": [clip, "auto", False]}).encode()
    request = urllib.request.Request(
        f"{app_url}gradio_api/call/predict", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    events = f"{app_url}gradio_api/call/predict/{event}"
    with urllib.request.urlopen(events, timeout=60) as stream:
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
    documented = re.findall(r"^\| `(/\w+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert list(endpoints["named_endpoints"]) == documented
    assert endpoints["unnamed_endpoints"] == {}


def test_files_of_the_server_cannot_be_read_through_the_endpoint(app_url: str) -> None:
    clip = {"path": str(ROOT / "README.md"), "meta": {"_type": "gradio.FileData"}}
    stream = call(app_url, clip)
    assert "event: error" in stream
    assert "event: complete" not in stream


def example(language: str, app_url: str, heading: str) -> str:
    """The document's example in one language, below a heading, for the running app."""
    section = section_of(heading)
    (code,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(code).replace("127.0.0.1:7860", app_url.removeprefix("http://").rstrip("/"))


def section_of(heading: str) -> str:
    """The document from one heading to the next of any level."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^##+ {heading}$(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
    return str(section)


@pytest.fixture
def folder(voice: Path, tmp_path: Path) -> Path:
    """Where the examples run: `clip.wav` lies there."""
    shutil.copy(voice, tmp_path / "clip.wav")
    return tmp_path


def test_the_python_example_runs(app_url: str, folder: Path) -> None:
    code = example("python", app_url, "Python")
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert said[-1] == "clip.wav None"
    assert any(line.split()[0] in LABELS for line in said)


@needs_program("curl")
def test_the_curl_example_runs(app_url: str, folder: Path) -> None:
    said = subprocess.run(
        ["bash", "-euc", example("bash", app_url, "curl")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "event: complete" in said
    (answer,) = json.loads(said.split("data: ")[-1])
    assert answer["emotion"] in LABELS


@needs_program("curl")
def test_one_request_returns_the_answer_of_the_endpoint(
    app_url: str, client: Client, folder: Path
) -> None:
    code = example("bash", app_url, "One request").replace('"\n', '"; echo\n')
    said = subprocess.run(
        ["bash", "-euc", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    form, body, segments, batch, models = map(json.loads, said.splitlines())
    answer = client.predict(audio=handle_file(folder / "clip.wav"), api_name="/predict")
    assert form["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)
    assert list(body) == list(form) == list(answer)
    assert segments["segments"][0]["prediction"]["emotion"] in LABELS
    assert [row["file"] for row in batch["files"]] == ["clip.wav", "clip.wav (2)"]
    assert models["models"][0]["name"] == answer["model"].split()[0]


def test_a_problem_is_as_documented(app_url: str) -> None:
    (told,) = re.findall(r"```json\n(.*?)```", section_of("One request"), re.DOTALL)
    wav = io.BytesIO()
    soundfile.write(wav, np.zeros(1_920), 16_000, format="WAV")
    sent = {"file": ("clip.wav", wav.getvalue())}
    answer = httpx.post(f"{app_url}v1/predict", files=sent)
    assert answer.json() == json.loads(told)
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_page_of_the_requests_loads_from_this_host_alone(page: Page, app_url: str) -> None:
    page.goto(f"{app_url}v1/docs")
    page.locator(".opblock-summary-path").first.click()
    page.get_by_text("Analyse one recording, a multipart file or the raw body.").wait_for()


def test_the_stream_example_runs(app_url: str, folder: Path) -> None:
    code = example("python", app_url, "Live stream")
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(said) > 3
    assert all(line.split()[-1] in LABELS for line in said)


@needs_ffmpeg
def test_the_command_line_examples_print_the_same_emotion(folder: Path) -> None:
    (code,) = re.findall(r"```sh\n(.*?)```", section_of("On this machine"), re.DOTALL)
    command = f"{sys.executable} -m ser_core live"
    said = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code.replace("python -m ser_core live", command)],
        cwd=folder,
        env=os.environ | {"MOODMIRROR_MODEL": "compact", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ends = [event for event in map(json.loads, said.splitlines()) if event["event"] == "end"]
    first, second = (max(end["shares"], key=end["shares"].get) for end in ends)
    assert first == second


def test_the_browser_example_streams_what_its_microphone_records(page: Page, app_url: str) -> None:
    end = page.evaluate(
        f"""async app => {{
            {example("js", app_url, "From a browser")}
            const microphone = await navigator.mediaDevices.getUserMedia({{ audio: true }});
            return await new Promise((resolve, reject) => {{
                const recorder = stream(app, microphone, event => {{
                    if (event.event === "error") reject(new Error(event.detail));
                    if (event.event === "end") resolve(event);
                    if (event.prediction && recorder.state === "recording") recorder.stop();
                }});
            }});
        }}""",
        app_url,
    )
    assert end["reason"] == "finished"
    assert {*end["shares"]} == {*LABELS}


def test_a_stream_that_is_open_does_not_keep_the_app(model_folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    with ExitStack() as stack:
        with run_app([str(ROOT / "app.py")], log, MOODMIRROR_MODEL=str(model_folder)) as url:
            address = url.replace("http", "ws") + "v1/stream?rate_hz=16000"
            stream = stack.enter_context(connect(address))
            stream.send(bytes(16_000))
            assert json.loads(stream.recv(timeout=30))["event"] == "answer"
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert "Traceback" not in log.read_text()


def test_the_javascript_example_runs(page: Page, app_url: str, folder: Path) -> None:
    sound = base64.b64encode((folder / "clip.wav").read_bytes()).decode()
    answer = page.evaluate(
        f"""async ([app, sound]) => {{
            {example("js", app_url, "JavaScript")}
            const bytes = Uint8Array.from(atob(sound), letter => letter.charCodeAt(0));
            return await listen(app, new Blob([bytes]));
        }}""",
        [app_url, sound],
    )
    assert answer["emotion"] in LABELS


def test_the_documented_answers_are_those_that_come(client: Client, voice: Path) -> None:
    (told,) = re.findall(r"```json\n(.*?)```", section_of("Results"), re.DOTALL)
    answer = client.predict(audio=handle_file(voice), api_name="/predict")
    assert list(json.loads(told)) == list(answer)
    assert list(json.loads(told)["timings_ms"]) == list(answer["timings_ms"])


def test_a_batch_is_a_row_each_and_scores_where_names_tell(client: Client, folder: Path) -> None:
    named = folder / "03-01-05-02-01-01-12.wav"
    shutil.copy(folder / "clip.wav", named)
    junk = folder / "junk.wav"
    junk.write_text("This is no sound.")
    files = [handle_file(path) for path in (folder / "clip.wav", named, junk)]
    answer = client.predict(files=files, api_name="/batch")
    assert [row["file"] for row in answer["files"]] == ["clip.wav", named.name, "junk.wav"]
    assert answer["files"][1]["actual"] == "angry"
    assert "junk.wav" in answer["files"][2]["error"]
    assert answer["scores"]["n_files"] == 1


def test_models_are_compared_and_an_absent_one_is_an_error(client: Client, voice: Path) -> None:
    answer = client.predict(audio=handle_file(voice), api_name="/compare")
    assert [one["model"].split()[0] for one in answer["answers"]] == ["compact"]
    with pytest.raises(AppError, match="accurate model is not available"):
        client.predict(audio=handle_file(voice), model="accurate", api_name="/predict")
