"""Report of the reproductions: the papers' figures against ours, from the committed records."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ser_lab.data.protocols import PROTOCOLS
from ser_lab.evaluate.records import write_text
from ser_lab.report.figures import PICTURES, PUBLISHED, markdown_table, percent, read_summaries
from ser_lab.report.plots import save_chart
from ser_lab.reproduce.recipes import PRINTED, RECIPES
from ser_lab.reproduce.record import (
    FOLDER,
    Pair,
    Record,
    find_figures,
    mean_of,
    pair_records,
    read_records,
)

PAGE = "reproduction.md"
CHART, EMOTIONS_CHART = "reproduction.png", "reproduction_emotions.png"
BESIDE_PROTOCOLS = ("ravdess-6fold", "crema-d")
"""Protocols compared with published figures at the end of the page."""
PEOPLE = 0.72
"""Accuracy of people, cited in the paper of `cnn`."""
PAPER, SHARED, UNSEEN = "the paper", "ours, speakers shared", "ours, unseen speakers"
COLOURS = {PAPER: "0.6", SHARED: "#d99a00", UNSEEN: "#3f78c9"}
"""Colours of bars by what they show."""
_HERE = Path(__file__).parent


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


@dataclass(frozen=True, slots=True)
class Item:
    """A number, figure or step that a paper prints.

    Attributes:
        system: Name of the recipe.
        item: What it is.
        paper: What the paper has; a number in its notation where `measure` is compared with it.
        measure: Place of our figure in a record, see `find_figures`; may be empty.
        verdict: `same`, `differs` or `cannot`; empty where the figures are compared.
        why: Reason of a difference, or of what cannot be done.
    """

    system: str
    item: str
    paper: str
    measure: str
    verdict: str
    why: str

    @property
    def number(self) -> float:
        """The paper's number; shares between 0 and 1."""
        digits = self.paper.split()[-1].replace(",", "")
        return float(digits.rstrip("%")) / (100 if digits.endswith("%") else 1)

    def notation(self, figure: float) -> str:
        """Return a figure of ours in the paper's notation."""
        digits = self.paper.split()[-1]
        n_decimals = len(digits.rstrip("%").partition(".")[2])
        if digits.endswith("%"):
            return f"{100 * figure:.{n_decimals}f}%"
        return f"{figure:,.{n_decimals}f}"


PAPERS = {
    name: Paper(**paper)
    for name, paper in json.loads((_HERE / "papers.json").read_text(encoding="utf-8")).items()
}
"""Published figures by recipe name."""
ITEMS = tuple(
    Item(*row)
    for row in pd.read_csv(_HERE / "papers.csv", dtype=str, keep_default_na=False).itertuples(
        index=False
    )
)
"""All that the papers print."""


def write_reproduction(runs_folder: Path, out: Path) -> Path | None:
    """Write `reproduction.md` and its charts.

    Args:
        runs_folder: Folder of all run records.
        out: Folder of the page.

    Returns:
        Path of the page; None if there is no record of a reproduction.

    Raises:
        SerError: A record cannot be read.
    """
    every = pair_records(read_records(runs_folder))
    pairs = [pair for pair in every if pair.name in PAPERS]
    if not pairs:
        return None
    plot_models(pairs, out / PICTURES / CHART)
    emotions = _by_emotion(pairs)
    if emotions:
        plot_emotions(emotions, out / PICTURES / EMOTIONS_CHART)
    records = f"{Path(os.path.relpath(runs_folder, out)).as_posix()}/{FOLDER}"
    missing = ", ".join(name for name in PAPERS if name not in {pair.name for pair in pairs})
    page = _template("page").format(
        records=records,
        pictures=PICTURES,
        chart=CHART,
        people=percent(PEOPLE),
        lesson=_lesson(pairs),
        results=_results(pairs, records),
        not_run=f"Not run to completion yet: {missing}.\n\n" if missing else "",
        losses=_losses(pairs),
        emotions=_emotions(emotions),
        corpora=_corpora(pairs),
        copies=_copies(pairs),
        preprocessing=_preprocessing(pairs),
        subsets=_subsets([pair for pair in every if pair.name not in PAPERS]),
        unseen_corpora=_unseen_corpora(pairs),
        differences=_differences(pairs),
        beside=_beside(runs_folder),
        items=_items(pairs),
    )
    write_text(out / PAGE, page)
    return out / PAGE


def plot_models(pairs: Sequence[Pair], path: Path) -> None:
    """Plot accuracy on test clips by system: the papers', and ours with both splits."""
    figure = Figure(figsize=(8, 1.6 + 0.62 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(pairs))[::-1]
    printed = [PAPERS[pair.name].accuracies for pair in pairs]
    bars: dict[str, list[Sequence[float]]] = {
        PAPER: [shares[:1] for shares in printed],
        SHARED: [find_figures(pair.shared, "test.war") for pair in pairs],
        UNSEEN: [find_figures(pair.unseen, "test.war") for pair in pairs],
    }
    for i, (label, shares) in enumerate(bars.items()):
        means = [float(np.mean(values)) if len(values) else np.nan for values in shares]
        spreads = [np.std(values, ddof=1) if len(values) > 1 else 0.0 for values in shares]
        axes.barh(
            rows + 0.27 * (1 - i), means, 0.27, xerr=spreads, label=label, color=COLOURS[label],
            error_kw={"linewidth": 1},
        )  # fmt: skip
    for row, accuracies in zip(rows, printed, strict=True):
        axes.plot(accuracies, [row + 0.27] * len(accuracies), "|", color="0.2", markersize=9)
    axes.axvline(PEOPLE, color="0.3", linestyle=":", label="people, cited by a paper")
    axes.set_yticks(rows, [pair.name for pair in pairs])
    axes.set(xlim=(0.0, 1.0), ylim=(-0.7, len(pairs) - 0.3), title="Accuracy on test clips")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    save_chart(figure, path)


def plot_emotions(panels: Mapping[str, Mapping[str, Mapping[str, float]]], path: Path) -> None:
    """Plot a group of bars for each emotion, a panel below the other.

    Args:
        panels: By title: by label, such as `PAPER`, a share between 0 and 1 for each emotion.
        path: The PNG to write.
    """
    figure = Figure(figsize=(8, 0.4 + 2.4 * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    most = max(len(shares) for bars in panels.values() for shares in bars.values())
    for axes, (title, bars) in zip(rows, panels.items(), strict=True):
        emotions = list(dict.fromkeys(name for shares in bars.values() for name in shares))
        places, width = np.arange(len(emotions)), 0.8 / len(bars)
        for i, (label, shares) in enumerate(bars.items()):
            heights = [shares.get(name, np.nan) for name in emotions]
            offset = width * (i - (len(bars) - 1) / 2)
            colour = COLOURS.get(label, COLOURS[UNSEEN])
            axes.bar(places + offset, heights, width, label=label, color=colour)
        axes.set_xticks(places, emotions)
        axes.set(xlim=(-0.6, most - 0.4), ylim=(0.0, 1.0))
        axes.set_title(title, fontsize="medium")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(axis="y", alpha=0.25)
    handles, labels = rows[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize="small"
    )
    save_chart(figure, path)


def _template(name: str) -> str:
    return (_HERE / f"{name}.md").read_text(encoding="utf-8")


def _lesson(pairs: Sequence[Pair]) -> str:
    """Return the paragraph on the first system that was run with both splits."""
    for pair in pairs:
        if pair.gap is None or pair.like_for_like is None or not PAPERS[pair.name].accuracies:
            continue
        known, strange = (
            f"{_spread(find_figures(runs, 'by_corpus.ravdess.war'))} of "
            f"{runs[0].by_corpus['ravdess']['n_clips']} clips"
            for runs in (pair.shared, pair.unseen)
        )
        return _template("lesson").format(
            name=pair.name,
            title=PAPERS[pair.name].title,
            epochs=_range([run.epochs["run"] for run in pair.runs]),
            paper=percent(max(PAPERS[pair.name].accuracies)),
            shared=percent(mean_of(pair.shared, "war")),
            unseen=percent(mean_of(pair.unseen, "war")),
            points=f"{100 * pair.gap:.0f}",
            known=known,
            strange=strange,
            chance=percent(1 / len(pair.unseen[0].settings["labels"])),
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
        *_both(pair, "test.war"),
        _spread(find_figures(pair.unseen, "test.uar")) or "not run",
        _points(pair.gap),
        _points(pair.like_for_like),
        f"{pair.runs[0].n_parameters:,}",
        _range([run.epochs["run"] for run in pair.runs]),
        paper.epochs,
        _duration(float(np.mean([run.train_s for run in pair.runs]))),
        " and ".join(map(str, dict.fromkeys(seeds))),
    ]


def _both(pair: Pair, place: str) -> list[str]:
    """Return a figure with shared and with unseen speakers, as text."""
    return [
        _spread(find_figures(runs, place)) or ("not recorded" if runs else "not run")
        for runs in (pair.shared, pair.unseen)
    ]


def _losses(pairs: Sequence[Pair]) -> str:
    printed = {i.system: i.paper for i in ITEMS if i.measure == "test.loss"}
    lines = []
    for pair in pairs:
        if not any(run.history for run in pair.runs):
            continue
        line = [pair.name, printed.get(pair.name, "")]
        for place in ("test.loss", "history.val_loss.kept"):
            for runs in (pair.shared, pair.unseen):
                line.append(_loss_spread(find_figures(runs, place)) or "not recorded")
        lines.append(line)
    heads = ["system", "paper", "test, shared", "test, unseen", "development, shared",
             "development, unseen"]  # fmt: skip
    return markdown_table(heads, lines)


def _loss_spread(losses: Sequence[float]) -> str:
    if not losses:
        return ""
    spread = f" ± {np.std(losses, ddof=1):.2f}" if len(losses) > 1 else ""
    return f"{np.mean(losses):.2f}{spread}"


def _by_emotion(pairs: Sequence[Pair]) -> dict[str, dict[str, dict[str, float]]]:
    """Return what `plot_emotions` draws, for the systems whose papers print such figures."""
    panels: dict[str, dict[str, dict[str, float]]] = {}
    by_name = {pair.name: pair for pair in pairs}
    for item in ITEMS:
        if not item.measure.startswith("test.per_emotion.") or item.system not in by_name:
            continue
        _, _, emotion, measure = item.measure.split(".")
        bars = panels.setdefault(
            f"{item.system}: {measure.replace('f1', 'F1')}", {PAPER: {}, SHARED: {}, UNSEEN: {}}
        )
        bars[PAPER][emotion] = item.number
        pair = by_name[item.system]
        for label, runs in ((SHARED, pair.shared), (UNSEEN, pair.unseen)):
            if figures := find_figures(runs, item.measure):
                bars[label][emotion] = float(np.mean(figures))
    return panels


def _emotions(panels: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    if not panels:
        return ""
    lines = [
        [title, emotion, *(percent(bars[k][emotion]) if emotion in bars[k] else "" for k in bars)]
        for title, bars in panels.items()
        for emotion in bars[PAPER]
    ]
    return _template("emotions").format(
        table=markdown_table(["system", "emotion", *COLOURS], lines),
        picture=f"{PICTURES}/{EMOTIONS_CHART}",
    )


def _corpora(pairs: Sequence[Pair]) -> str:
    names = list(dict.fromkeys(name for pair in pairs for r in pair.runs for name in r.by_corpus))
    lines = []
    for pair in pairs:
        for title, runs in (("shared", pair.shared), ("unseen", pair.unseen)):
            if runs:
                cells = [_spread(find_figures(runs, f"by_corpus.{name}.war")) for name in names]
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
        f"{place}_{kind}": text
        for place, pair in (("none", none), ("after", after), ("before", before))
        for kind, text in zip(("shared", "unseen"), _both(pair, "test.war"), strict=True)
    }
    return _template("copies").format(**shares)


def _preprocessing(pairs: Sequence[Pair]) -> str:
    by_name = {pair.name: pair for pair in pairs}
    lines = [
        [family, order, *_both(by_name[name], "test.war"), *_both(by_name[name], "test.uar")]
        for family, printed in PRINTED.items()
        if {family, printed.name} <= set(by_name)
        for order, name in (("serving's", family), ("the paper's", printed.name))
    ]
    if not lines:
        return ""
    heads = ["system", "preprocessing", SHARED, UNSEEN, "UAR, shared", "UAR, unseen"]
    return _template("preprocessing").format(table=markdown_table(heads, lines))


def _subsets(pairs: Sequence[Pair]) -> str:
    if not pairs:
        return ""
    lines = []
    for pair in pairs:
        subset = pair.runs[0].settings.get("subset", {})
        clips = ", ".join(f"{column} {value}" for column, value in subset.items())
        lines.append([pair.name, clips, *_both(pair, "test.war")])
    table = markdown_table(["system", "clips", SHARED, UNSEEN], lines)
    return _template("subsets").format(table=table)


def _unseen_corpora(pairs: Sequence[Pair]) -> str:
    names = list(dict.fromkeys(name for pair in pairs for run in pair.runs for name in run.unseen))
    lines = [
        [pair.name, *(_spread(find_figures(pair.runs, f"unseen.{name}.uar")) for name in names)]
        for pair in pairs
        if any(run.unseen for run in pair.runs)
    ]
    missing = {c for pair in pairs for run in pair.runs for c in run.corpora["unseen_missing"]}
    text = markdown_table(["system", *names], lines) + "\n\n" if lines else ""
    if missing:
        text += (
            f"Not available when these records were made: {', '.join(sorted(missing))}. Once a\n"
            "corpus is in the data folder, the same commands include it on this page.\n\n"
        )
    return text


def _differences(pairs: Sequence[Pair]) -> str:
    lines = []
    for pair in pairs:
        paper, schedule = PAPERS[pair.name], RECIPES[pair.name].schedule
        absent = {corpus for run in pair.runs for corpus in run.corpora["missing"]}
        gone = f"Without {', '.join(sorted(absent))}, which was not available. " if absent else ""
        fewest = min(run.epochs["allowed"] for run in pair.runs)
        if schedule is not None and fewest < schedule.epochs:
            gone += f"Trained for at most {fewest} of {schedule.epochs:,} epochs. "
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


def _items(pairs: Sequence[Pair]) -> str:
    shared: dict[str, Sequence[Record]] = {pair.name: pair.shared for pair in pairs}
    lines = []
    for item in ITEMS:
        figures = find_figures(shared.get(item.system, ()), item.measure) if item.measure else []
        mean = float(np.mean(figures)) if figures else None
        lines.append([item.system, item.item, item.paper, *compare(item, mean)])
    return markdown_table(["system", "item", "paper", "here", "verdict"], lines)


def compare(item: Item, figure: float | None) -> tuple[str, str]:
    """Return our figure as text, and the verdict with its reason.

    Args:
        item: What a paper prints.
        figure: Ours; None where there is none, which is needed only without a stated verdict.
    """
    if item.verdict:
        ours = "" if figure is None else percent(figure)
        return ours, f"{item.verdict}: {item.why}" if item.why else item.verdict
    if figure is None:
        return "", "cannot: no record has it yet"
    ours = item.notation(figure)
    is_bound = item.paper.startswith("under ")
    same = figure < item.number if is_bound else ours == item.paper
    return ours, "same" if same else f"differs: {item.why}"


def _spread(shares: Sequence[float]) -> str:
    """Return the mean ± its standard deviation over seeds; empty without any."""
    if not shares:
        return ""
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
