"""Model folders as repositories of the Hub, which the app runs by `hf://OWNER/NAME@REVISION`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.deploy.folder import Files, check_card, model_files, total_bytes
from ser_core.errors import HubError, SerError
from ser_core.model.manifest import Manifest
from ser_core.registry import ModelAddress

if TYPE_CHECKING:
    from huggingface_hub import HfApi


KEPT = (".gitattributes",)
"""What the Hub puts into each repository and needs there."""


def open_hub() -> "HfApi":
    """The Hub, for whom the token of this machine belongs to.

    Raises:
        HubError: There is no token, or the Hub does not accept it.
    """
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise HubError(
            "There is no Hub token on this machine. Create one with write permission at "
            'https://huggingface.co/settings/tokens, then run "hf auth login" or set HF_TOKEN.'
        )
    api = HfApi(token=token, library_name="moodmirror")
    with hub_errors("Signing in"):
        api.whoami()
    return api


def check_name(repo: str) -> None:
    """Refuse what is no owner and name of a repository.

    Raises:
        HubError: It is none.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise HubError(f"{repo} is not a repository name; expected OWNER/NAME.")


def push(api: "HfApi", files: Files, repo: str, *, kind: str, message: str) -> str:
    """Make a repository hold these files and no others, in one commit.

    Args:
        api: From `open_hub`.
        files: All that it is to hold.
        repo: Owner and name.
        kind: `model` or `space`.
        message: Of the commit.

    Returns:
        The commit; the one before where nothing was changed.

    Raises:
        HubError: It cannot be pushed; then the repository holds what it held before.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    with hub_errors(f"Uploading to {repo}"):
        there = api.list_repo_files(repo, repo_type=kind)
        gone = sorted(set(there) - set(files) - set(KEPT))
        commit = api.create_commit(
            repo,
            repo_type=kind,
            operations=[
                *(CommitOperationAdd(name, str(path)) for name, path in files.items()),
                *(CommitOperationDelete(name) for name in gone),
            ],
            commit_message=message,
        )
    return commit.oid


@contextmanager
def hub_errors(doing: str) -> Iterator[None]:
    """Say why the Hub did not do something, and what to do.

    Args:
        doing: What is being done.

    Raises:
        HubError: It failed.
    """
    try:
        yield
    except SerError:
        raise
    # The errors of huggingface_hub and the HTTP library below it have no common root.
    except Exception as error:
        raise HubError(f"{doing} failed: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError):
        cause = error.__cause__  # huggingface_hub wraps what it meets in its threads
        if isinstance(error, RuntimeError) and cause is not None:
            return _reason(cause)
        said = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ValueError):
            return said
        return (
            f"{said}. Run it again when you are online: files already uploaded are not sent twice."
        )
    status = error.response.status_code
    said = " ".join((error.server_message or str(error)).split()).rstrip(".")
    advice = {
        401: "The Hub does not accept the token: set HF_TOKEN to a valid one.",
        402: "This hardware is not free: choose another, or check the account's billing.",
        403: "Use a token with write permission for that owner.",
        404: "Correct the name, or use a token with access to it.",
        429: f"Try again in {_wait_s(error)}: files already uploaded are not sent twice.",
    }
    return f"{said} ({status}). {advice.get(status, 'Try again later.')}"


def _wait_s(error: BaseException) -> str:
    """How long a refusal for too many requests holds."""
    from huggingface_hub.errors import HfHubHTTPError

    waits = error.response.headers.get("Retry-After") if isinstance(error, HfHubHTTPError) else None
    return f"{waits} s" if waits else "a few minutes"


KIND = "model"


def publishable(folder: Path) -> Files:
    """The files of a model folder, after checking that it may be published as it is.

    Args:
        folder: A model folder with a card.

    Raises:
        HubError: There is no card, or it does not fit the manifest.
        ModelError: The folder does not match its manifest.
    """
    files = model_files(folder)
    check_card(folder, Manifest.read(folder))
    return files


def publish_model(api: "HfApi", files: Files, repo: str, *, private: bool = False) -> Iterator[str]:
    """Push a model folder with its card.

    Args:
        api: From `open_hub`.
        files: From `publishable`.
        repo: Owner and name; made if it is missing.
        private: Whether it is made for its owner alone.

    Yields:
        A line for each step that is done; the last one holds the address of the model.

    Raises:
        HubError: A step failed; the repository holds what it held before.
    """
    with hub_errors(f"Creating {repo}"):
        api.create_repo(repo, repo_type=KIND, private=private, exist_ok=True)
    yield f"{repo} exists"
    commit = push(api, files, repo, kind=KIND, message="Publish a model of MoodMirror")
    yield f"uploaded {len(files)} files, {total_bytes(files) / 1e6:.1f} MB"
    yield str(ModelAddress(repo, commit))
