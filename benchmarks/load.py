"""Many visitors at once against a running app, on this machine alone.

    python -m benchmarks.load --visitors 50 --seconds 300

Visitors upload clips, some of them junk, one after another, each through a connection of his own;
every answer is held against the offline prediction of the same clip. Others talk into the live tab
meanwhile. Told are answers, lost or mixed-up ones, turned-away ones (the queue is full, which is
said), the 50th and 95th percentile of the time to an answer, how late live answers come, the app's
memory before and after, and how long the last clip lies on the disk. Writes docs/load.json and
docs/load.md.
"""

import argparse
import base64
import io
import json
import re
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import soundfile

from ser_core.predictor import Predictor
from ser_core.web.cleanup import DELETED_AFTER_S, SWEEP_EVERY_S
from ser_lab.evaluate.records import describe_machine
from tests.browser.conftest import run_app
from tests.conftest import RATE_HZ, ROOT, make_babble

CHUNK_S = 0.5
PATIENCE_S = 120.0


class Talker:
    """Talks on and on, at the pace of a microphone.

    What is spoken while the app is busy goes with the next chunk.

    Attributes:
        lags_s: For each chunk, how long after its end the app's answer came.
    """

    def __init__(self, url: str, tape: npt.NDArray[np.float32], rate_hz: int) -> None:
        """Come in.

        Args:
            url: Address of the page.
            tape: (n_samples,), spoken over and over.
            rate_hz: Its rate.
        """
        self._http = httpx.Client(base_url=f"{url}gradio_api/", timeout=PATIENCE_S)
        self._tape, self._rate_hz = tape, rate_hz
        self._visitor = uuid.uuid4().hex
        self.lags_s: list[float] = []
        self._actions = {
            event: dependency["id"]
            for dependency in httpx.get(f"{url}config", timeout=PATIENCE_S).json()["dependencies"]
            for _, event in dependency["targets"]
            if dependency["api_name"] in {"begin", "hear", "summary"}
        }

    def talk(self, seconds: float) -> list[str]:
        """Start the microphone, talk, and stop.

        Returns:
            What the panel showed after each chunk, the summary of the session at its end.
        """
        self._finish("start_recording", [])
        begun, sent_s, shown = time.monotonic(), CHUNK_S, []
        time.sleep(CHUNK_S)
        event = self._join("stream", self._chunk(0.0, sent_s))
        for message, (_, panel) in self._follow(event):
            self.lags_s.append(time.monotonic() - begun - sent_s)
            shown += [panel] if isinstance(panel, str) else []
            if message == "process_completed":
                break
            time.sleep(max(0.0, begun + sent_s + CHUNK_S - time.monotonic()))
            spoken_s = time.monotonic() - begun
            if spoken_s > seconds:
                self._http.post(f"stream/{event}/close").raise_for_status()
                continue
            body = self._body("stream", self._chunk(sent_s, spoken_s))
            self._http.post(f"stream/{event}", json=body).raise_for_status()
            sent_s = spoken_s
        return [*shown, self._finish("stop_recording", [None])]

    def leave(self) -> None:
        """Hang up."""
        self._http.close()

    def _body(self, action: str, data: list[Any]) -> dict[str, Any]:
        return {"data": data, "fn_index": self._actions[action], "session_hash": self._visitor}

    def _finish(self, action: str, data: list[Any]) -> str:
        """Do something, wait until it is done, and look at the panel."""
        *_, (_, output) = self._follow(self._join(action, data))
        return str(output[-1])

    def _join(self, action: str, data: list[Any]) -> str:
        answer = self._http.post("queue/join", json=self._body(action, data))
        answer.raise_for_status()
        return str(answer.json()["event_id"])

    def _follow(self, event: str) -> Iterator[tuple[str, list[Any]]]:
        """What is told about an event, until it is over."""
        where = {"session_hash": self._visitor}
        with self._http.stream("GET", "queue/data", params=where) as lines:
            for line in lines.iter_lines():
                told = json.loads(line.removeprefix("data: ") or "{}")
                if told.get("event_id") != event or "output" not in told:
                    continue
                if not told["success"]:
                    raise RuntimeError(str(told["output"]))
                yield told["msg"], told["output"]["data"]
                if told["msg"] == "process_completed":
                    return

    def _chunk(self, start_s: float, end_s: float) -> list[Any]:
        """What is spoken meanwhile, sent as a file, and the visitor's state, which the app has."""
        moments = np.arange(round(start_s * self._rate_hz), round(end_s * self._rate_hz))
        wav = io.BytesIO()
        sound = self._tape[moments % len(self._tape)]
        soundfile.write(wav, sound, self._rate_hz, format="WAV", subtype="PCM_16")
        sent = self._http.post("upload", files={"files": ("chunk.wav", wav.getvalue())})
        sent.raise_for_status()
        return [{"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}, None]


def session_of(summary: str) -> dict[str, Any]:
    """The session that a summary offers for download."""
    (link,) = re.findall(r"data:application/json;base64,([^\"]+)", summary)
    return dict(json.loads(base64.b64decode(link)))


MODEL = ROOT / "model" / "compact"
N_CLIPS = 12
JUNK_SHARE = 0.15
LIVE = "live session summed up"
BUSY_PAUSE_S = 1.0
WARM_S = 10.0
FIRST_S = 60.0
"""A crowd before the one that is measured, so that threads and caches are there."""
REST_S = 2.0 * SWEEP_EVERY_S
"""After the last visitor, until the app's memory is looked at."""


@dataclass
class Told:
    """What the visitors saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, outcome: str, seconds: float | None = None) -> None:
        """Count one outcome, and the time to an answer."""
        with self.lock:
            self.outcomes[outcome] += 1
            if seconds is not None:
                self.seconds.append(seconds)


def make_clips(folder: Path) -> dict[str, tuple[float, ...] | None]:
    """Clips and what is rightly heard in them; None for junk."""
    predictor = Predictor.from_folder(MODEL)
    right: dict[str, tuple[float, ...] | None] = {}
    for i in range(N_CLIPS):
        path = folder / f"voice-{i}.wav"
        clip = make_babble(seed=i, duration_s=1.0 + 0.4 * i)
        soundfile.write(path, clip * (1.0 + 0.1 * i), RATE_HZ)
        right[str(path)] = predictor.predict(path).probabilities
    for name, content in (("text.wav", b"no sound"), ("cut.flac", b"fLaC" + bytes(40))):
        (folder / name).write_bytes(content)
        right[str(folder / name)] = None
    return right


def visit(
    url: str, right: dict[str, tuple[float, ...] | None], seed: int, end: float, told: Told
) -> None:
    """Upload clip after clip until the end."""
    random = np.random.default_rng(seed)
    junk = [path for path, heard in right.items() if heard is None]
    voices = [path for path, heard in right.items() if heard is not None]
    while time.monotonic() < end:
        path = str(random.choice(junk if random.random() < JUNK_SHARE else voices))
        begun = time.monotonic()
        try:
            outcome = ask(url, Path(path), right[path])
        except httpx.HTTPError as error:
            outcome = f"lost: {type(error).__name__}"
        told.note(outcome, time.monotonic() - begun if outcome == "right" else None)
        time.sleep(BUSY_PAUSE_S if outcome == "busy" else float(random.uniform(0.0, 0.5)))


def ask(url: str, path: Path, expected: tuple[float, ...] | None) -> str:
    """One clip: `right`, `refused` where it is junk, `busy`, or what went wrong."""
    with httpx.Client(base_url=url, timeout=120.0) as http:
        sent = http.post("gradio_api/upload", files={"files": (path.name, path.read_bytes())})
        clip = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
        begun = http.post("gradio_api/call/predict", json={"data": [clip, "auto", False]})
        if begun.status_code == 503:
            return "busy"
        stream = http.get(f"gradio_api/call/predict/{begun.json()['event_id']}").text
    if "event: complete" not in stream:
        if "queue is full" in stream.lower():
            return "busy"
        return "refused" if expected is None else f"lost: {stream[:120]}"
    (answer,) = json.loads(stream.split("data: ")[-1])
    heard = tuple(answer["probabilities"].values())
    if expected is None:
        return "junk answered"
    return "right" if np.allclose(heard, expected, atol=1e-3) else "mixed up"


def talk(url: str, tape: Path, seconds: float, told: Told) -> None:
    """Talk into the live tab, and note how late each answer came."""
    talker = Talker(url, *soundfile.read(tape, dtype="float32"))
    try:
        *_, summary = talker.talk(seconds)
        session_of(summary)
    except (httpx.HTTPError, RuntimeError, ValueError) as error:
        told.note(f"live session lost: {error!r}")
    else:
        told.note(LIVE)
        with told.lock:
            told.lags += talker.lags_s
    finally:
        talker.leave()


def app_memory_mb(kind: str = "VmRSS") -> float:
    """Memory of the app that this process runs: resident, or with `RssAnon` that of its own."""
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        if b"app.py" in status.read_bytes() and status.parent.name != "self":
            lines = (status.parent / "status").read_text().splitlines()
            (line,) = [line for line in lines if line.startswith(kind)]
            return int(line.split()[1]) / 1e3
    raise SystemExit("The app is not running.")


def document(figures: dict[str, Any]) -> str:
    """The figures as a page."""
    machine = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    seconds, memory, lags = figures["answer_s"], figures["memory_mb"], figures["live_lag_s"]
    growth = memory["crowd"] / memory["first crowd"] - 1.0
    rows = [
        *((outcome, f"{n:,}") for outcome, n in figures["outcomes"].items()),
        ("time to an answer, half of them", f"{seconds['50']:.1f} s"),
        ("time to an answer, 95 of 100", f"{seconds['95']:.1f} s"),
        *((f"live: end of a chunk to its answer, {p} of 100", f"{lag:.1f} s")
          for p, lag in lags.items()),
        ("memory of the app with one visitor", f"{memory['one visitor']:.0f} MB"),
        (f"{REST_S:.0f} s after the minute before, and after all",
         f"{memory['first crowd']:.0f} and {memory['crowd']:.0f} MB ({growth:+.0%}; "
         "target: within 10 %)"),
        ("last clip gone from the disk after", f"{figures['clips_gone_after_s']:.0f} s (stated: "
         f"{DELETED_AFTER_S:.0f} s)"),
        ("traces in the log", str(figures["tracebacks"])),
    ]  # fmt: skip
    lines = [
        "# Under load",
        "",
        f"Written by `make load` ({machine}): for {figures['seconds']:.0f} s, "
        f"{figures['visitors']} visitors upload one clip after another, {JUNK_SHARE:.0%} of them "
        f"junk, and {figures['live']} talk into the live tab, all on the machine that also runs "
        "the app. Every answer is held against the offline prediction of "
        "the same clip: «right» is the same to a thousandth, «refused» is junk with its message, "
        f"«busy» is the full queue, which says so. A crowd of {FIRST_S:.0f} s came before.",
        "",
        "| what | figure |",
        "|---|---|",
        *(f"| {what} | {figure} |" for what, figure in rows),
    ]
    return "\n".join(lines) + "\n"


def seconds_until_empty(folder: Path, left: float) -> float:
    """How long the last upload lies on the disk after the last visitor left."""
    while any(path.is_file() for path in folder.rglob("*")):
        if time.monotonic() - left > 2 * DELETED_AFTER_S:
            return float("inf")
        time.sleep(5.0)
    return time.monotonic() - left


def crowd(
    url: str,
    right: dict[str, tuple[float, ...] | None],
    tape: Path,
    asked: argparse.Namespace,
    seconds: float,
) -> Told:
    """Let all of them in at once, and wait until they are gone."""
    told, end = Told(), time.monotonic() + seconds
    threads = [
        threading.Thread(target=visit, args=(url, right, seed, end, told))
        for seed in range(1, asked.visitors + 1)
    ] + [threading.Thread(target=talk, args=(url, tape, seconds, told)) for _ in range(asked.live)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def main() -> None:
    """Run the app, send everybody, and tell what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--live", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=300.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        right = make_clips(folder)
        tape = folder / f"voice-{N_CLIPS - 1}.wav"
        log = folder / "log.txt"
        with run_app([str(ROOT / "app.py")], log, MOODMIRROR_MODEL=str(MODEL)) as url:
            visit(url, right, 0, time.monotonic() + WARM_S, Told())
            memory_mb = {"one visitor": app_memory_mb()}
            for when, seconds in (("first crowd", FIRST_S), ("crowd", asked.seconds)):
                told = crowd(url, right, tape, asked, seconds)
                left = time.monotonic()
                time.sleep(REST_S)
                memory_mb[when] = app_memory_mb()
            gone_s = seconds_until_empty(folder / "clips", left)
        traced = log.read_text().count("Traceback")
    figures = {
        "visitors": asked.visitors,
        "live": asked.live,
        "seconds": asked.seconds,
        "outcomes": dict(told.outcomes),
        "answer_s": {str(p): float(np.percentile(told.seconds, p)) for p in (50, 95)},
        "live_lag_s": {str(p): float(np.percentile(told.lags, p)) for p in (50, 95, 100)}
        if told.lags
        else {},
        "memory_mb": memory_mb,
        "clips_gone_after_s": gone_s,
        "tracebacks": traced,
    }
    figures["machine"] = describe_machine()
    print(json.dumps(figures, indent=1))
    (ROOT / "docs" / "load.json").write_text(json.dumps(figures, indent=1) + "\n")
    (ROOT / "docs" / "load.md").write_text(document(figures))
    if set(told.outcomes) - {"right", "refused", "busy", LIVE}:
        sys.exit(1)


if __name__ == "__main__":
    main()
