"""The commands that run until they are interrupted: the page, and the microphone."""

import json
import math
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from ser_core.cli.common import (
    MODEL,
    ModelOption,
    TrustOption,
    command,
    complain,
    open_model,
    show,
)
from ser_core.cli.output import percent
from ser_core.errors import SerError

if TYPE_CHECKING:
    from ser_core.live import LiveAnswer

CHUNK_S = 0.25
STDIN = "-"
OpenChunks = Callable[[int], Iterator[tuple[int, npt.NDArray[Any]]]]


@command()
def serve(
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    host: Annotated[
        str,
        typer.Option(
            envvar="GRADIO_SERVER_NAME", help="Address to listen on; 0.0.0.0 for all interfaces."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            envvar="GRADIO_SERVER_PORT",
            min=1,
            max=65_535,
            help="Default: 7860, or the next free port.",
        ),
    ] = None,
) -> None:
    """Serve the web page until interrupted."""
    os.environ["GRADIO_SERVER_NAME"] = host
    if port is not None:
        os.environ["GRADIO_SERVER_PORT"] = str(port)
    from ser_core.web.page import serve as serve_page

    serve_page(model, trust=trust)


@command()
def live(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A recording, or - for 16-bit mono PCM from standard input. Without it: the "
            "microphone."
        ),
    ] = None,
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    device: Annotated[
        str | None, typer.Option(help="Microphone: its number or part of its name.")
    ] = None,
    rate: Annotated[
        int, typer.Option(min=8_000, max=192_000, help="Sample rate of standard input in Hz.")
    ] = 16_000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line, as /v1/stream sends.")
    ] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Serve a transparent page with the emotion, for OBS.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of the page of --overlay.")
    ] = 7_870,
) -> None:
    """Analyse the microphone live, with a result every half second, until interrupted."""
    from ser_core.live import LiveConfig, LiveSession
    from ser_core.web.overlay import serve_overlay

    chunks = _open_source(source, device, rate)
    with serve_overlay(port) if overlay else nullcontext() as page:
        predictor = open_model(model, trust=trust)
        if page:
            complain(f"The overlay is at {page.url}: add it to OBS as a browser source.")
        session, reason = LiveSession(LiveConfig(limit_s=math.inf)), "finished"
        try:
            for rate_hz, chunk in chunks(predictor.config.audio.sample_rate_hz):
                if answer := session.process(rate_hz, chunk, predictor):
                    _show_answer(answer, as_json=as_json)
                    if page:
                        page.show(answer)
                if page and source not in (None, STDIN):
                    time.sleep(len(chunk) / rate_hz)  # at the pace of speech
        except KeyboardInterrupt:
            reason = "interrupted"
    if as_json:
        for event in session.end(reason):
            print(json.dumps(event), flush=True)
        return
    shares = ", ".join(f"{label} {percent(share)}" for label, share in session.shares().items())
    show(f"{session.received_s:.0f} s analysed. {shares or 'No speech.'}")


def _show_answer(answer: "LiveAnswer", *, as_json: bool) -> None:
    if as_json:
        for event in answer.events():
            print(json.dumps(event), flush=True)
        return
    result = answer.prediction
    text = f"{result.emotion} {percent(result.confidence)}" if result else "…"
    show(f"{answer.at_s:6.1f} s  {text}")


def _open_source(source: str | None, device: str | None, rate_hz: int) -> OpenChunks:
    """Return a function of the microphone's rate that yields the rate and each chunk.

    Raises:
        AudioError: The recording cannot be read.
        SerError: There is no microphone.
    """
    if source is None:
        microphone = _import_sounddevice()
        return lambda own_hz: ((own_hz, chunk) for chunk in _record(microphone, device, own_hz))
    if source == STDIN:
        return lambda _: ((rate_hz, chunk) for chunk in _read_pcm(rate_hz))
    from ser_core.audio.load import load_native

    file_hz, waveform = load_native(source)
    n = round(CHUNK_S * file_hz)
    return lambda _: (
        (file_hz, waveform[start : start + n]) for start in range(0, len(waveform), n)
    )


def _read_pcm(rate_hz: int) -> Iterator[npt.NDArray[Any]]:
    """Yield chunks of standard input, (n_samples,) int16, until it ends."""
    while content := sys.stdin.buffer.read(2 * round(CHUNK_S * rate_hz)):
        if n_samples := len(content) // 2:
            yield np.frombuffer(content[: 2 * n_samples], "<i2").astype(np.int16)


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise SerError(
            "sounddevice is not installed, and live needs it. Install it with: "
            "pip install 'moodmirror[microphone]'"
        ) from error
    except OSError as error:
        raise SerError(
            f"PortAudio is not installed ({error}). On Debian: apt install libportaudio2"
        ) from error
    return sounddevice


def _record(microphone: Any, device: str | None, rate_hz: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yield chunks of the microphone's audio, (n_samples,) float32, until interrupted."""
    chunks: queue.Queue[np.ndarray[Any, Any]] = queue.Queue()
    try:
        with microphone.InputStream(
            samplerate=rate_hz,
            blocksize=round(CHUNK_S * rate_hz),
            device=int(device) if device is not None and device.isdecimal() else device,
            channels=1,
            dtype="float32",
            callback=lambda block, *_: chunks.put(block[:, 0].copy()),
        ):
            while True:
                yield chunks.get()
    except (microphone.PortAudioError, ValueError) as error:
        raise SerError(
            f"The microphone cannot be opened: {error}. Choose one with --device."
        ) from error
