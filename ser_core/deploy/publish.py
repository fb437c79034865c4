"""Model folders as repositories of the Hub, which the app runs by `hf://OWNER/NAME@REVISION`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ser_core.deploy.checks import check_card
from ser_core.deploy.folder import Files, model_files, total_bytes
from ser_core.deploy.repository import hub_errors, push
from ser_core.manifest import Manifest
from ser_core.remote import ModelAddress

if TYPE_CHECKING:
    from huggingface_hub import HfApi

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
