"""The app as a Space: tested in a fresh environment, created, uploaded, built, and queried once."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ser_core.deploy.folder import APP, CLIP, Files
from ser_core.deploy.repository import hub_errors, push
from ser_core.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

START_WITHIN_S = 180.0
START_POLL_S = 0.5
BUILD_WITHIN_S = 1_800.0
BUILD_POLL_S = 5.0
STALE_S = 60.0
"""After this time the Hub no longer reports the previous commit's stage."""
N_LOG_LINES = 15
"""Number of lines of a failed build that are shown."""
BUILDING = ("BUILDING", "RUNNING_BUILDING", "APP_STARTING", "RUNNING_APP_STARTING")
FAILED = ("BUILD_ERROR", "CONFIG_ERROR", "RUNTIME_ERROR", "NO_APP_FILE", "STOPPED")
STOPPED = ("PAUSED", "DELETING")
"""Stages in which nothing is built."""


@dataclass(frozen=True, slots=True)
class SpacePlan:
    """Settings of a Space.

    Attributes:
        space: Owner and name.
        hardware: Such as `cpu-basic`; None leaves it unchanged.
        secrets: Names of environment variables whose values are set as secrets.
        variables: Public variables, such as `MOODMIRROR_MODEL`.
        private: Whether a new Space is private; an existing one is not changed.
    """

    space: str
    hardware: str | None = None
    secrets: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    private: bool = False

    def secret_values(self) -> dict[str, str]:
        """Return the secrets' values from the environment.

        Raises:
            HubError: One is not set.
        """
        if missing := [name for name in self.secrets if name not in os.environ]:
            raise HubError(
                f"The secrets {', '.join(missing)} are not in the environment. Set each one "
                "before the command, so that it is not part of the command line."
            )
        return {name: os.environ[name] for name in self.secrets}

    def steps(self, files: Files) -> Iterator[str]:
        """Yield what `deploy` would do, in order."""
        hardware = f" on {self.hardware}" if self.hardware else ""
        private = "private " if self.private else ""
        yield f"would create the {private}Space {self.space} if needed{hardware}"
        if self.hardware:
            yield f"would request the hardware {self.hardware}"
        for name in self.secrets:
            yield f"would set the secret {name}"
        for name, value in self.variables.items():
            yield f"would set the variable {name}={value}"
        yield f"would upload {len(files)} files in one commit, and delete all others"
        yield f"would wait up to {BUILD_WITHIN_S / 60:.0f} minutes for the build"
        yield f"would query the running app with {CLIP}"


def smoke_test(folder: Path, python: Path) -> str:
    """Run the app as the Hub would, with the bundled model, and query it with an example.

    Args:
        folder: Folder of the Space; it is not changed.
        python: Python of an environment with its requirements, see `fresh_environment`.

    Raises:
        HubError: The app does not start or answer.
    """
    with (
        TemporaryDirectory(prefix="moodmirror-smoke-") as place,
        _running_app(folder, python, Path(place)) as url,
    ):
        return f"smoke test: {query_app(url, folder / CLIP)}"


def fresh_environment(requirements: Path, place: Path) -> Path:
    """Install requirements from the package index into a new environment; return its Python.

    Raises:
        HubError: They cannot be installed; the message contains pip's last line.
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


def deploy(api: "HfApi", plan: SpacePlan, files: Files) -> Iterator[str]:
    """Create or update a Space, wait until it runs, and query it once.

    Yields:
        A line for each finished step.

    Raises:
        HubError: A step failed; the steps before it are done, and all may be repeated.
    """
    yield _create(api, plan)
    for name, value in plan.secret_values().items():
        with hub_errors(f"Setting the secret {name}"):
            api.add_space_secret(plan.space, name, value)
        yield f"secret {name} set"
    for name, value in plan.variables.items():
        with hub_errors(f"Setting the variable {name}"):
            api.add_space_variable(plan.space, name, value)
        yield f"variable {name} set"
    commit = push(api, files, plan.space, kind="space", message="Deploy MoodMirror")
    yield f"uploaded {len(files)} files as {commit}"
    wait_until_running(api, plan.space, commit)
    yield f"running: {api.endpoint}/spaces/{plan.space}"
    yield f"live: {query_app(plan.space, files[CLIP], token=str(api.token))}"


def wait_until_running(api: "HfApi", space: str, commit: str) -> None:
    """Wait until a Space runs a commit.

    Until the build starts, the Hub reports the previous commit's stage, or that there is no app.

    Raises:
        HubError: The build fails, with the end of its log; or it takes too long.
    """
    started_s = time.monotonic()
    is_building = False
    while True:
        with hub_errors(f"The files are uploaded, but waiting for {space}"):
            runtime = api.get_space_runtime(space)
        stage, waited_s = str(runtime.stage), time.monotonic() - started_s
        if stage == "RUNNING" and runtime.raw.get("sha", commit) == commit:
            return
        is_building |= stage in BUILDING
        is_current = is_building or runtime.raw.get("sha") == commit or waited_s > STALE_S
        if stage in STOPPED or (stage in FAILED and is_current):
            raise HubError(f"{space} ends in {stage}. {_log(api, space, stage)}")
        if waited_s > BUILD_WITHIN_S:
            raise HubError(
                f"{space} is still in {stage} after {BUILD_WITHIN_S / 60:.0f} minutes. "
                f"Look at {api.endpoint}/spaces/{space}."
            )
        time.sleep(BUILD_POLL_S)


def query_app(app: str, clip: Path, *, token: str | None = None) -> str:
    """Query a running app with one recording; return a sentence with its answer.

    Args:
        app: URL of the app, or owner and name of a Space.
        clip: The recording.
        token: For a private Space.

    Raises:
        HubError: The app does not answer, or its probabilities do not sum to 1.
    """
    from gradio_client import Client, handle_file

    try:
        client = Client(app, token=token, verbose=False, analytics_enabled=False)
        answer = client.predict(audio=handle_file(str(clip)), api_name="/predict")
        emotion, total = answer["emotion"], sum(answer["probabilities"].values())
    # gradio_client passes on any error of the network, the Hub or the app.
    except Exception as error:
        raise HubError(
            f"{app} does not answer for {clip.name}: {_last_line(str(error)) or type(error)}"
        ) from error
    if abs(total - 1.0) > 1e-3:
        raise HubError(f"{app} answers with probabilities that sum to {total:.3f}, not 1.")
    return f"{answer['model']} recognises {emotion} ({answer['confidence']:.0%}) in {clip.name}"


@contextmanager
def _running_app(folder: Path, python: Path, place: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(place),
        "HF_HUB_OFFLINE": "1",
        "MOODMIRROR_MODEL": "compact",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    log = place / "log.txt"
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
            time.sleep(START_POLL_S)
    raise HubError(f"The app does not start from that folder: {_last_line(log.read_text())}")


def _create(api: "HfApi", plan: SpacePlan) -> str:
    with hub_errors(f"Creating {plan.space}"):
        if not api.repo_exists(plan.space, repo_type="space"):
            api.create_repo(
                plan.space,
                repo_type="space",
                space_sdk="gradio",
                space_hardware=plan.hardware,  # type: ignore[arg-type]  # a str is accepted
                private=plan.private,
            )
            return f"created {plan.space}"
        if plan.hardware is not None:
            api.request_space_hardware(plan.space, plan.hardware)  # type: ignore[arg-type]
            return f"{plan.space} exists; requested {plan.hardware}"
    return f"{plan.space} exists"


def _log(api: "HfApi", space: str, stage: str) -> str:
    try:
        with hub_errors("Reading its log"):
            lines = api.fetch_space_logs(space, build=stage == "BUILD_ERROR")
            last = [line.rstrip() for line in lines][-N_LOG_LINES:]
    except HubError as error:
        return str(error)
    return "Its log ends with:\n" + "\n".join(last) if last else "It left no log."


def _plain_environment() -> dict[str, str]:
    """Return the environment without variables that point to this checkout or change the app."""
    ours = ("MOODMIRROR_", "GRADIO_", "PYTHONPATH", "HF_TOKEN")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
