"""Uploads to repositories of the Hub, and models published as `hf://OWNER/NAME@REVISION`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.deploy.folder import Files, check_card, model_files
from ser_core.errors import HubError, SerError
from ser_core.model.manifest import FILE_NAME, HEAD, Manifest
from ser_core.model.saved_model import NETWORK
from ser_core.registry import SCHEME

if TYPE_CHECKING:
    from huggingface_hub import HfApi

KEPT = (".gitattributes",)
"""Files that the Hub itself adds to each repository."""


def open_hub() -> "HfApi":
    """Sign in with this machine's token; raise HubError if there is none or it is rejected."""
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
    """Check that a repository's name is OWNER/NAME; raise HubError if not."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise HubError(f"{repo} is not a repository name; expected OWNER/NAME.")


def push(api: "HfApi", files: Files, repo: str, *, kind: str, message: str) -> str:
    """Replace all files of a repository of some kind (`model` or `space`) in one commit.

    Returns:
        The commit; the previous one where nothing changed.

    Raises:
        HubError: The upload failed, and the repository is unchanged.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    with hub_errors(f"Uploading to {repo}"):
        existing = api.list_repo_files(repo, repo_type=kind)
        removed = sorted(set(existing) - set(files) - set(KEPT))
        commit = api.create_commit(
            repo,
            repo_type=kind,
            operations=[
                *(CommitOperationAdd(name, str(path)) for name, path in files.items()),
                *(CommitOperationDelete(name) for name in removed),
            ],
            commit_message=message,
        )
    return commit.oid


@contextmanager
def hub_errors(doing: str) -> Iterator[None]:
    """Turn any error of the Hub into a HubError: what was being done, the reason, what to do."""
    try:
        yield
    except SerError:
        raise
    # The errors of huggingface_hub and the HTTP library below it have no common root.
    except Exception as error:
        raise HubError(f"{doing} failed: {_reason(error)}") from error


def publishable(folder: Path) -> Files:
    """Return a model's files, the SavedModel included, after checking that it may be published.

    Raises:
        HubError: There is no card, or it does not agree with the manifest.
        ModelError: The folder does not match its manifest.
    """
    files = model_files(folder)
    check_card(folder, Manifest.read(folder))
    return files


def weights_only(folder: Path, draft: Path) -> Files:
    """Return a model's files as `publishable` does, without the SavedModel.

    Args:
        folder: The model folder.
        draft: Empty folder for the manifest of these files.

    Raises:
        HubError, ModelError: As `publishable`; or the Keras network is missing, or would be
            refused by those who download it.
    """
    from ser_core.model.layers import load_keras

    files, manifest = publishable(folder), Manifest.read(folder)
    network = NETWORK if manifest.encoder is None else HEAD
    if network not in manifest.files:
        raise HubError(
            f"{folder} contains no {network}, only a SavedModel. Train the model again, or publish "
            "it with --format saved_model; it then runs only where it is trusted."
        )
    load_keras(folder / network)
    kept = manifest.weights_only
    replace(manifest, files=kept).write(draft)
    left_out = set(manifest.files) - set(kept)
    return {name: files[name] for name in files if name not in left_out} | {
        FILE_NAME: draft / FILE_NAME
    }


def publish_model(api: "HfApi", files: Files, repo: str, *, private: bool = False) -> Iterator[str]:
    """Upload a model's files to OWNER/NAME, which is created if missing.

    Yields:
        A line for each finished step; the last one is the model's address.

    Raises:
        HubError: A step failed, and the repository's files are unchanged.
    """
    with hub_errors(f"Creating {repo}"):
        api.create_repo(repo, repo_type="model", private=private, exist_ok=True)
    yield f"{repo} exists"
    commit = push(api, files, repo, kind="model", message="Publish a model of MoodMirror")
    n_bytes = sum(path.stat().st_size for path in files.values())
    yield f"uploaded {len(files)} files, {n_bytes / 1e6:.1f} MB"
    yield f"{SCHEME}{repo}@{commit}"


def _reason(error: BaseException) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError):
        cause = error.__cause__  # huggingface_hub wraps the errors of its threads
        if isinstance(error, RuntimeError) and cause is not None:
            return _reason(cause)
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ValueError):
            return text
        return (
            f"{text}. Run it again when you are online: files already uploaded are not sent twice."
        )
    status = error.response.status_code
    text = " ".join((error.server_message or str(error)).split()).rstrip(".")
    wait_s = error.response.headers.get("Retry-After")
    advice = {
        401: "The Hub does not accept the token: set HF_TOKEN to a valid one.",
        402: "This hardware is not free: choose another, or check the account's billing.",
        403: "Use a token with write permission for that owner.",
        404: "Correct the name, or use a token with access to it.",
        429: f"Try again in {f'{wait_s} s' if wait_s else 'a few minutes'}: files already uploaded "
        "are not sent twice.",
    }
    return f"{text} ({status}). {advice.get(status, 'Try again later.')}"
