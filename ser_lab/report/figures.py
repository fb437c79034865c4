"""The page of figures: ours beside published ones, written from the committed records alone."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ser_core.errors import SerError
from ser_lab.data.protocols import PROTOCOLS, Protocol
from ser_lab.evaluate.adapted import MOST_TESTED, N_CLIPS, measure_adapted
from ser_lab.evaluate.enrolment import N_DRAWS, measure_enrolment
from ser_lab.evaluate.records import INTENSITY, FoldRecord, read_json, write_text
from ser_lab.evaluate.runs import SUMMARY
from ser_lab.report.plots import System, plot_calibration, plot_confusion, plot_systems

REPORT = "figures.md"
PICTURES = "figures"
PROFILED = ("ravdess-6fold", "crema-d")
"""Protocols on one corpus whose test speakers all have neutral clips."""
ADAPTED = ("strangers", "ravdess-6fold")
"""Protocols whose answers are adapted to their speakers, too."""
_SHARED = (
    "**Speakers shared:** the test voices were also trained on, so this says nothing about new "
    "speakers. It is listed for comparison with the papers that measured it this way."
)
_MEAN_OF_FOLDS = " Each figure is the mean over the tested corpora."
_HERE = Path(__file__).parent

Summary = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A published figure.

    Attributes:
        protocol: Name of the protocol that it is compared in.
        system: What was measured, with its parameters where known.
        value: The figure, a share between 0 and 1.
        source: Who published it, and what differs from the protocol.
    """

    protocol: str
    system: str
    value: float
    source: str


PUBLISHED = tuple(
    PublishedFigure(*row) for row in pd.read_csv(_HERE / "published.csv").itertuples(index=False)
)
"""Published figures; those beside `random-split` are accuracies, all others UAR."""


def write_report(runs_folder: Path, out: Path) -> Path:
    """Write `figures.md` and its pictures.

    Args:
        runs_folder: Folder of all records.
        out: Folder of the page.

    Returns:
        The path of the page.

    Raises:
        SerError: There is no record.
    """
    runs = Path(os.path.relpath(runs_folder, out)).as_posix()
    sections = [
        _section(protocol, summaries, out=out, runs=runs)
        for protocol in PROTOCOLS.values()
        if (summaries := read_summaries(runs_folder / protocol.id))
    ]
    if not sections:
        raise SerError(
            f"{runs_folder} contains no summary of a run. Make one with "
            '"python -m ser_core evaluate PROTOCOL --recipe NAME".'
        )
    sections.extend([*_adapted(runs_folder), *_voices(runs_folder), *_intensity(runs_folder)])
    template = (_HERE / "figures.md").read_text(encoding="utf-8")
    write_text(out / REPORT, template.format(runs=runs, sections="\n".join(sections)))
    return out / REPORT


def read_summaries(folder: Path) -> list[Summary]:
    """Return the summaries of all recipes in one protocol, by name.

    Raises:
        SerError: One cannot be read.
    """
    return [read_json(path) for path in sorted(folder.glob(f"*/{SUMMARY}"))]


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table as Markdown."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def percent(share: float) -> str:
    """Return a share between 0 and 1 as text, such as 61.8%."""
    return f"{share:.1%}"


def _section(protocol: Protocol, summaries: Sequence[Summary], *, out: Path, runs: str) -> str:
    figure = protocol.figure
    parts = {
        s["recipe"]: {
            name: part[figure]
            for group in ("by_fold", "by_corpus", "by_sex")
            for name, part in s[group].items()
            if len(s[group]) > 1
        }
        for s in summaries
    }
    recalls = {
        s["recipe"]: {name: row["recall"] for name, row in s["per_emotion"].items()}
        for s in summaries
    }
    paragraphs = [
        f"## `{protocol.id}`",
        f"{protocol.title}.{'' if protocol.pooled else _MEAN_OF_FOLDS}",
        *([_SHARED] if protocol.speakers_shared else []),
        _systems_table(protocol, summaries, f"{runs}/{protocol.id}"),
        *(_listeners(s) for s in summaries if "listeners" in s),
        "Recall of each emotion:",
        _shares_table(recalls),
        *([f"{figure.upper()} of each part:", _shares_table(parts)] if any(parts.values()) else []),
        *(f"![{title}]({PICTURES}/{name})" for name, title in _plot(protocol, summaries, out)),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _systems_table(protocol: Protocol, summaries: Sequence[Summary], records: str) -> str:
    ranked = [(s[protocol.figure]["mean"], _our_line(s, records)) for s in summaries]
    for entry in PUBLISHED:
        if entry.protocol == protocol.id:
            value = percent(entry.value)
            uar, war = (value, "") if protocol.figure == "uar" else ("", value)
            ranked.append((entry.value, [entry.system, uar, "", war, "", "", entry.source]))
    ranked.sort(key=lambda pair: -pair[0])
    heads = ["system", "UAR", "95%", "WAR", "95%", "ECE", "source"]
    return markdown_table(heads, [cells for _, cells in ranked])


def _our_line(summary: Summary, records: str) -> list[str]:
    name, seeds = summary["recipe"], len(summary["seeds"])
    clips = f"{summary['n_clips']:,} clips of {summary['n_speakers']} speakers"
    source = f"[{seeds} seed{'s' if seeds > 1 else ''}]({records}/{name}), {clips}"
    uar, war, ece = summary["uar"], summary["war"], summary["ece"]
    shares = [f"**{_spread(uar)}**", _interval(uar), _spread(war), _interval(war)]
    return [f"**{name}**", *shares, f"{ece['mean']:.3f}", source]


def _spread(figure: Summary) -> str:
    if figure["sd"] is None:
        return percent(figure["mean"])
    return f"{100 * figure['mean']:.1f} ± {100 * figure['sd']:.1f}%"


def _interval(figure: Summary) -> str:
    low, high = figure["interval"]
    return f"{100 * low:.1f} to {100 * high:.1f}"


def _listeners(summary: Summary) -> str:
    agreed = summary["listeners"]
    return (
        f"Against the listeners' majority vote instead of the acted emotion, {summary['recipe']} "
        f"has a UAR of {_spread(agreed)} on the {agreed['n_clips']:,} clips with a clear majority."
    )


def _shares_table(shares: Mapping[str, Mapping[str, float]]) -> str:
    """Return a line for each system, with a column for each name that any of them has."""
    names = list(dict.fromkeys(name for row in shares.values() for name in row))
    lines = [
        [system, *(percent(row[name]) if name in row else "" for name in names)]
        for system, row in shares.items()
    ]
    return markdown_table(["system", *names], lines)


def _plot(protocol: Protocol, summaries: Sequence[Summary], out: Path) -> Iterator[tuple[str, str]]:
    """Plot the charts of a section; yield the file name and title of each."""
    folder, figure = out / PICTURES, protocol.figure
    where = f"{protocol.id}{', speakers shared' if protocol.speakers_shared else ''}"
    systems = [
        System(s["recipe"], s[figure]["mean"], tuple(s[figure]["interval"]), ours=True)
        for s in summaries
    ] + [System(p.system, p.value) for p in PUBLISHED if p.protocol == protocol.id]
    name, title = f"{protocol.id}.png", f"{figure.upper()} in {where}"
    plot_systems(systems, title, folder / name)
    yield name, title
    curves = {s["recipe"]: s["calibration"] for s in summaries}
    name, title = f"{protocol.id}_calibration.png", f"Calibration in {where}"
    plot_calibration(curves, title, folder / name)
    yield name, title
    for s in summaries:
        name, title = f"{protocol.id}_{s['recipe']}.png", f"Confusions of {s['recipe']} in {where}"
        plot_confusion(s["confusion"], s["classes"], title, folder / name)
        yield name, title


def _adapted(runs_folder: Path) -> Iterator[str]:
    """Yield the section on references, if a recipe has records of a first seed."""
    lines = []
    for protocol in ADAPTED:
        for recipe, records in _first_seeds(runs_folder / protocol):
            scores = measure_adapted(records)
            for kind in dict.fromkeys(score.kind for score in scores):
                by_n = [score for score in scores if score.kind == kind]
                shares = [_mean(by_n[0].without), *(_mean(score.uar) for score in by_n)]
                lines.append([f"`{protocol}`", recipe, kind, *map(percent, shares)])
    if lines:
        heads = ["protocol", "system", "the clips", "n = 0", *map(str, N_CLIPS)]
        template = (_HERE / "adapted.md").read_text(encoding="utf-8")
        yield template.format(tested=MOST_TESTED, table=markdown_table(heads, lines))


def _mean(shares: Mapping[str, float]) -> float:
    return sum(shares.values()) / len(shares)


def _first_seeds(folder: Path) -> Iterator[tuple[str, list[FoldRecord]]]:
    """Yield each recipe of a protocol with the records of its first seed."""
    for seed in sorted(folder.glob("*/seed-0")):
        yield seed.parent.name, [FoldRecord.read(path) for path in sorted(seed.glob("*.json"))]


def _voices(runs_folder: Path) -> Iterator[str]:
    """Yield the section on voice profiles, if a recipe has records of a first seed."""
    lines = []
    for protocol in PROFILED:
        for recipe, records in _first_seeds(runs_folder / protocol):
            for gain in measure_enrolment(records):
                points = f"{100 * gain.gain:+.1f} ± {100 * gain.spread:.1f}"
                corrections, before = str(gain.n_corrections), percent(gain.before)
                lines.append([f"`{protocol}`", recipe, corrections, before, points])
    if lines:
        heads = ["protocol", "system", "corrections", "UAR without", "gain in points"]
        template = (_HERE / "voices.md").read_text(encoding="utf-8")
        yield template.format(draws=N_DRAWS, table=markdown_table(heads, lines))


def _intensity(runs_folder: Path) -> Iterator[str]:
    """Yield the section on the intensity of emotions, if there is a record."""
    if not (runs_folder / INTENSITY).exists():
        return
    record = read_json(runs_folder / INTENSITY)
    corpora = record["corpora"]
    heads = ["corpus", "clips", "speakers", "AUC, speakers unseen", "95%", "AUC, corpus unseen"]
    lines = [
        [
            corpus,
            f"{found['n_clips']:,}",
            str(found["n_speakers"]),
            f"{found['auc']:.2f}",
            " to ".join(f"{end:.2f}" for end in found["interval"]),
            f"{found['corpus_unseen']:.2f}",
        ]
        for corpus, found in corpora.items()
    ]
    emotions = sorted({name for found in corpora.values() for name in found["by_emotion"]})
    by_emotion = [
        [corpus, *(f"{of[name]:.2f}" if name in of else "" for name in emotions)]
        for corpus, of in ((corpus, found["by_emotion"]) for corpus, found in corpora.items())
    ]
    steps = [
        f"{name} {auc:.2f}" for found in corpora.values() for name, auc in found["steps"].items()
    ]
    yield (
        (_HERE / "intensity.md")
        .read_text(encoding="utf-8")
        .format(
            n_folds=record["n_folds"],
            table=markdown_table(heads, lines),
            emotions=markdown_table(["corpus", *emotions], by_emotion),
            steps=", ".join(steps),
        )
    )
