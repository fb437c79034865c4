"""What comes along beside the code: models and example clips.

A wheel carries them in this package (see `package-dir` in pyproject.toml); a checkout has them
in its root, where a Space and the people who work on them look.
"""

from pathlib import Path


def bundled(name: str) -> Path:
    """Find a folder that comes along.

    Args:
        name: `model` or `examples`.
    """
    inside = Path(__file__).resolve().parent / name
    return inside if inside.is_dir() else Path(__file__).resolve().parents[2] / name
