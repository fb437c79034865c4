"""The page about the papers' figures, written from the committed records alone."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ser_core.training.anchors import ANCHORS
from ser_core.training.protocols import PROTOCOLS
from ser_core.training.records import write_text
from ser_core.training.report import PICTURES, markdown_table, percent, read_summaries
from ser_core.training.reproduce.pairs import Pair, mean_of, pair_records, share_of
from ser_core.training.reproduce.papers import PAPERS
from ser_core.training.reproduce.pictures import Gap, plot_gaps
from ser_core.training.reproduce.record import FOLDER, Record, read_records
from ser_core.training.reproduce.words import (
    BESIDE,
    COPIES,
    CORPORA,
    DIFFERENT,
    HOW,
    INTRODUCTION,
    LESSON,
    TABLE,
    UNHEARD,
)

PAGE = "reproduction.md"
CHART = "reproduction.png"
BESIDE_PROTOCOLS = ("ravdess-6fold", "crema-d")
"""Protocols whose figures of ours, and of others, stand at the end of the page."""


def write_reproduction(runs_folder: Path, out: Path) -> Path | None:
    """Write `reproduction.md` and its chart.

    Args:
        runs_folder: Folder of all run records.
        out: Folder that the page goes to.

    Returns:
        The page's path; None where there is no record of a reproduction.

    Raises:
        SerError: A record cannot be read.
    """
    pairs = pair_records(read_records(runs_folder))
    if not pairs:
        return None
    (out / PICTURES).mkdir(parents=True, exist_ok=True)
    plot_gaps([_gap(pair) for pair in pairs], out / PICTURES / CHART)
    runs = Path(os.path.relpath(runs_folder, out)).as_posix()
    parts = [
        INTRODUCTION.format(runs=f"{runs}/{FOLDER}"),
        *_lesson(pairs),
        f"![Accuracy in the papers, and ours with shared and with unseen speakers]"
        f"({PICTURES}/{CHART})\n",
        TABLE,
        _table(pairs, f"{runs}/{FOLDER}") + "\n",
        *_without_record(pairs),
        HOW,
        CORPORA,
        _corpora(pairs) + "\n",
        *_copies(pairs),
        *_unheard(pairs),
        DIFFERENT,
        _differences(pairs) + "\n",
        BESIDE,
        _beside(runs_folder) + "\n",
    ]
    write_text(out / PAGE, "\n".join(parts))
    return out / PAGE


def _gap(pair: Pair) -> Gap:
    shared, unseen = (mean_of(runs, "war") if runs else None for runs in (pair.shared, pair.unseen))
    return Gap(pair.name, PAPERS[pair.name].accuracies, shared, unseen)


def _lesson(pairs: Sequence[Pair]) -> Iterator[str]:
    """The first system's story in its own figures, where both splits were run."""
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
        yield LESSON.format(
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
        return


def _table(pairs: Sequence[Pair], records: str) -> str:
    heads = [
        "system", "paper", "ours, speakers shared", "ours, unseen speakers", "unseen, UAR",
        "gap in points", "gap on RAVDESS", "parameters", "epochs", "paper's epochs", "training",
        "seeds",
    ]  # fmt: skip
    return markdown_table(heads, [_line(pair, records) for pair in pairs])


def _without_record(pairs: Sequence[Pair]) -> Iterator[str]:
    """The recipes that still have to be run."""
    done = {pair.name for pair in pairs}
    if waiting := [name for name in PAPERS if name not in done]:
        yield f"Not run to completion yet: {', '.join(waiting)}.\n"


def _line(pair: Pair, records: str) -> list[str]:
    paper = PAPERS[pair.name]
    seeds = [len(runs) for runs in (pair.shared, pair.unseen)]
    return [
        f"[{pair.name}]({records}/{pair.name}): {paper.title}",
        paper.told,
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
    """Accuracy on each tested corpus, by split."""
    names = list(dict.fromkeys(name for pair in pairs for r in pair.runs for name in r.by_corpus))
    lines = []
    for pair in pairs:
        for title, runs in (("shared", pair.shared), ("unseen", pair.unseen)):
            if runs:
                shares = [share_of(runs, name) for name in names]
                cells = ["" if share is None else percent(share) for share in shares]
                lines.append([pair.name, title, *cells])
    return markdown_table(["system", "speakers", *names], lines)


def _copies(pairs: Sequence[Pair]) -> Iterator[str]:
    """What copies made before the draw do, where that was run."""
    by_name = {pair.name: pair for pair in pairs}
    none, after, before = (
        by_name.get(f"mfcc-lstm-{variant}")
        for variant in ("no-copies", "copies-after", "copies-before")
    )
    if none and after and before and all(p.gap is not None for p in (none, after, before)):
        shares = {
            f"{place}_{kind}": percent(mean_of(runs, "war"))
            for place, pair in (("none", none), ("after", after), ("before", before))
            for kind, runs in (("shared", pair.shared), ("unseen", pair.unseen))
        }
        yield COPIES.format(**shares)


def _unheard(pairs: Sequence[Pair]) -> Iterator[str]:
    """Figures on corpora never learned from, or which of them were missing."""
    lines = [
        [pair.name, corpus, percent(float(np.mean([run.unseen[corpus]["uar"] for run in runs])))]
        for pair in pairs
        for corpus in dict.fromkeys(name for run in pair.runs for name in run.unseen)
        if (runs := [run for run in pair.runs if corpus in run.unseen])
    ]
    missing = {c for pair in pairs for run in pair.runs for c in run.corpora["unseen_missing"]}
    yield UNHEARD
    if lines:
        yield markdown_table(["system", "corpus", "UAR"], lines) + "\n"
    if missing:
        yield (
            f"Not available when these records were made: {', '.join(sorted(missing))}. Once the\n"
            "corpus is in the data folder, the same commands include it on this page.\n"
        )


def _differences(pairs: Sequence[Pair]) -> str:
    lines = []
    for pair in pairs:
        paper = PAPERS[pair.name]
        absent = {corpus for run in pair.runs for corpus in run.corpora["missing"]}
        gone = f"Without {', '.join(sorted(absent))}, which was not available. " if absent else ""
        lines.append([pair.name, f"{gone}{paper.differs}", paper.stands])
    return markdown_table(["system", "difference", "compared with the paper"], lines)


def _beside(runs_folder: Path) -> str:
    """Our models and published anchors, speakers unseen, best first."""
    lines = []
    for protocol in BESIDE_PROTOCOLS:
        tested = PROTOCOLS[protocol].title
        ours = [
            (s["uar"]["mean"], [f"**{s['recipe']}**", tested, percent(s["uar"]["mean"]), "ours"])
            for s in read_summaries(runs_folder / protocol)
        ]
        theirs = [
            (a.value, [a.system, tested, percent(a.value), a.source])
            for a in ANCHORS
            if a.protocol == protocol
        ]
        lines += [line for _, line in sorted([*ours, *theirs], key=lambda pair: -pair[0])]
    return markdown_table(["system", "tested on", "UAR", "source"], lines)


def _spread(runs: Sequence[Record], figure: str) -> str:
    """Mean over seeds, with its deviation over them where there are several."""
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
