"""Report of the reproductions: the papers' figures against ours, from the committed records."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ser_lab.data.protocols import PROTOCOLS
from ser_lab.evaluate.records import write_text
from ser_lab.report.figures import PICTURES, PUBLISHED, markdown_table, percent, read_summaries
from ser_lab.report.plots import save_chart
from ser_lab.reproduce.record import (
    FOLDER,
    Pair,
    Record,
    mean_of,
    pair_records,
    read_records,
    share_of,
)

PAGE = "reproduction.md"
CHART = "reproduction.png"
BESIDE_PROTOCOLS = ("ravdess-6fold", "crema-d")
"""Protocols compared with published figures at the end of the page."""
PRINTED, SHARED, UNSEEN = "0.45", "#d99a00", "#3f78c9"
_TEMPLATE, _LESSON, _COPIES = (
    Path(__file__).with_name(name) for name in ("page.md", "lesson.md", "copies.md")
)


@dataclass(frozen=True, slots=True)
class Paper:
    """Published figures of one system.

    Attributes:
        title: The system in a few words.
        accuracies: All accuracies printed for this system, between 0 and 1; may be empty.
        text: The same as text, with their context.
        epochs: Number of training epochs, as far as is known.
        differs: Differences of the reproduction, with reasons.
        reason: Likely reason for a higher or lower figure of ours; may be empty.
    """

    title: str
    accuracies: Sequence[float]
    text: str
    epochs: str
    differs: str
    reason: str = ""


PAPERS = {
    name: Paper(**paper)
    for name, paper in json.loads(
        Path(__file__).with_name("papers.json").read_text(encoding="utf-8")
    ).items()
}
"""Published figures by recipe name."""


def write_reproduction(runs_folder: Path, out: Path) -> Path | None:
    """Write `reproduction.md` and its chart.

    Args:
        runs_folder: Folder of all run records.
        out: Folder of the page.

    Returns:
        Path of the page; None if there is no record of a reproduction.

    Raises:
        SerError: A record cannot be read.
    """
    pairs = pair_records(read_records(runs_folder))
    if not pairs:
        return None
    _plot_gaps(pairs, out / PICTURES / CHART)
    records = f"{Path(os.path.relpath(runs_folder, out)).as_posix()}/{FOLDER}"
    missing = ", ".join(name for name in PAPERS if name not in {pair.name for pair in pairs})
    page = _TEMPLATE.read_text(encoding="utf-8").format(
        records=records,
        pictures=PICTURES,
        chart=CHART,
        lesson=_lesson(pairs),
        results=_results(pairs, records),
        not_run=f"Not run to completion yet: {missing}.\n\n" if missing else "",
        corpora=_corpora(pairs),
        copies=_copies(pairs),
        unseen_corpora=_unseen_corpora(pairs),
        differences=_differences(pairs),
        beside=_beside(runs_folder),
    )
    write_text(out / PAGE, page)
    return out / PAGE


def _plot_gaps(pairs: Sequence[Pair], path: Path) -> None:
    """Draw a line for each system, from unseen to shared speakers, and the papers' figures."""
    figure = Figure(figsize=(8, 1.6 + 0.42 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(pairs) - 1, -1, -1)
    printed, shared, unseen = [], [], []
    for row, pair in zip(rows, pairs, strict=True):
        printed += [(share, row) for share in PAPERS[pair.name].accuracies]
        shared += [(mean_of(pair.shared, "war"), row)] if pair.shared else []
        unseen += [(mean_of(pair.unseen, "war"), row)] if pair.unseen else []
        if pair.gap is not None:
            axes.plot(
                (unseen[-1][0], shared[-1][0]), (row, row), color="0.8", linewidth=3, zorder=1
            )
    for points, label, colour, marker in (
        (printed, "printed by the papers", PRINTED, "|"),
        (shared, "ours, speakers shared", SHARED, "o"),
        (unseen, "ours, unseen speakers", UNSEEN, "s"),
    ):
        if points:
            x, y = zip(*points, strict=True)
            size = 160 if marker == "|" else 55
            axes.scatter(x, y, size, color=colour, marker=marker, label=label, zorder=2)
    axes.set_yticks(list(rows), [pair.name for pair in pairs])
    axes.set(xlim=(0.0, 1.0), ylim=(-0.7, len(pairs) - 0.3), title="Accuracy on test clips")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    save_chart(figure, path)


def _lesson(pairs: Sequence[Pair]) -> str:
    """Return the paragraph on the first system that was run with both splits."""
    for pair in pairs:
        on_ravdess = [share_of(runs, "ravdess") for runs in (pair.shared, pair.unseen)]
        if pair.gap is None or None in on_ravdess or not PAPERS[pair.name].accuracies:
            continue
        first = pair.unseen[0]
        known, strange = (
            f"{percent(share)} of {runs[0].by_corpus['ravdess']['n_clips']} clips"
            for share, runs in zip(on_ravdess, (pair.shared, pair.unseen), strict=True)
            if share is not None
        )
        return _LESSON.read_text(encoding="utf-8").format(
            name=pair.name,
            title=PAPERS[pair.name].title,
            epochs=_range([run.epochs["run"] for run in pair.runs]),
            paper=percent(max(PAPERS[pair.name].accuracies)),
            shared=percent(mean_of(pair.shared, "war")),
            unseen=percent(mean_of(pair.unseen, "war")),
            points=f"{100 * pair.gap:.0f}",
            known=known,
            strange=strange,
            chance=percent(1 / len(first.settings["labels"])),
        )
    return ""


def _results(pairs: Sequence[Pair], records: str) -> str:
    heads = [
        "system", "paper", "ours, speakers shared", "ours, unseen speakers", "unseen, UAR",
        "gap in points", "gap on RAVDESS", "parameters", "epochs", "paper's epochs", "training",
        "seeds",
    ]  # fmt: skip
    return markdown_table(heads, [_line(pair, records) for pair in pairs])


def _line(pair: Pair, records: str) -> list[str]:
    paper = PAPERS[pair.name]
    seeds = [len(runs) for runs in (pair.shared, pair.unseen)]
    return [
        f"[{pair.name}]({records}/{pair.name}): {paper.title}",
        paper.text,
        _spread(pair.shared, "war"),
        _spread(pair.unseen, "war"),
        _spread(pair.unseen, "uar"),
        _points(pair.gap),
        _points(pair.like_for_like),
        f"{pair.runs[0].n_parameters:,}",
        _range([run.epochs["run"] for run in pair.runs]),
        paper.epochs,
        _duration(float(np.mean([run.train_s for run in pair.runs]))),
        " and ".join(map(str, dict.fromkeys(seeds))),
    ]


def _corpora(pairs: Sequence[Pair]) -> str:
    names = list(dict.fromkeys(name for pair in pairs for r in pair.runs for name in r.by_corpus))
    lines = []
    for pair in pairs:
        for title, runs in (("shared", pair.shared), ("unseen", pair.unseen)):
            if runs:
                shares = [share_of(runs, name) for name in names]
                cells = ["" if share is None else percent(share) for share in shares]
                lines.append([pair.name, title, *cells])
    return markdown_table(["system", "speakers", *names], lines)


def _copies(pairs: Sequence[Pair]) -> str:
    by_name = {pair.name: pair for pair in pairs}
    none, after, before = (
        by_name.get(f"mfcc-lstm-{variant}")
        for variant in ("no-copies", "copies-after", "copies-before")
    )
    if not (none and after and before) or any(p.gap is None for p in (none, after, before)):
        return ""
    shares = {
        f"{place}_{kind}": percent(mean_of(runs, "war"))
        for place, pair in (("none", none), ("after", after), ("before", before))
        for kind, runs in (("shared", pair.shared), ("unseen", pair.unseen))
    }
    return _COPIES.read_text(encoding="utf-8").format(**shares)


def _unseen_corpora(pairs: Sequence[Pair]) -> str:
    lines = [
        [pair.name, corpus, percent(float(np.mean([run.unseen[corpus]["uar"] for run in runs])))]
        for pair in pairs
        for corpus in dict.fromkeys(name for run in pair.runs for name in run.unseen)
        if (runs := [run for run in pair.runs if corpus in run.unseen])
    ]
    missing = {c for pair in pairs for run in pair.runs for c in run.corpora["unseen_missing"]}
    text = markdown_table(["system", "corpus", "UAR"], lines) + "\n\n" if lines else ""
    if missing:
        text += (
            f"Not available when these records were made: {', '.join(sorted(missing))}. Once the\n"
            "corpus is in the data folder, the same commands include it on this page.\n\n"
        )
    return text


def _differences(pairs: Sequence[Pair]) -> str:
    lines = []
    for pair in pairs:
        paper = PAPERS[pair.name]
        absent = {corpus for run in pair.runs for corpus in run.corpora["missing"]}
        gone = f"Without {', '.join(sorted(absent))}, which was not available. " if absent else ""
        lines.append([pair.name, f"{gone}{paper.differs}", paper.reason])
    return markdown_table(["system", "difference", "compared with the paper"], lines)


def _beside(runs_folder: Path) -> str:
    lines = []
    for protocol in BESIDE_PROTOCOLS:
        tested = PROTOCOLS[protocol].title
        ours = [
            (s["uar"]["mean"], [f"**{s['recipe']}**", tested, percent(s["uar"]["mean"]), "ours"])
            for s in read_summaries(runs_folder / protocol)
        ]
        theirs = [
            (a.value, [a.system, tested, percent(a.value), a.source])
            for a in PUBLISHED
            if a.protocol == protocol
        ]
        lines += [line for _, line in sorted([*ours, *theirs], key=lambda pair: -pair[0])]
    return markdown_table(["system", "tested on", "UAR", "source"], lines)


def _spread(runs: Sequence[Record], figure: str) -> str:
    if not runs:
        return "not run"
    shares = [run.test[figure] for run in runs]
    if len(shares) == 1:
        return percent(shares[0])
    return f"{100 * np.mean(shares):.1f} ± {100 * np.std(shares, ddof=1):.1f}%"


def _points(gap: float | None) -> str:
    return "" if gap is None else f"{100 * gap:.1f}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return "–" if not high else str(low) if low == high else f"{low} to {high}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
