"""Paths and modules named in the documentation exist."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = r"(?:ser_core|ser_lab|benchmarks|tests|tools)"
TOP_FOLDERS = r"(?:ser_core|ser_lab|benchmarks|tests|tools|model|docs|examples)"


def find_unknown(text: str) -> list[str]:
    """Return the repository's paths and dotted names in a text that do not exist."""
    paths = re.findall(rf"(?<![\w./-]){TOP_FOLDERS}/[\w/-]*(?:\.\w+)*", text)
    names = re.findall(rf"(?<![\w./-]){PACKAGES}(?:\.\w+)+", text)
    return [p for p in paths if not (ROOT / p).exists()] + [n for n in names if not is_name(n)]


def is_name(dotted: str) -> bool:
    """Return whether there is a module of this name, or one that defines its last part."""
    path = ROOT / dotted.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module = path.parent.with_suffix(".py")
    definition = rf"^(?:def |class )?{path.name}\b"
    return module.exists() and bool(re.search(definition, module.read_text("utf-8"), re.M))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_modules_exist(page: Path) -> None:
    assert find_unknown(page.read_text(encoding="utf-8")) == []


def test_unknown_paths_and_modules_are_found() -> None:
    text = "`ser_core/features.py`, `ser_core/lost.py`, ser_lab.ship, ser_lab.lost, `docs/`"
    assert find_unknown(text) == ["ser_core/lost.py", "ser_lab.lost"]
