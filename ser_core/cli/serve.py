"""The commands that run until they are interrupted: the page, and the microphone."""

import os
import queue
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import typer

from ser_core.cli.common import MODEL, ModelOption, TrustOption, command, open_model, show
from ser_core.errors import SerError

CHUNK_S = 0.25


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
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    device: Annotated[
        str | None, typer.Option(help="Microphone: its number or part of its name.")
    ] = None,
) -> None:
    """Analyse the microphone live, with a result every half second, until interrupted."""
    from ser_core.live import LiveSession

    microphone = _import_sounddevice()
    session, predictor = LiveSession(), open_model(model, trust=trust)
    rate_hz = predictor.config.audio.sample_rate_hz
    try:
        for chunk in _record(microphone, device, rate_hz):
            if answer := session.process(rate_hz, chunk, predictor):
                result = answer.prediction
                text = f"{result.emotion} {result.confidence:.0%}" if result else "…"
                show(f"{answer.at_s:6.1f} s  {text}")
            if session.is_over:
                break
    except KeyboardInterrupt:
        pass
    shares = ", ".join(f"{label} {share:.0%}" for label, share in session.shares().items())
    show(f"{session.received_s:.0f} s analysed. {shares or 'No speech.'}")


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
