"""The page on robustness, written from measured checks."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ser_lab.evaluate.records import describe_machine, write_text
from ser_lab.report.figures import markdown_table
from ser_lab.robustness.measure import MOST_CLIPS, Check
from ser_lab.train.export import current_commit

PAGE, RECORD = "robustness.md", "robustness.json"
DETECTOR_RECORD = "speech.json"
"""Rejection rates as `train-detector` writes them."""
_TEMPLATE = Path(__file__).with_name("page.md")
_DETECTOR_CHECKS = (
    ("noise", "noise of other kinds", "≥ 99% refused"),
    ("librispeech", "calm reading, other readers", "≤ 1% refused"),
    ("test", "test clips", "≤ 1% refused"),
)


def write_robustness(checks: Mapping[str, Sequence[Check]], out: Path) -> Path:
    """Write `robustness.md` and `robustness.json`.

    Args:
        checks: As `measure_robustness` gives them, by model.
        out: Folder of the documents.

    Returns:
        The path of the page.
    """
    record = {"machine": describe_machine(), "commit": current_commit(), "models": dict(checks)}
    write_text(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    rates = out / DETECTOR_RECORD
    detector = json.loads(rates.read_text(encoding="utf-8")) if rates.is_file() else {}
    write_text(out / PAGE, render_page(record, detector))
    return out / PAGE


def render_page(record: Mapping[str, Any], detector: Mapping[str, float]) -> str:
    """Return the page as Markdown.

    Args:
        record: The content of `robustness.json`.
        detector: The content of `speech.json`; without it, the page has no section on it.
    """
    models = record["models"]
    targets = {(c["group"], c["check"]): c["target"] for checks in models.values() for c in checks}
    found = {(m, c["group"], c["check"]): c for m, checks in models.items() for c in checks}
    sections = []
    for group in dict.fromkeys(group for group, _ in targets):
        lines = [
            [check, target, *(_cell(found.get((model, group, check))) for model in models)]
            for (of, check), target in targets.items()
            if of == group
        ]
        heads = ["check", "target", *(f"`{model}`" for model in models)]
        sections.append(f"## {group}\n\n{markdown_table(heads, lines)}\n")
    if detector:
        lines = [[n, target, f"{detector[key]:.1%}"] for key, n, target in _DETECTOR_CHECKS]
        table = markdown_table(["check", "target", "refused"], lines)
        sections.append(f"## Speech or not, unseen\n\n{table}\n")
    met = "; ".join(
        f"`{model}` meets {sum(check['met'] for check in checks)} of {len(checks)}"
        for model, checks in models.items()
    )
    return _TEMPLATE.read_text(encoding="utf-8").format(
        commit=record["commit"], clips=MOST_CLIPS, met=met, sections="\n".join(sections)
    )


def _cell(check: Check | None) -> str:
    if check is None:
        return "not measured"
    figures = ", ".join(f"{name} {_figure(name, x)}" for name, x in check["figures"].items())
    return f"{'met' if check['met'] else '**missed**'}: {figures}"


def _figure(name: str, value: float) -> str:
    return {"clips": f"{value:.0f}", "ECE": f"{value:.3f}"}.get(name, f"{value:.1%}")
