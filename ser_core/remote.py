"""Model folders that lie on the Hub: `hf://OWNER/NAME@REVISION`, fetched once and held true.

A model is code that runs: name only repositories that you trust, by their commit. What was
fetched lies in huggingface_hub's cache, where it is found without the network.
"""

import logging
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Self

from ser_core.errors import ModelError
from ser_core.hub import first_line
from ser_core.manifest import FILE_NAME, Manifest, read_json

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
