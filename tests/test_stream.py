"""The stream of the API, tested without a server."""

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from ser_core.audio import sandbox
from ser_core.live import LiveSessions
from ser_core.predictor import Predictor
from ser_core.switch import ModelSwitch
from ser_core.web import stream
from ser_core.web.access import Access
from tests.conftest import ROOT, needs_ffmpeg
from tests.test_routes import KEY, client_of

CLIP = ROOT / "examples" / "synthetic-angry.flac"
SILENCE_S = 2.0


@pytest.fixture(scope="module")
def models(predictor: Predictor) -> ModelSwitch:
    return ModelSwitch(predictor)


@pytest.fixture(scope="module")
def sound() -> tuple[int, np.ndarray]:
    """Rate and samples of an utterance and a pause, (n_samples,) int16."""
    samples, rate_hz = soundfile.read(CLIP, dtype="int16")
    return rate_hz, np.concatenate([samples, np.zeros(round(SILENCE_S * rate_hz), np.int16)])


@pytest.fixture
def sessions() -> LiveSessions:
    return LiveSessions(2)


@pytest.fixture
def client(models: ModelSwitch, tmp_path: Path, sessions: LiveSessions) -> TestClient:
    return client_of(models, tmp_path, sessions=sessions)


def events_of(socket: WebSocketTestSession) -> list[dict[str, Any]]:
    """All events until the end, and the code with which the server closes."""
    events = []
    while True:
        try:
            events.append(socket.receive_json())
        except WebSocketDisconnect as closed:
            return [*events, {"event": "closed", "code": closed.code, "reason": closed.reason}]


def test_a_stream_answers_each_half_second_and_at_the_end_of_an_utterance(
    client: TestClient, sound: tuple[int, np.ndarray]
) -> None:
    rate_hz, samples = sound
    with client.websocket_connect(f"/v1/stream?rate_hz={rate_hz}") as socket:
        content = samples.astype("<i2").tobytes()
        for start in range(0, len(content), 6_001):  # messages may split a sample
            socket.send_bytes(content[start : start + 6_001])
        socket.send_text("end")
        events = events_of(socket)
    answers = [event for event in events if event["event"] == "answer"]
    duration_s = len(samples) / rate_hz
    at_s = [0.5 * (i + 1) for i in range(int(duration_s / 0.5))]
    assert [answer["at_s"] for answer in answers] == pytest.approx(at_s)
    (utterance,) = [event for event in events if event["event"] == "utterance"]
    assert 0.0 <= utterance["start_s"] < 0.5
    assert 2.0 < utterance["end_s"] < 2.6
    assert utterance["prediction"]["emotion"] == "angry"
    assert {"speaker", "channel", "text", "warnings"} <= {*utterance}
    assert events.index(utterance) < events.index(answers[-1])
    *_, end, closed = events
    assert (end["event"], end["reason"], end["dropped_s"]) == ("end", "finished", 0.0)
    assert next(iter(end["shares"])) == "angry"
    assert closed == {"event": "closed", "code": 1000, "reason": "finished"}


def test_an_utterance_that_the_stream_cuts_off_is_reported(
    client: TestClient, sound: tuple[int, np.ndarray]
) -> None:
    rate_hz, samples = sound
    with client.websocket_connect(f"/v1/stream?rate_hz={rate_hz}") as socket:
        socket.send_bytes(samples[: 2 * rate_hz].astype("<i2").tobytes())
        socket.send_text("end")
        events = [event["event"] for event in events_of(socket)]
    assert events == ["answer"] * 4 + ["utterance", "end", "closed"]


@pytest.mark.parametrize("rate", ["", "often", "0", "7999", "192001", "١٦٠٠٠"])
def test_a_rate_that_is_none_is_refused_in_a_sentence(client: TestClient, rate: str) -> None:
    with client.websocket_connect(f"/v1/stream?rate_hz={rate}") as socket:
        refusal, closed = events_of(socket)
    assert refusal["event"] == "error"
    assert refusal["detail"].startswith("rate_hz is ")
    assert closed["code"] == 1008


def test_a_stream_beyond_the_places_is_refused_until_one_is_free(
    client: TestClient, sound: tuple[int, np.ndarray]
) -> None:
    address = f"/v1/stream?rate_hz={sound[0]}"
    with client.websocket_connect(address) as first:
        with client.websocket_connect(address), client.websocket_connect(address) as third:
            refusal, closed = events_of(third)
        assert (refusal["status"], refusal["reason"]) == (429, "streams")
        assert "All 2 places are in use" in refusal["detail"]
        assert closed["code"] == 1013
        with client.websocket_connect(address) as fourth:
            fourth.send_text("end")
            assert [event["event"] for event in events_of(fourth)] == ["end", "closed"]
        first.send_text("end")
        assert len(events_of(first)) == 2


def test_a_client_leaves_places_to_others(models: ModelSwitch, tmp_path: Path) -> None:
    client = client_of(models, tmp_path, sessions=LiveSessions(32))
    sockets = [client.websocket_connect("/v1/stream?rate_hz=16000") for _ in range(9)]
    for socket in sockets:
        socket.__enter__()
    refusal, _ = events_of(sockets.pop())
    assert "Your address has 8 streams" in refusal["detail"]
    for socket in sockets:
        socket.send_text("end")
        assert len(events_of(socket)) == 2


def test_a_stream_needs_the_key_too(models: ModelSwitch, tmp_path: Path) -> None:
    client = client_of(models, tmp_path, Access(frozenset([KEY])))
    with client.websocket_connect("/v1/stream?rate_hz=16000") as socket:
        refusal, closed = events_of(socket)
    assert (refusal["status"], closed["code"]) == (401, 1008)
    header = {"Authorization": f"Bearer {KEY}"}
    for address, headers in (("?rate_hz=16000", header), (f"?rate_hz=16000&key={KEY}", {})):
        with client.websocket_connect(f"/v1/stream{address}", headers=headers) as socket:
            socket.send_text("end")
            assert events_of(socket)[0]["event"] == "end"


def test_pages_of_other_sites_cannot_use_an_app_on_this_machine(client: TestClient) -> None:
    headers = {"Origin": "https://example.org", "Host": "127.0.0.1:7860"}
    with client.websocket_connect("/v1/stream?rate_hz=16000", headers=headers) as socket:
        refusal, _ = events_of(socket)
    assert refusal["status"] == 403
    headers["Origin"] = "http://127.0.0.1:7860"
    with client.websocket_connect("/v1/stream?rate_hz=16000", headers=headers) as socket:
        socket.send_text("end")
        assert events_of(socket)[0]["event"] == "end"


def test_silence_ends_a_stream(
    client: TestClient, sound: tuple[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SILENCE_S", 1.5)
    rate_hz, samples = sound
    with client.websocket_connect(f"/v1/stream?rate_hz={rate_hz}") as socket:
        socket.send_bytes(samples.astype("<i2").tobytes())
        *_, end, closed = events_of(socket)
    assert (end["reason"], closed["code"]) == ("silence", 1000)
    assert end["at_s"] == 4.5


def test_a_stream_without_messages_ends(
    client: TestClient, sessions: LiveSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "IDLE_S", 0.1)
    with client.websocket_connect("/v1/stream?rate_hz=16000") as socket:
        end, closed = events_of(socket)
    assert (end["reason"], closed["code"]) == ("idle", 1000)
    assert not sessions._connected


def test_a_late_app_analyses_the_newest_sound_and_reports_what_it_dropped(
    models: ModelSwitch,
    client: TestClient,
    sound: tuple[int, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict, waits_s = models.predict, [0.0, 4.0]

    def slow(source: Any) -> Any:
        time.sleep(waits_s.pop() if waits_s else 0.0)
        return predict(source)

    monkeypatch.setattr(models, "predict", slow)
    rate_hz, samples = sound
    with client.websocket_connect(f"/v1/stream?rate_hz={rate_hz}") as socket:
        loud = np.resize(samples[: 2 * rate_hz], 5 * rate_hz)
        socket.send_bytes(loud.astype("<i2").tobytes())
        socket.send_text("end")
        events = events_of(socket)
    at_s = [event["at_s"] for event in events if event["event"] == "answer"]
    assert at_s == pytest.approx([0.5, 1.0, 5.0])
    (dropped,) = [event for event in events if event["event"] == "dropped"]
    assert dropped["dropped_s"] == pytest.approx(4.0 - 2.5)
    assert events[-2]["dropped_s"] == pytest.approx(4.0 - 2.5)


def test_sound_is_taken_at_the_pace_of_speech(
    client: TestClient, sound: tuple[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "AHEAD_S", 1.0)
    rate_hz, samples = sound
    started = time.monotonic()
    with client.websocket_connect(f"/v1/stream?rate_hz={rate_hz}") as socket:
        for _ in range(5):
            socket.send_bytes(samples[: rate_hz // 2].astype("<i2").tobytes())
        socket.send_text("end")
        events_of(socket)
    assert time.monotonic() - started > 2.5 - 1.0


@pytest.fixture(scope="module")
def webm(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The clip as a browser's recorder sends it."""
    path = tmp_path_factory.mktemp("webm") / "clip.webm"
    options = ["-c:a", "libopus", "-b:a", "32k", "-live", "1", "-cluster_time_limit", "250"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", CLIP, *options, path], check=True)
    return path.read_bytes()


@needs_ffmpeg
def test_webm_is_decoded_as_it_arrives(client: TestClient, webm: bytes) -> None:
    with client.websocket_connect("/v1/stream?format=webm") as socket:
        for start in range(0, len(webm) // 2, 777):
            socket.send_bytes(webm[start : start + 777])
        assert socket.receive_json()["event"] == "answer"  # before the rest is there
        socket.send_bytes(webm[(len(webm) // 2 + 776) // 777 * 777 :])
        socket.send_text("end")
        events = events_of(socket)
    assert [event["event"] for event in events[-3:]] == ["utterance", "end", "closed"]
    assert next(iter(events[-2]["shares"])) == "angry"
    assert events[-2]["at_s"] == pytest.approx(2.572, abs=0.1)


def test_what_is_no_webm_is_refused_in_a_sentence(client: TestClient) -> None:
    with client.websocket_connect("/v1/stream?format=webm") as socket:
        socket.send_bytes(b"no sound at all" * 100)
        refusal, closed = events_of(socket)
    assert (refusal["status"], refusal["reason"]) == (422, "recording")
    assert refusal["detail"].startswith("The stream is no WebM.")
    assert closed["code"] == 1008


def test_a_stream_of_webm_that_vanishes_ends_its_decoder(
    models: ModelSwitch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "N_WEBM", 1)
    sessions = LiveSessions(2)
    client = client_of(models, tmp_path, sessions=sessions)
    for _ in range(3):
        with client.websocket_connect("/v1/stream?format=webm") as socket:
            socket.send_bytes(b"\x1a\x45\xdf\xa3")
    assert not sessions._connected
    assert len(sandbox._idle) <= sandbox.N_CHILDREN


def test_a_damaged_webm_is_refused_in_a_sentence(client: TestClient) -> None:
    with client.websocket_connect("/v1/stream?format=webm") as socket:
        socket.send_bytes(b"\x1a\x45\xdf\xa3" + b"no sound at all" * 100)
        socket.send_text("end")
        refusal, _ = events_of(socket)
    assert (refusal["status"], refusal["reason"]) == (422, "recording")
    assert refusal["detail"].startswith("The stream is ")


@pytest.mark.slow
def test_clients_that_vanish_leave_nothing(
    client: TestClient, sessions: LiveSessions, sound: tuple[int, np.ndarray]
) -> None:
    rate_hz, samples = sound
    content = samples[: rate_hz // 4].astype("<i2").tobytes()
    for _ in range(500):  # of two places
        with client.websocket_connect(f"/v1/stream?rate_hz={rate_hz}") as socket:
            socket.send_bytes(content)
    assert not sessions._connected
    assert len(sessions._sessions) == 0
