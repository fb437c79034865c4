"""A visitor of the live tab without a browser, who speaks to the app as the page's script does."""

import base64
import io
import json
import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import soundfile

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
