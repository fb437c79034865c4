"""Load test: many simultaneous visitors of a running app, on this machine alone.

    python -m benchmarks.load --visitors 50 --seconds 300

Visitors upload clips, some of them junk, each over its own connection, and every answer is compared
with the offline prediction of the same clip. Others stream into the live tab meanwhile. Writes
docs/load.json and docs/load.md.
"""

import base64
import io
import json
import random
import re
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import psutil
import soundfile
import typer

from benchmarks import ROOT, render, table, write
from ser_core.predictor import Predictor
from ser_core.web.cleanup import CLEANUP_EVERY_S, DELETED_AFTER_S
from ser_lab.evaluate.records import describe_machine
from tests.browser.conftest import run_app
from tests.conftest import RATE_HZ, make_babble

MODEL = ROOT / "model" / "compact"
CHUNK_S = 0.5
TIMEOUT_S = 120.0
N_CLIPS = 12
JUNK_SHARE = 0.15
LIVE = "live session summed up"
BUSY_PAUSE_S = 1.0
WARM_S = 10.0
WARM_UP_CROWD_S = 60.0
"""A crowd before the measured one, after which threads and caches exist."""
REST_S = 2.0 * CLEANUP_EVERY_S
"""Between the last visitor and the measurement of the app's memory."""

Expected = dict[str, tuple[float, ...] | None]
"""Probabilities by path of a clip; None for junk."""


class LiveClient:
    """A visitor of the live tab, who streams at the pace of a microphone.

    Audio that is recorded while the app is busy goes with the next chunk.

    Attributes:
        lags_s: Delay from the end of each chunk to the app's answer.
    """

    def __init__(self, url: str, recording: npt.NDArray[np.float32], rate_hz: int) -> None:
        """Open the page at `url`; the recording, (n_samples,), is repeated as needed."""
        self._http = connect(f"{url}gradio_api/")
        self._recording, self._rate_hz = recording, rate_hz
        self._session = uuid.uuid4().hex
        self.lags_s: list[float] = []
        dependencies = httpx.get(f"{url}config", timeout=TIMEOUT_S).json()["dependencies"]
        events = [(*target, d["id"]) for d in dependencies for target in d["targets"]]
        (microphone,) = {component for component, event, _ in events if event == "stream"}
        self._actions = {event: id for component, event, id in events if component == microphone}

    def stream(self, seconds: float) -> list[str]:
        """Start the microphone, stream, and stop.

        Returns:
            HTML of the panel after each chunk, and at last the summary of the session.
        """
        self._run("start_recording", [])
        started, sent_s, panels = time.monotonic(), CHUNK_S, []
        time.sleep(CHUNK_S)
        event = self._join("stream", self._chunk(0.0, sent_s))
        for message, (_, panel, _) in self._follow(event):
            self.lags_s.append(time.monotonic() - started - sent_s)
            panels += [panel] if isinstance(panel, str) else []
            if message == "process_completed":
                break
            time.sleep(max(0.0, started + sent_s + CHUNK_S - time.monotonic()))
            now_s = time.monotonic() - started
            if now_s > seconds:
                self._http.post(f"stream/{event}/close").raise_for_status()
                continue
            body = self._body("stream", self._chunk(sent_s, now_s))
            self._http.post(f"stream/{event}", json=body).raise_for_status()
            sent_s = now_s
        return [*panels, self._run("stop_recording", [None])]

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _body(self, action: str, data: list[Any]) -> dict[str, Any]:
        return {"data": data, "fn_index": self._actions[action], "session_hash": self._session}

    def _run(self, action: str, data: list[Any]) -> str:
        *_, (_, output) = self._follow(self._join(action, data))
        return str(output[0])

    def _join(self, action: str, data: list[Any]) -> str:
        answer = self._http.post("queue/join", json=self._body(action, data))
        answer.raise_for_status()
        return str(answer.json()["event_id"])

    def _follow(self, event: str) -> Iterator[tuple[str, list[Any]]]:
        """Yield kind and output of an event's messages until it is completed."""
        params = {"session_hash": self._session}
        with self._http.stream("GET", "queue/data", params=params) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data: ") or "{}")
                if message.get("event_id") != event or "output" not in message:
                    continue
                if not message["success"]:
                    raise RuntimeError(str(message["output"]))
                yield message["msg"], message["output"]["data"]
                if message["msg"] == "process_completed":
                    return

    def _chunk(self, start_s: float, end_s: float) -> list[Any]:
        """Upload a stretch of audio; return it and the place of the session, which the app has."""
        indices = np.arange(round(start_s * self._rate_hz), round(end_s * self._rate_hz))
        wav = io.BytesIO()
        samples = self._recording[indices % len(self._recording)]
        soundfile.write(wav, samples, self._rate_hz, format="WAV", subtype="PCM_16")
        sent = self._http.post("upload", files={"files": ("chunk.wav", wav.getvalue())})
        sent.raise_for_status()
        return [{"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}, None]


def connect(url: str) -> httpx.Client:
    """Return a client with an address of its own, as a proxy would report it."""
    address = f"198.18.{random.randrange(256)}.{random.randrange(256)}"
    return httpx.Client(base_url=url, timeout=TIMEOUT_S, headers={"X-Forwarded-For": address})


def session_of(summary: str) -> dict[str, Any]:
    """Return the session that a summary offers for download."""
    (link,) = re.findall(r"data:application/json;base64,([^\"]+)", summary)
    return dict(json.loads(base64.b64decode(link)))


def make_clips(folder: Path) -> Expected:
    """Write clips and junk; return what the model answers offline."""
    predictor = Predictor.from_folder(MODEL)
    expected: Expected = {}
    for i in range(N_CLIPS):
        path = folder / f"voice-{i}.wav"
        clip = make_babble(seed=i, duration_s=1.0 + 0.4 * i)
        soundfile.write(path, clip * (1.0 + 0.1 * i), RATE_HZ)
        expected[str(path)] = predictor.predict(path).probabilities
    for name, content in (("text.wav", b"no sound"), ("cut.flac", b"fLaC" + bytes(40))):
        (folder / name).write_bytes(content)
        expected[str(folder / name)] = None
    return expected


def visit(url: str, expected: Expected, seed: int, end: float) -> list[tuple[str, float]]:
    """Upload clip after clip until the end; return outcomes and seconds."""
    random = np.random.default_rng(seed)
    junk = [path for path, probabilities in expected.items() if probabilities is None]
    voices = [path for path in expected if path not in junk]
    answers = []
    while time.monotonic() < end:
        path = str(random.choice(junk if random.random() < JUNK_SHARE else voices))
        started = time.monotonic()
        try:
            outcome = query(url, Path(path), expected[path])
        except httpx.HTTPError as error:
            outcome = f"lost: {type(error).__name__}"
        answers.append((outcome, time.monotonic() - started))
        time.sleep(BUSY_PAUSE_S if outcome == "busy" else float(random.uniform(0.0, 0.5)))
    return answers


def query(url: str, path: Path, expected: tuple[float, ...] | None) -> str:
    """Upload one clip; return `right`, `refused` (junk), `busy`, or what went wrong."""
    with connect(url) as http:
        sent = http.post("gradio_api/upload", files={"files": (path.name, path.read_bytes())})
        clip = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
        call = http.post("gradio_api/call/predict", json={"data": [clip, "auto", False]})
        if call.status_code == 429:
            return "busy"
        stream = http.get(f"gradio_api/call/predict/{call.json()['event_id']}").text
    if "event: complete" not in stream:
        if "queue is full" in stream.lower():
            return "busy"
        return "refused" if expected is None else f"lost: {stream[:120]}"
    (answer,) = json.loads(stream.split("data: ")[-1])
    if expected is None:
        return "junk answered"
    probabilities = tuple(answer["probabilities"].values())
    return "right" if np.allclose(probabilities, expected, atol=1e-3) else "mixed up"


def stream_live(url: str, recording: str, seconds: float) -> tuple[str, list[float]]:
    """Stream into the live tab; return the outcome and the lags of the answers."""
    client = LiveClient(url, *soundfile.read(recording, dtype="float32"))
    try:
        *_, summary = client.stream(seconds)
        session_of(summary)
    except (httpx.HTTPError, RuntimeError, ValueError) as error:
        return f"live session lost: {error!r}", []
    finally:
        client.close()
    return LIVE, client.lags_s


def app_memory_mb(*, anonymous: bool = False) -> float:
    """Return the resident memory of the app that this process runs, or its anonymous part."""
    for child in psutil.Process().children():
        if any(argument.endswith("app.py") for argument in child.cmdline()):
            memory = child.memory_info()
            return (memory.rss - memory.shared * anonymous) / 1e6
    raise SystemExit("The app is not running.")


def document(figures: dict[str, Any]) -> str:
    """Return the figures as a page."""
    rows = [(outcome, f"{n:,}") for outcome, n in figures["outcomes"].items()]
    rows += [
        (f"live: end of a chunk to its answer, percentile {percentile}", f"{lag:.1f} s")
        for percentile, lag in figures["live_lag_s"].items()
    ]
    return render(
        "load",
        figures,
        junk=JUNK_SHARE,
        warm_up_s=WARM_UP_CROWD_S,
        rows=table(rows),
        median_s=figures["answer_s"]["50"],
        p95_s=figures["answer_s"]["95"],
        rest_s=REST_S,
        growth=figures["memory_mb"]["crowd"] / figures["memory_mb"]["first crowd"] - 1.0,
        deleted_after_s=DELETED_AFTER_S,
    )


def seconds_until_empty(folder: Path, left: float) -> float:
    """Return how long the last upload stays on the disk after the last visitor left."""
    while any(path.is_file() for path in folder.rglob("*")):
        if time.monotonic() - left > 2 * DELETED_AFTER_S:
            return float("inf")
        time.sleep(5.0)
    return time.monotonic() - left


def run_crowd(
    url: str, expected: Expected, visitors: int, live: int, seconds: float
) -> dict[str, Any]:
    """Send all visitors at once; return outcomes, times to an answer, and lags."""
    end = time.monotonic() + seconds
    recording = [*expected][N_CLIPS - 1]
    with ThreadPoolExecutor(visitors + live) as pool:
        visits = [pool.submit(visit, url, expected, 1 + i, end) for i in range(visitors)]
        streams = [pool.submit(stream_live, url, recording, seconds) for _ in range(live)]
    answers = [answer for job in visits for answer in job.result()]
    sessions = [job.result() for job in streams]
    times = [answer_s for outcome, answer_s in answers if outcome == "right"]
    lags = [lag_s for _, lags_s in sessions for lag_s in lags_s]
    return {
        "outcomes": dict(Counter(outcome for outcome, _ in [*answers, *sessions])),
        "answer_s": {str(p): float(np.percentile(times, p)) for p in (50, 95) if times},
        "live_lag_s": {str(p): float(np.percentile(lags, p)) for p in (50, 95, 100) if lags},
    }


def main(visitors: int = 50, live: int = 20, seconds: float = 300.0) -> None:
    """Run the app, send all visitors, and write the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected = make_clips(folder)
        log = folder / "log.txt"
        with run_app([str(ROOT / "app.py")], log, MOODMIRROR_MODEL=str(MODEL)) as url:
            visit(url, expected, 0, time.monotonic() + WARM_S)
            memory_mb = {"one visitor": app_memory_mb()}
            for crowd, duration_s in (("first crowd", WARM_UP_CROWD_S), ("crowd", seconds)):
                results = run_crowd(url, expected, visitors, live, duration_s)
                left = time.monotonic()
                time.sleep(REST_S)
                memory_mb[crowd] = app_memory_mb()
            gone_s = seconds_until_empty(folder / "clips", left)
        tracebacks = log.read_text().count("Traceback")
    figures = {"visitors": visitors, "live": live, "seconds": seconds} | results
    figures |= {"memory_mb": memory_mb, "clips_gone_after_s": gone_s, "tracebacks": tracebacks}
    figures["machine"] = describe_machine()
    print(json.dumps(figures, indent=1))
    write("load", figures, document(figures))
    if set(results["outcomes"]) - {"right", "refused", "busy", LIVE}:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
