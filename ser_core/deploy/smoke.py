"""A folder tried before it is pushed: the app runs from it alone and answers for one clip."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ser_core.deploy.folder import APP, CLIP
from ser_core.errors import HubError

START_WITHIN_S = 180.0
LOOK_EVERY_S = 0.5

Preparer = Callable[[Path, Path], Path]
"""From a requirements.txt and an empty folder to the Python of an environment."""


def smoke_test(folder: Path, *, prepare: Preparer) -> str:
    """Run the app as the Hub would, with the bundled model, and ask it about an example.

    Args:
        folder: As it will be pushed; nothing is written into it.
        prepare: Makes the environment, such as `fresh_environment`.

    Returns:
        What the app answered, in a line.

    Raises:
        HubError: The requirements cannot be installed, the app does not start, or it gives
            no answer.
    """
    with TemporaryDirectory(prefix="moodmirror-smoke-") as place:
        workshop = Path(place)
        python = prepare(folder / "requirements.txt", workshop / "venv")
        with _running_app(folder, python, workshop) as url:
            return f"smoke test: {ask(url, folder / CLIP)}"


def fresh_environment(requirements: Path, place: Path) -> Path:
    """Install requirements into an environment of their own, from the package index.

    Args:
        requirements: A requirements.txt.
        place: Where the environment is made.

    Returns:
        Its Python.

    Raises:
        HubError: They cannot be installed; the message holds pip's last line.
    """
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    for command in (
        [sys.executable, "-m", "venv", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=_plain_environment())
        if done.returncode != 0:
            raise HubError(
                f"requirements.txt cannot be installed into a fresh environment: "
                f"{_last_line(done.stderr)} Correct it, or skip this with --skip-smoke-test."
            )
    return python


def ask(app: str, clip: Path, *, token: str | None = None) -> str:
    """Ask a running app about one clip.

    Args:
        app: Address of the app, or owner and name of a Space.
        clip: What it is asked about.
        token: For a private Space.

    Returns:
        The model and its answer.

    Raises:
        HubError: It gives no answer, or one that cannot be.
    """
    from gradio_client import Client, handle_file

    try:
        client = Client(app, token=token, verbose=False, analytics_enabled=False)
        answer = client.predict(audio=handle_file(str(clip)), api_name="/predict")
        emotion, shares = answer["emotion"], answer["probabilities"].values()
    # gradio_client raises whatever the network, the Hub or the app gave it.
    except Exception as error:
        raise HubError(
            f"{app} does not answer for {clip.name}: {_last_line(str(error)) or type(error)}"
        ) from error
    if abs(sum(shares) - 1.0) > 1e-3:
        raise HubError(f"{app} answers with probabilities that sum to {sum(shares):.3f}, not 1.")
    return f"{answer['model']} recognises {emotion} ({answer['confidence']:.0%}) in {clip.name}"


@contextmanager
def _running_app(folder: Path, python: Path, workshop: Path) -> Iterator[str]:
    """The app in a process of its own, until it has answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(workshop),
        "HF_HUB_OFFLINE": "1",
        "MOODMIRROR_MODEL": "compact",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    log = workshop / "log.txt"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [str(python), APP],
            cwd=folder,
            env=_plain_environment() | settings,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}/"
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}healthz", timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(LOOK_EVERY_S)
    raise HubError(f"The app does not start from that folder: {_last_line(log.read_text())}")


def _plain_environment() -> dict[str, str]:
    """This process's environment without what points to this checkout or changes the app."""
    ours = ("MOODMIRROR_", "GRADIO_", "PYTHONPATH", "HF_TOKEN")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
