"""Choice of a model: `MOODMIRROR_MODEL` or `--model` → folder on this machine → `Predictor`."""

import logging
import os
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from ser_core.errors import ModelError, SerError
from ser_core.export import open_onnx
from ser_core.model.emotion_model import EmotionModel, load_model
from ser_core.model.manifest import FILE_NAME, PINNED, Manifest
from ser_core.model.manifest import MAX_BYTES as MAX_MANIFEST_BYTES
from ser_core.paths import bundled
from ser_core.predictor import Predictor
from ser_core.whisper.weights import first_line

logger = logging.getLogger(__name__)

MODEL_VARIABLE = "MOODMIRROR_MODEL"
"""Environment variable with the choice: `auto`, `accurate`, `compact`, a folder or an address."""
TRUST_VARIABLE = "MOODMIRROR_TRUST"
"""Environment variable that is 1 where a SavedModel of others may run, see `load_model`."""
AUTO, ACCURATE, COMPACT = "auto", "accurate", "compact"
BUNDLED = bundled("model")
"""Folder of the models that come with the code."""
SCHEME = "hf://"
Runtime = Literal["auto", "tensorflow", "onnx"]
MAX_FILE_BYTES = 500_000_000
"""Largest file of a model on the Hub."""
HUB_TIMEOUT_S = 10.0
"""Time limit of each answer of the Hub."""

_ADDRESS = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def chosen_model() -> str:
    """Return the value of `MOODMIRROR_MODEL`, `auto` where it is not set."""
    return os.environ.get(MODEL_VARIABLE) or AUTO


def chosen_trust() -> bool:
    """Return whether `MOODMIRROR_TRUST` is set to 1.

    Raises:
        ModelError: It has another value than 0 or 1.
    """
    value = os.environ.get(TRUST_VARIABLE) or "0"
    if value not in ("0", "1"):
        raise ModelError(f"{TRUST_VARIABLE} is {value}; expected 1, or 0 for no trust.")
    return value == "1"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that was found, with its manifest read and its files checked.

    Attributes:
        choice: The choice that led to it, `auto` replaced by a name.
        model: The model, not loaded yet.
        fallback: Name of the model to open where this one cannot be; empty where there is none.
    """

    choice: str
    model: EmotionModel
    fallback: str = ""

    def open(self) -> Predictor:
        """Load the model.

        Raises:
            OfflineError: Its encoder is not on this machine, and the Hub cannot be reached.
            ModelError: It cannot be loaded.
        """
        try:
            return Predictor(self.model)
        except SerError as error:
            if not self.fallback:
                raise
            logger.warning("The %s model cannot be used: %s", self.choice, error)
            return open_predictor(self.fallback)


def resolve(choice: str, *, trust: bool = False, runtime: Runtime = "tensorflow") -> ResolvedModel:
    """Find a model, and read and check its folder, without loading it.

    Args:
        choice: `auto`, `accurate`, `compact`, a model folder, the `.keras` file in one, or
            `hf://OWNER/NAME@REVISION`. `auto` is the accurate model where this machine has all
            that it needs, and the compact one elsewhere.
        trust: Whether a SavedModel of others may run, see `load_model`.
        runtime: `onnx` for the model's ONNX export, which is made the first time, see
            `open_onnx`; an export is run by ONNX Runtime anyway. `auto` for it where it is
            installed and the model can be exported, otherwise for TensorFlow.

    Raises:
        ModelError: The folder does not match its manifest, or is not the one of this version
            where a name stands for it; an address leads to no model; trust is needed; or the
            model cannot be exported.
    """
    if runtime != "tensorflow":
        return in_runtime(resolve(choice, trust=trust), runtime)
    if choice == AUTO:
        return _resolve_auto()
    if choice in PINNED:
        return ResolvedModel(choice, _load_bundled(choice))
    if choice.startswith(SCHEME):
        return ResolvedModel(choice, fetch_model(choice, trust=trust))
    return ResolvedModel(choice, load_model(choice, trust=trust))


def in_runtime(resolved: ResolvedModel, runtime: Runtime) -> ResolvedModel:
    """Return a model as `runtime` of `resolve` asks for it.

    Raises:
        ModelError: It cannot be exported.
    """
    if runtime == "tensorflow":
        return resolved
    try:
        return ResolvedModel(resolved.choice, open_onnx(resolved.model))
    except ModelError as error:
        if runtime == "onnx":
            raise
        logger.info("%s runs in TensorFlow: %s", resolved.choice, error)
        return resolved


def _load_bundled(name: str) -> EmotionModel:
    model = load_model(BUNDLED / name)
    if model.manifest.digest != PINNED[name]:
        raise ModelError(
            f"{BUNDLED / name} is not the {name} model of this version: its manifest has the "
            f"SHA-256 {model.manifest.digest}, not {PINNED[name]}. Install the program again; or, "
            f"if you trained the model, name its folder: {BUNDLED / name}."
        )
    return model


def _resolve_auto() -> ResolvedModel:
    if is_bundled(ACCURATE):
        try:
            accurate = resolve(ACCURATE)
            if accurate.model.is_local:
                return replace(accurate, fallback=COMPACT)
        except SerError as error:
            logger.warning("The accurate model cannot be used: %s", error)
    return resolve(COMPACT)


def is_bundled(name: str) -> bool:
    """Return whether a model of this name comes with the code."""
    return (BUNDLED / name / FILE_NAME).is_file()


def open_predictor(
    choice: str, *, trust: bool = False, runtime: Runtime = "tensorflow"
) -> Predictor:
    """Find and load a model, see `resolve` and `ResolvedModel.open`."""
    return resolve(choice, trust=trust, runtime=runtime).open()


def parse_address(address: str) -> tuple[str, str]:
    """Return the repository and the revision of `hf://OWNER/NAME@REVISION`, by default `main`.

    Raises:
        ModelError: The address has another form.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ModelError(
            f"{address} is not the address of a model; expected {SCHEME}OWNER/NAME or "
            f"{SCHEME}OWNER/NAME@REVISION."
        )
    return found["repo"], found["revision"] or "main"


@cache
def fetch_model(address: str, *, trust: bool = False) -> EmotionModel:
    """Return a model of the Hub, downloaded where the cache lacks it, and checked.

    An address stays the same commit for the lifetime of the process.

    Args:
        address: As in `parse_address`.
        trust: Whether its SavedModel may run; otherwise it is not even downloaded.

    Raises:
        ModelError: The address is malformed; the repository or its revision is unknown; a file
            is missing, too large or not the one of the manifest; trust is needed; or the Hub
            cannot be reached.
    """
    repo, revision = parse_address(address)
    folder = _fetch(repo, revision, FILE_NAME).parent
    commit = folder.name
    pinned = f"{SCHEME}{repo}@{commit}"
    try:
        for file in Manifest.parse(folder).files_to_load(trust=trust):
            _fetch(repo, commit, file)
        model = load_model(folder, trust=trust)
    except ModelError as error:
        raise ModelError(f"{pinned} was rejected: {error}") from error
    if revision != commit:
        current = f"{SCHEME}{repo}@{revision}"
        logger.warning("%s is currently %s; use that name to pin it.", current, pinned)
    return model


def _download(repo: str, revision: str, file: str) -> Path:
    """Return a file of a repository, after looking at its size."""
    from huggingface_hub import hf_hub_download

    most_bytes = MAX_MANIFEST_BYTES if file == FILE_NAME else MAX_FILE_BYTES
    found = hf_hub_download(repo, file, revision=revision, etag_timeout=HUB_TIMEOUT_S, dry_run=True)
    if found.is_cached:
        return Path(found.local_path)
    if found.file_size is None or found.file_size > most_bytes:
        raise ModelError(
            f"{file} of {SCHEME}{repo}@{revision} has {found.file_size} bytes; at most "
            f"{most_bytes:,} are downloaded. Use a smaller model."
        )
    at = found.commit_hash
    return Path(hf_hub_download(repo, file, revision=at, etag_timeout=HUB_TIMEOUT_S))


def _fetch(repo: str, revision: str, file: str) -> Path:
    """Return a file of a repository, in a folder named after its commit."""
    from huggingface_hub.errors import (
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return _download(repo, revision, file)
    except ModelError:
        raise
    except RemoteEntryNotFoundError as error:
        raise ModelError(
            f"{repo} contains no {file}, so it is not a complete model. Publish one with "
            '"python -m ser_core publish-model".'
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The Hub has no model {repo}, or it is private. Correct the name, or set "
            "HF_TOKEN to a token that may read it."
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"{repo} has no revision {revision}. Name one of its commits, tags or branches."
        ) from error
    # The other errors of huggingface_hub and the HTTP library below it have no common root.
    except Exception as error:
        raise ModelError(
            f"{file} of {SCHEME}{repo}@{revision} cannot be fetched ({first_line(error)}). "
            "Try again later, or name a model folder of this machine."
        ) from error
