"""The page about the papers' figures, written from the committed records alone."""

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
from ser_lab.report.plots import DPI
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
"""Protocols whose figures, ours and published, end the page."""
PRINTED, SHARED, UNSEEN = "0.45", "#d99a00", "#3f78c9"
_TEMPLATE, _LESSON, _COPIES = (
    Path(__file__).with_name(name) for name in ("page.md", "lesson.md", "copies.md")
)


@dataclass(frozen=True, slots=True)
class Paper:
    """Published figures of one system.

    Attributes:
        title: The system in a few words.
        accuracies: Printed of one and the same system, shares between 0 and 1; may be empty.
        text: The same, with their context, for a reader.
        epochs: How long it was trained, as far as is known.
        differs: Differences of ours, and why.
        reason: Likely reason where ours lies above or below the paper; may be empty.
    """

    title: str
    accuracies: tuple[float, ...]
    text: str
    epochs: str
    differs: str
    reason: str = ""


_RATE = (
    "One rate, 16 kHz, where the paper mixed 48 and 24.4 kHz, so 113 frames hold the 3.6 s that "
    "its 339 hold at 48 kHz; noise is reduced before the padding, as serving does it, not after."
)
_SCALED = (
    "The paper does not say whether features are scaled; ours are. Layer widths that it leaves "
    "open are our choice."
)
_OPEN = (
    "The paper gives neither the number of MFCC nor layer widths; we use librosa's 20, and 128 and "
    "64."
)

PAPERS: dict[str, Paper] = {
    "lstm": Paper(
        "two LSTM of 64 units over RMS, ZCR and 13 MFCC",
        (0.6975, 0.845, 0.9628),
        "69.75%; another run of the same network 96.28%, its public notebook 84.5%",
        "100 (notebook 340)",
        _RATE,
        "Between the paper's three figures, which are 27 points apart.",
    ),
    "bilstm": Paper(
        "the same, bidirectional and flattened",
        (0.9628,),
        "96.28% (97.83% on development clips)",
        "not stated",
        _RATE,
        "Lower: the paper's figure is identical to the one it gives for another run of the "
        "unidirectional network, and 161 test clips are few.",
    ),
    "mfcc-lstm-no-copies": Paper(
        "LSTM 128 and 64 over the means of 13 MFCC",
        (0.35,),
        "under 35%",
        "not stated",
        "Dropout rates and batch size are our choice.",
    ),
    "mfcc-lstm-copies-after": Paper(
        "the same, with copies of training clips only",
        (),
        "no figure: the paper did not try this",
        "–",
        "The kinds of augmentation are the paper's; their strength is our choice.",
    ),
    "mfcc-lstm-copies-before": Paper(
        "the same, with copies made before the split",
        (0.55,),
        "55%",
        "50, patience 5",
        "The kinds of augmentation are the paper's; their strength is our choice.",
        "Higher: our augmentation may be milder, so a test clip is closer to its copies.",
    ),
    "mfcc-lstm-copies-before-256": Paper(
        "the same with LSTM 256 and 64",
        (0.73,),
        "73%",
        "125 of 200, patience 10",
        "The kinds of augmentation are the paper's; their strength is our choice.",
    ),
    "cnn": Paper(
        "two convolution branches over mel and MFCC means",
        (0.62,),
        "62% (85% on training clips)",
        "not stated",
        _SCALED,
    ),
    "dual-rnn": Paper(
        "two recurrent branches over mel and MFCC means",
        (0.43,),
        "43%",
        "not stated",
        _SCALED,
        "Higher: half of the difference is gone without feature scaling, which the paper may lack.",
    ),
    "svm": Paper(
        "linear SVM over mel and MFCC means",
        (0.38,),
        "38%",
        "–",
        _SCALED,
        "Higher: a linear SVM on features of very different scales, such as mel power and MFCC, "
        "hardly converges, and the paper may not have scaled them.",
    ),
    "hybrid-lstm-plain": Paper(
        "LSTM over the means of 20 MFCC, all emotions",
        (0.67,),
        "67% at loss 1.22",
        "best at 90",
        _OPEN,
        "Lower: two thirds of the clips are from CREMA-D, the hardest corpus, here reconstructed "
        "from mel spectrograms, and SAVEE is missing.",
    ),
    "hybrid-lstm-regularised": Paper(
        "the same with early stopping and L2",
        (),
        "worse than without, no figure",
        "not stated",
        _OPEN,
    ),
}
"""By the name of the recipe."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One system's accuracies, shares between 0 and 1.

    Attributes:
        name: The system.
        printed: What its papers print.
        shared: Ours, speakers shared; None where that was not run.
        unseen: Ours, unseen speakers; None where that was not run.
    """

    name: str
    printed: tuple[float, ...]
    shared: float | None
    unseen: float | None


def plot_gaps(gaps: Sequence[Gap], path: Path) -> None:
    """Draw a line for each system, from unseen speakers to shared ones, and the papers' marks.

    Args:
        gaps: The systems, the first on top.
        path: Where the PNG goes.
    """
    figure = Figure(figsize=(8, 1.6 + 0.42 * len(gaps)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(gaps) - 1, -1, -1)
    for row, gap in zip(rows, gaps, strict=True):
        if gap.shared is not None and gap.unseen is not None:
            axes.plot((gap.unseen, gap.shared), (row, row), color="0.8", linewidth=3, zorder=1)
    ours = [(row, gap) for row, gap in zip(rows, gaps, strict=True)]
    printed = [(share, row) for row, gap in ours for share in gap.printed]
    shared = [(gap.shared, row) for row, gap in ours if gap.shared is not None]
    unseen = [(gap.unseen, row) for row, gap in ours if gap.unseen is not None]
    for points, label, colour, marker in (
        (printed, "printed by the papers", PRINTED, "|"),
        (shared, "ours, speakers shared", SHARED, "o"),
        (unseen, "ours, unseen speakers", UNSEEN, "s"),
    ):
        if points:
            x, y = zip(*points, strict=True)
            size = 160 if marker == "|" else 55
            axes.scatter(x, y, size, color=colour, marker=marker, label=label, zorder=2)
    axes.set_yticks(list(rows), [gap.name for gap in gaps])
    axes.set(xlim=(0.0, 1.0), ylim=(-0.7, len(gaps) - 0.3), title="Accuracy on test clips")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, dpi=DPI)


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
    records = f"{Path(os.path.relpath(runs_folder, out)).as_posix()}/{FOLDER}"
    page = _TEMPLATE.read_text(encoding="utf-8").format(
        records=records,
        pictures=PICTURES,
        chart=CHART,
        lesson=_lesson(pairs),
        results=_results(pairs, records),
        not_run=_not_run(pairs),
        corpora=_corpora(pairs),
        copies=_copies(pairs),
        unseen_corpora=_unseen_corpora(pairs),
        differences=_differences(pairs),
        beside=_beside(runs_folder),
    )
    write_text(out / PAGE, page)
    return out / PAGE


def _gap(pair: Pair) -> Gap:
    shared, unseen = (mean_of(runs, "war") if runs else None for runs in (pair.shared, pair.unseen))
    return Gap(pair.name, PAPERS[pair.name].accuracies, shared, unseen)


def _lesson(pairs: Sequence[Pair]) -> str:
    """Return the gap of the first system that was run by both splits, explained."""
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


def _not_run(pairs: Sequence[Pair]) -> str:
    missing = [name for name in PAPERS if name not in {pair.name for pair in pairs}]
    return f"Not run to completion yet: {', '.join(missing)}.\n\n" if missing else ""


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
