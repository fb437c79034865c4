"""Which model answers: chosen by `MOODMIRROR_MODEL`, found, fetched and opened."""

import logging
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Self

from ser_core.errors import ModelError, SerError
from ser_core.model.assemble import find_assembly
from ser_core.model.emotion_model import KERAS
from ser_core.model.manifest import FILE_NAME, Manifest, read_json
from ser_core.paths import bundled
from ser_core.predictor import Predictor
from ser_core.whisper.weights import fetch_encoder, find_encoder, first_line

logger = logging.getLogger(__name__)

SCHEME = "hf://"
ANSWER_WITHIN_S = 10.0
"""How long the Hub has for each answer."""

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """Where on the Hub a model lies.

    Attributes:
        repo: Owner and name.
        revision: Commit, tag or branch.
    """

    repo: str
    revision: str = "main"

    @classmethod
    def parse(cls, address: str) -> Self:
        """Read `hf://OWNER/NAME@REVISION`, of which the revision may be left out.

        Raises:
            ModelError: It is written otherwise.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise ModelError(
                f"{address} is not the address of a model; expected {SCHEME}OWNER/NAME or "
                f"{SCHEME}OWNER/NAME@REVISION."
            )
        return cls(found["repo"], found["revision"] or "main")

    def __str__(self) -> str:
        """The address in full."""
        return f"{SCHEME}{self.repo}@{self.revision}"


@cache
def fetch_model(address: str) -> Path:
    """Find a model on this machine or fetch it from the Hub, and hold it against its manifest.

    Once asked for, an address stays the same commit as long as the process lives.

    Args:
        address: As `ModelAddress.parse` reads it.

    Returns:
        The model folder.

    Raises:
        ModelError: The address is none; the repository or its revision is unknown; a file is
            missing or not the one of the manifest; or the Hub cannot be reached.
    """
    wanted = ModelAddress.parse(address)
    folder = _fetch(wanted, FILE_NAME).parent
    pinned = ModelAddress(wanted.repo, folder.name)
    try:
        for file in _files_of(folder):
            _fetch(pinned, file)
        Manifest.read(folder)
    except ModelError as error:
        raise ModelError(f"{pinned} was rejected: {error}") from error
    if wanted != pinned:
        logger.warning("%s is currently %s; use that name to pin it.", wanted, pinned)
    return folder


def _files_of(folder: Path) -> list[str]:
    """Paths of the files that the manifest names.

    Raises:
        ModelError: There is no manifest, or it names a file outside its folder.
    """
    files = read_json(folder).get("files")
    if not isinstance(files, dict) or not files:
        raise ModelError(f"its {FILE_NAME} names no files. Export the model again.")
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ModelError(f"its {FILE_NAME} names {name}, which lies outside the folder.")
    return list(files)


def _fetch(address: ModelAddress, file: str) -> Path:
    """One file of a repository, in a folder that is named like its commit."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(
            hf_hub_download(
                address.repo, file, revision=address.revision, etag_timeout=ANSWER_WITHIN_S
            )
        )
    except RemoteEntryNotFoundError as error:
        raise ModelError(
            f"{address.repo} holds no {file}, so it is no whole model. Publish one with "
            "«python -m ser_core publish-model»."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The Hub knows no model {address.repo}, or shows it to its owners alone. Mend the "
            "name, or set HF_TOKEN to a token that may read it."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"{address.repo} has no revision {address.revision}. Name a commit, tag or branch "
            "that it has."
        ) from error
    # The other errors of huggingface_hub and the HTTP library below it have no common root.
    except Exception as error:
        raise ModelError(
            f"{file} of {address} cannot be fetched ({first_line(error)}). Try again later, or "
            "name a model folder of this machine."
        ) from error


MODEL_VARIABLE = "MOODMIRROR_MODEL"
"""Environment variable with the choice: `auto`, `accurate`, `compact`, a folder or its address."""
AUTO, ACCURATE, COMPACT = "auto", "accurate", "compact"
BUNDLED = bundled("model")
"""Where the project's own models lie."""


def chosen_model() -> str:
    """What `MOODMIRROR_MODEL` says, `auto` where it says nothing."""
    return os.environ.get(MODEL_VARIABLE) or AUTO


def open_predictor(choice: str) -> Predictor:
    """Open a model for good.

    `auto` never waits for the network: it is the accurate model where this machine has
    all that it needs, and the compact one elsewhere.

    Args:
        choice: `auto`, `accurate`, `compact`, a model folder, the `.keras` file in one, or
            `hf://OWNER/NAME@REVISION`.

    Raises:
        OfflineError: The accurate model was asked for by name, its encoder is not on
            this machine, and the Hub cannot be reached.
        ModelError: The model's folder does not match its manifest, or an address leads to
            no such model.
    """
    if choice != AUTO:
        return Predictor.from_folder(find_folder(choice))
    try:
        if _is_at_hand(find_folder(ACCURATE)):
            return Predictor.from_folder(find_folder(ACCURATE))
    except SerError as error:
        logger.warning("The accurate model cannot be used: %s", error)
    return Predictor.from_folder(find_folder(COMPACT))


def settle(choice: str) -> tuple[str, Manifest]:
    """Say which model `open_predictor` takes, without opening it.

    Args:
        choice: As in `open_predictor`.

    Returns:
        The choice with `auto` decided, so that every process opens the same one, and what
        the model says of itself.

    Raises:
        ModelError: The model's folder does not match its manifest.
    """
    if choice == AUTO:
        choice = ACCURATE if _is_at_hand(find_folder(ACCURATE)) else COMPACT
    return choice, _read_manifest(choice)


def download_weights(choice: str) -> None:
    """Fetch what a choice needs from the Hub, so that opening it needs no network.

    Args:
        choice: As in `open_predictor`; `auto` fetches nothing.

    Raises:
        OfflineError: The encoder is not on this machine and the Hub cannot be reached.
        ModelError: The model's folder does not match its manifest.
    """
    if choice == AUTO:
        return
    manifest = _read_manifest(choice)
    if manifest.encoder is not None and find_assembly(manifest) is None:
        fetch_encoder(manifest.encoder)


def _read_manifest(choice: str) -> Manifest:
    folder = find_folder(choice)
    return Manifest.read(folder.parent if folder.suffix == KERAS else folder)


def find_folder(choice: str) -> Path:
    """Where a model lies, fetched from the Hub where its address leads there.

    Args:
        choice: As in `open_predictor`, without `auto`.

    Raises:
        ModelError: An address leads to no model.
    """
    if choice.startswith(SCHEME):
        return fetch_model(choice)
    return BUNDLED / choice if choice in (ACCURATE, COMPACT) else Path(choice)


def _is_at_hand(folder: Path) -> bool:
    """Whether a model can be opened without the network."""
    if not (folder / FILE_NAME).is_file():
        return False
    manifest = Manifest.read(folder)
    return (
        manifest.encoder is None
        or find_assembly(manifest) is not None
        or find_encoder(manifest.encoder) is not None
    )
