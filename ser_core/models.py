"""Which model answers: chosen by `MOODMIRROR_MODEL`, found, fetched and opened."""

import logging
import os
from pathlib import Path

from ser_core.assembly import find_assembly
from ser_core.bundled import bundled
from ser_core.errors import SerError
from ser_core.hub import fetch_encoder, find_encoder
from ser_core.manifest import FILE_NAME, Manifest
from ser_core.model import KERAS
from ser_core.predictor import Predictor
from ser_core.remote import SCHEME, fetch_model

logger = logging.getLogger(__name__)

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


def fetch_parts(choice: str) -> None:
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
