"""Benchmarks of speed, load, archives and robust decoding: run by make, not by pytest."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def render(name: str, figures: dict[str, Any], **values: Any) -> str:
    """Fill in the template benchmarks/NAME.md; there `f` stands for the figures."""
    machine = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    template = (ROOT / "benchmarks" / f"{name}.md").read_text(encoding="utf-8")
    return template.format(machine=machine, f=figures, **values)


def table(rows: Iterable[Iterable[str]]) -> str:
    """Return the rows of a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(name: str, figures: dict[str, Any], page: str) -> None:
    """Write docs/NAME.json and docs/NAME.md."""
    (ROOT / "docs" / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    (ROOT / "docs" / f"{name}.md").write_text(page, encoding="utf-8")
