"""Files held against their hashes."""

import hashlib
from pathlib import Path

from ser_core.errors import ModelError


def check_files(folder: Path, files: dict[str, str]) -> None:
    """Hold files against their hashes.

    Args:
        folder: A folder.
        files: SHA-256 by path in it.

    Raises:
        ModelError: A file is missing or another one.
    """
    for path, expected in files.items():
        if not (folder / path).is_file():
            raise ModelError(f"{folder.name}/{path} is missing. Fetch the whole model again.")
        if sha256_of(folder / path) != expected:
            raise ModelError(
                f"{folder.name}/{path} is not the file that the manifest describes: its "
                "SHA-256 differs. Fetch the whole model again."
            )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
