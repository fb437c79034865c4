"""The page on robustness, written from measured rows alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ser_core.training.export import current_commit
from ser_core.training.records import describe_machine, write_text
from ser_core.training.report import markdown_table
from ser_core.training.robustness.measure import MOST_CLIPS, Row

DOCUMENT, RECORD = "robustness.md", "robustness.json"
UNHEARD = "speech.json"
"""What `train-detector` writes, where it has been run."""
_COUNTS = ("clips",)
_ERRORS = ("ECE",)

_INTRODUCTION = """\
# Robustness and trust

Written by `python -m ser_core robustness` at commit {commit}; never by hand. Each shipped
model runs through the serving pipeline on clips of unseen speakers. Every change is applied to the
same {clips} clips of each corpus. UAR is the mean recall, averaged over the corpora. The noise
recordings were also used to augment the training clips, so the noise is known to the models; the
speakers are not.

The speech detector was trained on the same noise and the same readers. The section "Speech or not,
unseen" gives its figures for kinds of noise and readers that were left out of its training
(`python -m ser_core train-detector`).

"""


def write_robustness(rows: Mapping[str, Sequence[Row]], out: Path) -> Path:
    """Write `robustness.md` and `robustness.json`.

    Args:
        rows: What `measure_robustness` gave, by model.
        out: Folder of the documents.

    Returns:
        The document's path.
    """
    commit = current_commit()
    record = {
        "machine": describe_machine(),
        "commit": commit,
        "models": {name: list(r) for name, r in rows.items()},
    }
    write_text(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    text = _INTRODUCTION.format(clips=MOST_CLIPS, commit=commit) + _tables(rows)
    write_text(out / DOCUMENT, text + _unheard(out / UNHEARD))
    return out / DOCUMENT


def _unheard(record: Path) -> str:
    """What the speech detector refuses of what it never heard the like of."""
    if not record.is_file():
        return ""
    refused = json.loads(record.read_text())
    lines = [
        [what, target, f"{100 * refused[name]:.1f}%"]
        for name, what, target in (
            ("noise", "noise of other kinds", "≥ 99% refused"),
            ("librispeech", "calm reading, other readers", "≤ 1% refused"),
            ("test", "test clips", "≤ 1% refused"),
        )
    ]
    table = markdown_table(["check", "target", "refused"], lines)
    return f"\n## Speech or not, unseen\n\n{table}\n"


def _tables(rows: Mapping[str, Sequence[Row]]) -> str:
    models = list(rows)
    checks = {(row["group"], row["check"]): row["target"] for r in rows.values() for row in r}
    found = {(name, row["group"], row["check"]): row for name, r in rows.items() for row in r}
    parts = []
    for group in dict.fromkeys(group for group, _ in checks):
        lines = [
            [check, target, *(_cell(found.get((model, group, check))) for model in models)]
            for (of, check), target in checks.items()
            if of == group
        ]
        heads = ["check", "target", *(f"`{model}`" for model in models)]
        parts.append(f"## {group}\n\n{markdown_table(heads, lines)}")
    met = {name: sum(row["met"] for row in r) for name, r in rows.items()}
    told = "; ".join(f"`{name}` meets {met[name]} of {len(rows[name])}" for name in models)
    return f"{told}.\n\n" + "\n\n".join(parts) + "\n"


def _cell(row: Row | None) -> str:
    if row is None:
        return "not measured"
    told = ", ".join(f"{name} {_figure(name, value)}" for name, value in row["figures"].items())
    return f"{'met' if row['met'] else '**missed**'}: {told}"


def _figure(name: str, value: float) -> str:
    if name in _COUNTS:
        return f"{value:.0f}"
    if name in _ERRORS:
        return f"{value:.3f}"
    return f"{100 * value:.1f}%"
