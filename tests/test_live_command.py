"""The command `live` on a recording, on standard input and with its overlay."""

import io
import json
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile

from ser_core import registry
from ser_core.cli import serve
from ser_core.errors import SerError
from ser_core.labels import LABELS, find_emotion
from ser_core.live import LiveAnswer
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor
from ser_core.web.overlay import serve_overlay
from tests.conftest import ROOT, run_cli

CLIP = ROOT / "examples" / "synthetic-angry.flac"


@pytest.fixture(autouse=True)
def model(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.ResolvedModel, "open", lambda _: predictor)


def events_of(*arguments: object) -> list[dict[str, Any]]:
    done = run_cli("live", *arguments, "--model", "compact", "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_recording_is_printed_as_the_stream_sends_it() -> None:
    events = events_of(CLIP)
    answers = [event for event in events if event["event"] == "answer"]
    assert [answer["at_s"] for answer in answers] == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert answers[-1]["prediction"]["emotion"] == "angry"
    utterance, end = events[-2:]
    assert (utterance["event"], utterance["prediction"]["emotion"]) == ("utterance", "angry")
    assert (end["event"], end["reason"]) == ("end", "finished")


def test_pcm_of_standard_input_is_as_good_as_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, rate_hz = soundfile.read(CLIP, dtype="int16")
    pcm = samples.astype("<i2").tobytes() + b"\0"  # half a sample at the end
    monkeypatch.setattr(
        serve, "sys", SimpleNamespace(stdin=SimpleNamespace(buffer=io.BytesIO(pcm)))
    )
    of_pcm, of_clip = events_of("-", "--rate", rate_hz), events_of(CLIP)
    shares = [next(event["shares"] for event in events[::-1]) for events in (of_pcm, of_clip)]
    assert shares[0] == pytest.approx(shares[1], abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere.wav"], "nowhere.wav does not exist"),
        (["-", "--rate", "100"], "'--rate'"),
        ([str(CLIP), "--overlay", "--port", "70000"], "'--port'"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], text: str) -> None:
    done = run_cli("live", *arguments, "--model", "compact")
    assert done.exit_code == 2
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def fetch(url: str, host: str | None = None) -> bytes:
    headers = {"Host": host} if host else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
        return bytes(answer.read())


def answer(**probabilities: float) -> LiveAnswer:
    rest = (1.0 - sum(probabilities.values())) / (len(LABELS) - len(probabilities))
    row = [probabilities.get(label, rest) for label in LABELS]
    return LiveAnswer(1.0, Prediction.from_probabilities(row, LABELS), settled="angry")


def test_the_overlay_shows_what_has_settled_and_nothing_in_silence() -> None:
    with serve_overlay(0) as overlay:
        assert json.loads(fetch(f"{overlay.url}state")) is None
        overlay.show(answer(angry=0.6))
        assert json.loads(fetch(f"{overlay.url}state")) == {
            "emotion": "angry",
            "sign": find_emotion("angry").sign,
            "colour": find_emotion("angry").colour,
            "probability": 0.6,
        }
        overlay.show(LiveAnswer(2.0, None, settled="angry"))
        assert json.loads(fetch(f"{overlay.url}state")) is None
        assert b"background: transparent" in fetch(overlay.url)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            fetch(f"{overlay.url}../pyproject.toml")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            fetch(overlay.url, host="example.org")
        port = int(overlay.url.rsplit(":", 1)[1].rstrip("/"))
        with pytest.raises(SerError, match=f"Port {port} is not available"), serve_overlay(port):
            pass
    with pytest.raises(urllib.error.URLError):
        fetch(overlay.url)
