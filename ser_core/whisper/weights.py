"""Whisper's weights: found on this machine or downloaded from the Hub, and verified.

They are not part of this project. Downloads lie in huggingface_hub's cache, which all programs
that use it share.
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
"""Environment variable with the path of the weights, or of their folder."""
HUB_TIMEOUT_S = 5.0
"""Time limit of the first request to the Hub, including the look-up of its name."""
PREFIX = "model.encoder."
"""Prefix of the encoder's tensors in the Hub's file."""

Tensors = Mapping[str, npt.NDArray[np.float32]]


class OfflineError(ModelError):
    """The encoder is not on this machine, and the Hub cannot be reached."""


def find_encoder(config: EncoderConfig) -> Path | None:
    """Find the weights on this machine: at `MOODMIRROR_ENCODER`, or in the cache.

    Returns:
        The file; None where there is none.

    Raises:
        ModelError: `MOODMIRROR_ENCODER` names no existing file.
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
    """Find the weights on this machine, or download them from the Hub.

    Raises:
        OfflineError: They are not on this machine and the Hub did not answer within
            `HUB_TIMEOUT_S`, or `HF_HUB_OFFLINE` is set.
        ModelError: The Hub answered, but the file cannot be downloaded.
    """
    found = find_encoder(config)
    if found is not None:
        return found
    from huggingface_hub import hf_hub_download

    _check_hub(config)
    try:
        return Path(
            hf_hub_download(config.repo, config.file, revision=config.revision, token=False)
        )
    # The errors of huggingface_hub and the HTTP library below it have no common root.
    except Exception as error:
        raise _failure(config, error) from error


def _check_hub(config: EncoderConfig) -> None:
    """Request the file's size once, in a thread, because looking up a name has no timeout."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    url = hf_hub_url(config.repo, config.file, revision=config.revision)
    outcome: Exception | None = TimeoutError(f"no answer within {HUB_TIMEOUT_S:g} s")

    def request() -> None:
        nonlocal outcome
        try:
            get_hf_file_metadata(url, token=False, timeout=HUB_TIMEOUT_S)
            outcome = None
        except Exception as error:
            outcome = error

    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT_S)
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
    """Return the start of an error's message without control marks, or its type without one."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "".join(c if c.isprintable() else "�" for c in line[:300])


def read_tensors(path: Path, config: EncoderConfig) -> Tensors:
    """Read and verify the encoder's tensors.

    Args:
        path: The Hub's file, whole or the encoder alone, in float32 or float16.
        config: The expected weights.

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
            f"{path} cannot be read as weights: {first_line(error)}. "
            "Delete it and download it again."
        ) from error
    if tensors_sha256(tensors) != config.tensors_sha256:
        raise ModelError(
            f"{path} is not the encoder of {config.repo}: its hash differs. "
            f"Delete it and download {config.file} of that repository again."
        )
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def tensors_sha256(tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the SHA-256 over names and float16 values, in the order of the names.

    Whisper's values are exact in float16, so that copies in either precision have the same hash.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name], dtype="<f2").tobytes())
    return digest.hexdigest()
