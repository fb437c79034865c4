"""What must be so before anything is pushed: header, versions, sizes, licences."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ser_core.deploy.folder import APP, CARD, EXAMPLES, MODELS
from ser_core.errors import HubError, SerError
from ser_core.manifest import FILE_NAME, Manifest

MAX_BYTES = 100_000_000
"""Far above what serving needs: a bigger folder holds what does not belong there."""
MAX_DESCRIPTION = 60
"""Characters of a Space's `short_description` that the Hub takes."""
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
"""What the Hub takes as `colorFrom` and `colorTo`."""


def check_folder(folder: Path) -> Iterator[str]:
    """Check a folder that is to become a Space.

    Args:
        folder: As it will be pushed.

    Yields:
        A line for each check that passed.

    Raises:
        HubError: After the last check, with all that is wrong.
    """
    failed = []
    for check in (_check_header, _check_versions, _check_size, _check_licences):
        try:
            yield check(folder)
        except SerError as error:
            failed.append(str(error))
    if failed:
        raise HubError(" ".join(failed))


def _check_header(folder: Path) -> str:
    header = read_metadata(folder / CARD)
    rules: dict[str, tuple[str, Callable[[str], bool]]] = {
        "title": ("a name", bool),
        "sdk": ("gradio", lambda value: value == "gradio"),
        "app_file": (APP, lambda value: value == APP),
        "license": ("an identifier of the Hub", bool),
        "colorFrom": (" or ".join(COLOURS), lambda value: value in COLOURS),
        "colorTo": (" or ".join(COLOURS), lambda value: value in COLOURS),
        "short_description": (
            f"at most {MAX_DESCRIPTION} characters",
            lambda value: 0 < len(value) <= MAX_DESCRIPTION,
        ),
    }
    for key, (expected, fits) in rules.items():
        if not fits(str(header.get(key, ""))):
            raise HubError(
                f"The Space header of {CARD} has {key}: {header.get(key)}; expected {expected}."
            )
    return f"header: {header['title']}, {header['short_description']}"


def _check_versions(folder: Path) -> str:
    header = read_metadata(folder / CARD)
    lines = (folder / "requirements.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^gradio==(\S+)", lines, re.MULTILINE)
    if [str(header.get("sdk_version"))] != pinned:
        raise HubError(
            f"The Space header of {CARD} has sdk_version: {header.get('sdk_version')}, and "
            f"requirements.txt pins gradio to {' and '.join(pinned) or 'nothing'}; expected one "
            "version in both."
        )
    return f"versions: Gradio {pinned[0]}, Python {header.get('python_version', 'of the Hub')}"


def _check_size(folder: Path) -> str:
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    largest = max(sizes, key=lambda path: sizes[path])
    told = f"{sum(sizes.values()) / 1e6:.1f} MB, the largest file {sizes[largest] / 1e6:.1f} MB"
    if sum(sizes.values()) > MAX_BYTES:
        raise HubError(
            f"The folder is too large: {told} ({largest.relative_to(folder).as_posix()}); at most "
            f"{MAX_BYTES / 1e6:.0f} MB is allowed. Remove what does not belong there."
        )
    return f"size: {told}"


def _check_licences(folder: Path) -> str:
    for name in ("LICENSE", f"{EXAMPLES}/{CARD}"):
        if not (folder / name).is_file():
            raise HubError(f"{name}, which states the licences, is missing.")
    found = [str(read_metadata(folder / CARD).get("license"))]
    for path in sorted((folder / MODELS).glob(f"*/{FILE_NAME}")):
        check_card(path.parent, Manifest.read(path.parent))
        found.append(f"{path.parent.name} {Manifest.read(path.parent).licence}")
    return f"licences: {', '.join(found)}"


def check_card(folder: Path, manifest: Manifest) -> None:
    """Hold a model's card against its manifest.

    Args:
        folder: A model folder.
        manifest: Its manifest.

    Raises:
        HubError: The card's metadata lack what the Hub sorts by, or name another licence.
    """
    metadata = read_metadata(folder / CARD)
    expected = {"license": manifest.licence.lower(), "pipeline_tag": "audio-classification"}
    for key, value in expected.items():
        if metadata.get(key) != value:
            raise HubError(
                f"The metadata of {folder.name}/{CARD} have {key}: {metadata.get(key)}; "
                f"expected {value}."
            )
    if nameless := [c.get("name") for c in manifest.corpora if not c.get("licence")]:
        raise HubError(f"{folder.name}/{FILE_NAME} gives no licence for the corpora {nameless}.")


def read_metadata(card: Path) -> dict[str, Any]:
    """What stands between the first two lines of dashes of a card.

    Args:
        card: A README.md.

    Raises:
        HubError: There is nothing, or it is no YAML.
    """
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError

    try:
        metadata = metadata_load(card)
    except (OSError, ValueError, YAMLError) as error:
        raise HubError(f"The metadata of {card.name} cannot be read: {error}.") from error
    if not metadata:
        raise HubError(f"{card.name} has no metadata; expected YAML between lines of ---.")
    return metadata
