"""The app as a Space on the Hub: made, filled, built, and asked one question."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ser_core.deploy.folder import CLIP, Files
from ser_core.deploy.repository import hub_errors, push
from ser_core.deploy.smoke import ask
from ser_core.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

KIND = "space"
BUILD_WITHIN_S = 1_800.0
LOOK_EVERY_S = 5.0
N_LOG_LINES = 15
"""Lines of a failed build that are shown."""
INTERMEDIATE = ("BUILDING", "RUNNING_BUILDING", "APP_STARTING", "RUNNING_APP_STARTING")
FAILED = ("BUILD_ERROR", "CONFIG_ERROR", "RUNTIME_ERROR", "NO_APP_FILE", "STOPPED")
STOPPED = ("PAUSED", "DELETING")
"""Stages in which nothing is built."""
BEGINS_WITHIN_S = 60.0
"""After this long what the Hub tells is no longer of the commit before."""


@dataclass(frozen=True, slots=True)
class SpacePlan:
    """What a Space is to be like.

    Attributes:
        space: Owner and name.
        hardware: Such as `cpu-basic`; None leaves it as it is.
        secrets: Names of environment variables whose values it gets as secrets.
        variables: What it sees openly, such as `MOODMIRROR_MODEL`.
        private: Whether it is made for its owner alone; one that is there stays as it is.
    """

    space: str
    hardware: str | None = None
    secrets: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    private: bool = False

    def secret_values(self) -> dict[str, str]:
        """The secrets from this process's environment.

        Raises:
            HubError: One is not there.
        """
        if absent := [name for name in self.secrets if name not in os.environ]:
            raise HubError(
                f"The secrets {', '.join(absent)} are not in the environment. Set each one "
                "before the command, so that it is not part of the command line."
            )
        return {name: os.environ[name] for name in self.secrets}

    def steps(self, files: Files) -> Iterator[str]:
        """What `deploy` would do, in order."""
        self.secret_values()
        hardware = f" on {self.hardware}" if self.hardware else ""
        made = "private " if self.private else ""
        yield f"would create the {made}Space {self.space} if needed{hardware}"
        if self.hardware:
            yield f"would request the hardware {self.hardware}"
        for name in self.secrets:
            yield f"would set the secret {name}"
        for name, value in self.variables.items():
            yield f"would set the variable {name}={value}"
        yield f"would upload {len(files)} files in one commit, and delete all others"
        yield f"would wait up to {BUILD_WITHIN_S / 60:.0f} minutes for the build"
        yield f"would query the running app with {CLIP}"


def deploy(api: "HfApi", plan: SpacePlan, files: Files) -> Iterator[str]:
    """Make a Space what it is to be, wait until it runs, and ask it one question.

    Args:
        api: From `open_hub`.
        plan: What it is to be like.
        files: All that it is to hold.

    Yields:
        A line for each step that is done.

    Raises:
        HubError: A step failed; those before it are done, and doing all again does no harm.
    """
    yield _make(api, plan)
    for name, value in plan.secret_values().items():
        with hub_errors(f"Setting the secret {name}"):
            api.add_space_secret(plan.space, name, value)
        yield f"secret {name} set"
    for name, value in plan.variables.items():
        with hub_errors(f"Setting the variable {name}"):
            api.add_space_variable(plan.space, name, value)
        yield f"variable {name} set"
    commit = push(api, files, plan.space, kind=KIND, message="Deploy MoodMirror")
    yield f"uploaded {len(files)} files as {commit}"
    wait_until_running(api, plan.space, commit)
    yield f"running: {api.endpoint}/spaces/{plan.space}"
    yield f"live: {ask(plan.space, files[CLIP], token=str(api.token))}"


def _make(api: "HfApi", plan: SpacePlan) -> str:
    with hub_errors(f"Creating {plan.space}"):
        if not api.repo_exists(plan.space, repo_type=KIND):
            api.create_repo(
                plan.space,
                repo_type=KIND,
                space_sdk="gradio",
                space_hardware=plan.hardware,  # type: ignore[arg-type]  # a str will do
                private=plan.private,
            )
            return f"created {plan.space}"
        if plan.hardware is not None:
            api.request_space_hardware(plan.space, plan.hardware)  # type: ignore[arg-type]
            return f"{plan.space} exists; requested {plan.hardware}"
    return f"{plan.space} exists"


def wait_until_running(api: "HfApi", space: str, commit: str) -> None:
    """Wait until a Space runs a commit.

    Until the build begins, the Hub tells of the commit before, or that there is no app yet.

    Args:
        api: From `open_hub`.
        space: Owner and name.
        commit: What it is to run.

    Raises:
        HubError: The build fails, its last lines in the message; or it takes too long.
    """
    begun = time.monotonic()
    is_building = False
    while True:
        with hub_errors(f"The files are uploaded, but waiting for {space}"):
            runtime = api.get_space_runtime(space)
        stage, waited_s = str(runtime.stage), time.monotonic() - begun
        if stage == "RUNNING" and runtime.raw.get("sha", commit) == commit:
            return
        is_building |= stage in INTERMEDIATE
        is_ours = is_building or runtime.raw.get("sha") == commit or waited_s > BEGINS_WITHIN_S
        if stage in STOPPED or (stage in FAILED and is_ours):
            raise HubError(f"{space} ends in {stage}. {_log(api, space, stage)}")
        if waited_s > BUILD_WITHIN_S:
            raise HubError(
                f"{space} is still in {stage} after {BUILD_WITHIN_S / 60:.0f} minutes. "
                f"Look at {api.endpoint}/spaces/{space}."
            )
        time.sleep(LOOK_EVERY_S)


def _log(api: "HfApi", space: str, stage: str) -> str:
    """The last lines that the build or the app printed."""
    try:
        with hub_errors("Reading its log"):
            lines = api.fetch_space_logs(space, build=stage == "BUILD_ERROR")
            last = [line.rstrip() for line in lines][-N_LOG_LINES:]
    except HubError as error:
        return str(error)
    return "Its log ends with:\n" + "\n".join(last) if last else "It left no log."
