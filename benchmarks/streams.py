"""Live streams of a running app, through the API and through the page, on this machine alone.

    python -m benchmarks.streams --streams 32 --seconds 30

Every client talks at the pace of a microphone. Writes docs/streams.json and docs/streams.md.
"""

import asyncio
import json
import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import typer
from websockets.asyncio.client import connect

from benchmarks import ROOT, render, table, write
from benchmarks.load import CHUNK_S, LiveClient
from ser_lab.evaluate.records import describe_machine
from tests.browser.conftest import run_app
from tests.conftest import RATE_HZ, make_babble

WARM_S = 5.0
PERCENTILES = (50, 95, 100)


async def talk(url: str, pcm: np.ndarray, seconds: float) -> list[float]:
    """Stream (n_samples,) int16 through the API; return the delay of each answer to its chunk."""
    address = f"198.18.{random.randrange(256)}.{random.randrange(256)}"
    sent: dict[float, float] = {}
    delays_s = []
    await asyncio.sleep(random.uniform(0.0, CHUNK_S))
    stream = connect(
        f"{url.replace('http', 'ws')}v1/stream?rate_hz={RATE_HZ}",
        additional_headers={"X-Forwarded-For": address},
        open_timeout=60,
    )
    async with stream as socket:

        async def send() -> None:
            started, n = time.monotonic(), round(CHUNK_S * RATE_HZ)
            for i in range(1, int(seconds / CHUNK_S) + 1):
                await asyncio.sleep(max(0.0, started + i * CHUNK_S - time.monotonic()))
                sent[i * CHUNK_S] = time.monotonic()
                await socket.send(
                    np.take(pcm, np.arange((i - 1) * n, i * n), mode="wrap").tobytes()
                )
            await socket.send("end")

        sender = asyncio.create_task(send())
        async for message in socket:
            event = json.loads(message)
            if event["event"] == "error":
                raise RuntimeError(event["detail"])
            if event["event"] == "answer":
                delays_s.append(time.monotonic() - sent[round(event["at_s"] * 2) / 2])
        await sender
    return delays_s


async def talk_all(url: str, pcm: np.ndarray, n_streams: int, seconds: float) -> list[float]:
    """Return the delays of all streams."""
    delays = await asyncio.gather(*(talk(url, pcm, seconds) for _ in range(n_streams)))
    return [delay_s for one in delays for delay_s in one]


def visit(url: str, recording: np.ndarray, seconds: float) -> list[float]:
    """Stream (n_samples,) float32 into the live tab; return the delays."""
    client = LiveClient(url, recording, RATE_HZ)
    try:
        client.stream(seconds)
    finally:
        client.close()
    return client.lags_s


def processor_s(url: str) -> float:
    """Return the processor time so far of the app at an address, and of its children."""
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    listening = [c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.pid]
    app = next(p for p in map(psutil.Process, listening) if p.pid != os.getpid())
    times = [process.cpu_times() for process in (app, *app.children(recursive=True))]
    return float(sum(t.user + t.system for t in times))


def measure(url: str, streams: int, seconds: float) -> dict[str, Any]:
    """Send the streams one way and then the other; return delays and processor time by way."""
    recording = make_babble(duration_s=20.0)
    pcm = (recording * 32_767).astype("<i2")

    def through_page() -> list[float]:
        with ThreadPoolExecutor(streams) as pool:
            jobs = [pool.submit(visit, url, recording, seconds) for _ in range(streams)]
        return [delay_s for job in jobs for delay_s in job.result()]

    asyncio.run(talk_all(url, pcm, 2, WARM_S))
    figures: dict[str, Any] = {"load_before": os.getloadavg()[0]}
    ways = {"api": lambda: asyncio.run(talk_all(url, pcm, streams, seconds)), "page": through_page}
    for way, run in ways.items():
        before_s = processor_s(url)
        delays_s = run()
        figures[way] = {str(p): float(np.percentile(delays_s, p)) for p in PERCENTILES}
        figures[way]["ms"] = 1_000 * (processor_s(url) - before_s) / len(delays_s)
    return figures


def main(streams: int = 32, seconds: float = 30.0, url: str = "") -> None:
    """Run the app, or use the one at `url` on this machine, measure, and write the results."""
    if url:
        figures = measure(url, streams, seconds)
    else:
        with tempfile.TemporaryDirectory() as name:
            model, log = str(ROOT / "model" / "compact"), Path(name, "log.txt")
            with run_app([str(ROOT / "app.py")], log, MOODMIRROR_MODEL=model) as url:
                figures = measure(url, streams, seconds)
    figures |= {"streams": streams, "seconds": seconds, "machine": describe_machine()}
    rows = [
        ("processor time of an answer", f"{figures['api']['ms']:.0f} ms",
         f"{figures['page']['ms']:.0f} ms", f"{figures['page']['ms'] / figures['api']['ms']:.1f}")
    ]  # fmt: skip
    rows += [
        (f"delay, percentile {p}", f"{figures['api'][p]:.2f} s", f"{figures['page'][p]:.2f} s",
         f"{figures['page'][p] / figures['api'][p]:.1f}")
        for p in map(str, PERCENTILES)
    ]  # fmt: skip
    print(json.dumps(figures, indent=1))
    cores = streams / CHUNK_S * figures["api"]["ms"] / 1_000
    write("streams", figures, render("streams", figures, rows=table(rows), cores=cores))


if __name__ == "__main__":
    typer.run(main)
