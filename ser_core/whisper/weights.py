"""Whisper's weights: found on this machine or fetched from the Hub, and proven true.

They are never part of this project. What was fetched lies in huggingface_hub's cache,
shared with every other program that uses it.
"""

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_core.errors import ModelError
from ser_core.whisper.spec import EncoderConfig

ENCODER_VARIABLE = "MOODMIRROR_ENCODER"
"""Environment variable that names a file with the weights, or its folder."""
GIVE_UP_AFTER_S = 5.0
"""How long the Hub has to answer, names, connection and all."""
PREFIX = "model.encoder."
"""What the encoder's tensors begin with in the Hub's file."""

Tensors = Mapping[str, npt.NDArray[np.float32]]


class OfflineError(ModelError):
    """The encoder is not on this machine, and the Hub cannot be reached."""


def find_encoder(config: EncoderConfig) -> Path | None:
    """Look for the weights on this machine: where `MOODMIRROR_ENCODER` says, or in the cache.

    Args:
        config: Which weights.

    Returns:
        The file, None where there is none yet.

    Raises:
        ModelError: `MOODMIRROR_ENCODER` names nothing that is there.
    """
    if configured := os.environ.get(ENCODER_VARIABLE):
        path = Path(configured)
        path = path / config.file if path.is_dir() else path
        if not path.is_file():
            raise ModelError(
                f"{ENCODER_VARIABLE} is {configured}, which is not a file; expected "
                f"{config.file} of {config.repo}. Correct the path, or unset it to use the Hub."
            )
        return path
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(config.repo, config.file, revision=config.revision)
    return Path(cached) if isinstance(cached, str) else None


def fetch_encoder(config: EncoderConfig) -> Path:
    """Find the weights, or fetch them from the Hub.

    Args:
        config: Which weights.

    Returns:
        The file.

    Raises:
        OfflineError: They are not here and the Hub did not answer within
            `GIVE_UP_AFTER_S`, or `HF_HUB_OFFLINE` is set.
        ModelError: The Hub answered and the file could not be had.
    """
    found = find_encoder(config)
    if found is not None:
        return found
    from huggingface_hub import hf_hub_download

    _await_hub(config)
    try:
        return Path(
            hf_hub_download(config.repo, config.file, revision=config.revision, token=False)
        )
    # The errors of huggingface_hub and the HTTP library below it have no common root.
    except Exception as error:
        raise _failure(config, error) from error


def _await_hub(config: EncoderConfig) -> None:
    """Ask the Hub for the file's size, once, and for no longer than `GIVE_UP_AFTER_S`.

    The question is asked in a thread of its own, because looking up a name obeys no
    timeout.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    url = hf_hub_url(config.repo, config.file, revision=config.revision)
    outcomes: list[Exception | None] = []

    def ask() -> None:
        try:
            get_hf_file_metadata(url, token=False, timeout=GIVE_UP_AFTER_S)
            outcomes.append(None)
        except Exception as error:
            outcomes.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(GIVE_UP_AFTER_S)
    outcome = outcomes[0] if outcomes else TimeoutError(f"no answer within {GIVE_UP_AFTER_S:g} s")
    if isinstance(outcome, HfHubHTTPError):
        raise _failure(config, outcome) from outcome
    if outcome is not None:
        raise OfflineError(
            f"{config.file} of {config.repo} is not on this machine, and the Hub cannot be "
            f"reached ({first_line(outcome)}). Connect to the network, or name a copy in "
            f"{ENCODER_VARIABLE}."
        ) from outcome


def _failure(config: EncoderConfig, error: Exception) -> ModelError:
    return ModelError(
        f"{config.file} of {config.repo} cannot be fetched ({first_line(error)}). "
        f"Try again later, or name a copy in {ENCODER_VARIABLE}."
    )


def first_line(error: Exception) -> str:
    """What an error says first, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def read_tensors(path: Path, config: EncoderConfig) -> Tensors:
    """Read the encoder's tensors and check that they are the true ones.

    Args:
        path: The Hub's file, whole or the encoder alone, in float32 or float16.
        config: Says which weights are expected.

    Returns:
        float32 tensors by name, without the prefix `model.encoder.`.

    Raises:
        ModelError: The file cannot be read or holds other weights.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = [name for name in file.keys() if name.startswith(PREFIX)]  # noqa: SIM118
            tensors = {name.removeprefix(PREFIX): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path} cannot be read as weights: {first_line(error)}. Delete it and fetch it again."
        ) from error
    if tensors_sha256(tensors) != config.tensors_sha256:
        raise ModelError(
            f"{path} is not the encoder of {config.repo}: its hash differs. "
            f"Delete it and fetch {config.file} of that repository again."
        )
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def tensors_sha256(tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 over names and float16 values, in the order of the names.

    Whisper's values are exact in float16, so that a copy in either precision gives the
    same hash.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name], dtype="<f2").tobytes())
    return digest.hexdigest()
