"""The report: our figures beside published ones, written from the committed records alone."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_core.errors import SerError
from ser_lab.data.protocols import PROTOCOLS, Protocol
from ser_lab.evaluate.enrolment import N_DRAWS, measure_enrolment, read_seed
from ser_lab.evaluate.records import read_json, write_text
from ser_lab.evaluate.runs import SUMMARY
from ser_lab.report.plots import System, plot_calibration, plot_confusion, plot_systems


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A published figure.

    Attributes:
        protocol: Name of the protocol that it stands beside.
        system: What was measured, with its parameters where known.
        value: The figure, a share between 0 and 1.
        source: Who published it, and what differs from the protocol.
    """

    protocol: str
    system: str
    value: float
    source: str


_EMOBOX = "Ma et al. 2024, EmoBox"
_RESLSTM = "Krasnoproshin and Vashkevich 2026, ResLSTM-SA"
_LISTENERS = "Livingstone and Russo 2018, RAVDESS; approximate"
_CNN14 = "Luna-Jiménez et al. 2021"
_XLSR = "Luna-Jiménez et al. 2022"
_TUNED = "published, fine-tuned with augmentation"
_VOTES = "Cao et al. 2014, CREMA-D"
_SPEAKERS_SHARED = "speakers shared"
_OWN_FOLDS = "other folds of actors"

PUBLISHED: tuple[PublishedFigure, ...] = (
    PublishedFigure("ravdess-6fold", "human listeners, audio only", 0.60, _LISTENERS),
    PublishedFigure("ravdess-6fold", "wav2vec2-base, frozen (95 M)", 0.543, _EMOBOX),
    PublishedFigure("ravdess-6fold", "HuBERT-base, frozen (95 M)", 0.654, _EMOBOX),
    PublishedFigure("ravdess-6fold", "HuBERT-large, frozen (317 M)", 0.700, _EMOBOX),
    PublishedFigure("ravdess-6fold", "WavLM-large, frozen (317 M)", 0.720, _EMOBOX),
    PublishedFigure("ravdess-6fold", "Whisper-large-v3, frozen (1,550 M)", 0.753, _EMOBOX),
    PublishedFigure("ravdess-6fold", "CNN14, fine-tuned (81 M)", 0.766, f"{_CNN14}; {_OWN_FOLDS}"),
    PublishedFigure("ravdess-6fold", "XLSR, fine-tuned (317 M)", 0.818, f"{_XLSR}; {_OWN_FOLDS}"),
    PublishedFigure(
        "ravdess-6fold", "wav2vec2, fine-tuned (317 M)", 0.823, f"{_TUNED}; {_OWN_FOLDS}"
    ),
    PublishedFigure("ravdess-5fold", "human listeners, audio only", 0.60, _LISTENERS),
    PublishedFigure("ravdess-5fold", "attention LSTM, from scratch (0.09 M)", 0.583, _RESLSTM),
    PublishedFigure(
        "ravdess-5fold", "ResLSTM-SA, from scratch (0.05 M)", 0.623, f"{_RESLSTM}; ± 1.2"
    ),
    PublishedFigure("ravdess-5fold", "CNN14, fine-tuned (81 M)", 0.766, _CNN14),
    PublishedFigure("ravdess-5fold", "XLSR, fine-tuned (317 M)", 0.818, _XLSR),
    PublishedFigure("crema-d", "one listener, audio only", 0.400, _VOTES),
    PublishedFigure("crema-d", "majority of listeners, audio only", 0.446, _VOTES),
    PublishedFigure(
        "crema-d", "wav2vec2-base, frozen (95 M)", 0.620, f"{_EMOBOX}; {_SPEAKERS_SHARED}"
    ),
    PublishedFigure(
        "crema-d", "WavLM-large, frozen (317 M)", 0.745, f"{_EMOBOX}; {_SPEAKERS_SHARED}"
    ),
    PublishedFigure(
        "crema-d", "Whisper-large-v3, frozen (1,550 M)", 0.768, f"{_EMOBOX}; {_SPEAKERS_SHARED}"
    ),
    PublishedFigure(
        "cross-corpus", "Whisper-large-v3, SAVEE → RAVDESS", 0.496, f"{_EMOBOX}; its best"
    ),
    PublishedFigure(
        "cross-corpus", "Whisper-large-v3, RAVDESS → SAVEE", 0.669, f"{_EMOBOX}; its best"
    ),
    PublishedFigure("random-split", "two LSTM of 64 units", 0.6975, "the first paper of five"),
    PublishedFigure(
        "random-split", "the same net, the public notebook", 0.845, "its printed 136 of 161"
    ),
    PublishedFigure(
        "random-split", "the same net, the report", 0.9628, "the report on the notebook"
    ),
)
"""Published figures by protocol; those beside `random-split` are accuracies, all others UAR."""


REPORT = "figures.md"
PICTURES = "figures"
TAUGHT_ON = ("ravdess-6fold", "crema-d")
"""Protocols whose test speakers say something neutral and are a corpus of their own."""

Summary = dict[str, Any]

_INTRODUCTION = """\
# Figures

Written by `python -m ser_core report` from the run records in [{runs}]({runs}); never by hand.
UAR is the mean of the per-emotion recalls, WAR the share of correct clips, ECE the
expected calibration error over 15 bins. Rows in bold are ours: the mean over seeds ± its standard
deviation, and the 95% bootstrap interval of that mean over clips. Unless a section says otherwise,
no speaker of a test clip was used for training, tuning or calibration.

Reproduce a row with `python -m ser_core evaluate PROTOCOL --recipe SYSTEM --seeds N`, and a row of
a `-shipped` model with `python -m ser_core evaluate PROTOCOL --model FOLDER`.
"""
_SHARED = (
    "**Speakers shared:** the test voices were also trained on, so this says nothing about new "
    "speakers. It is listed for comparison with the papers that measured it this way."
)
_VOICES = """\
## Voice profiles

The page can adapt to one speaker's voice. Here each test speaker's profile is built from half of
their neutral clips and then corrected on randomly chosen clips; clips used for the profile are
never scored. UAR without and with the profile, over {draws} random draws of one seed's out-of-fold
answers.
"""
_MEAN_OF_FOLDS = " Each figure is the mean over the tested corpora."


def write_report(runs_folder: Path, out: Path) -> Path:
    """Write `figures.md` and its pictures.

    Args:
        runs_folder: Folder of all records.
        out: Folder that the report goes to.

    Returns:
        The report's path.

    Raises:
        SerError: There is no record.
    """
    sections = [
        _section(protocol, summaries, out=out, runs=_relative(runs_folder, out))
        for protocol in PROTOCOLS.values()
        if (summaries := read_summaries(runs_folder / protocol.id))
    ]
    if not sections:
        raise SerError(
            f"{runs_folder} contains no summary of a run. Make one with "
            '"python -m ser_core evaluate PROTOCOL --recipe NAME".'
        )
    head = _INTRODUCTION.format(runs=_relative(runs_folder, out))
    write_text(out / REPORT, "\n".join([head, *sections, *_voices(runs_folder)]))
    return out / REPORT


def _voices(runs_folder: Path) -> Iterator[str]:
    """What a taught voice brings, where a protocol tests one corpus speaker by speaker."""
    lines = [
        [
            f"`{protocol}`",
            folder.name,
            str(gain.n_corrections),
            percent(gain.before),
            f"{100 * gain.gain:+.1f} ± {100 * gain.spread:.1f}",
        ]
        for protocol in TAUGHT_ON
        for folder in sorted((runs_folder / protocol).glob("*/"))
        if (records := read_seed(folder))
        for gain in measure_enrolment(records)
    ]
    if lines:
        heads = ["protocol", "system", "corrections", "UAR without", "gain in points"]
        yield "\n".join([_VOICES.format(draws=N_DRAWS), markdown_table(heads, lines)]) + "\n"


def read_summaries(folder: Path) -> list[Summary]:
    """Summaries of all recipes in one protocol, by name.

    Raises:
        SerError: One cannot be read.
    """
    return [read_json(path) for path in sorted(folder.glob(f"*/{SUMMARY}"))]


def _relative(folder: Path, start: Path) -> str:
    return Path(os.path.relpath(folder, start)).as_posix()


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
        _systems_table(protocol, summaries, runs),
        *(_listeners(s) for s in summaries if "listeners" in s),
        "Recall of each emotion:",
        _shares_table(recalls),
        *([f"{figure.upper()} of each part:", _shares_table(parts)] if any(parts.values()) else []),
        *(f"![{title}]({PICTURES}/{name})" for name, title in _draw(protocol, summaries, out)),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _draw(protocol: Protocol, summaries: Sequence[Summary], out: Path) -> Iterator[tuple[str, str]]:
    """Draw the pictures of a section; give the file name and title of each."""
    folder, figure = out / PICTURES, protocol.figure
    folder.mkdir(parents=True, exist_ok=True)
    systems = [
        System(s["recipe"], s[figure]["mean"], tuple(s[figure]["interval"]), ours=True)
        for s in summaries
    ] + [System(a.system, a.value) for a in PUBLISHED if a.protocol == protocol.id]
    shared = ", speakers shared" if protocol.speakers_shared else ""
    title = f"{figure.upper()} in {protocol.id}{shared}"
    plot_systems(systems, title, folder / f"{protocol.id}.png")
    yield f"{protocol.id}.png", title
    curves = {s["recipe"]: s["calibration"] for s in summaries}
    title = f"Calibration in {protocol.id}{shared}"
    plot_calibration(curves, title, folder / f"{protocol.id}_calibration.png")
    yield f"{protocol.id}_calibration.png", title
    for s in summaries:
        name = f"{protocol.id}_{s['recipe']}.png"
        title = f"Confusions of {s['recipe']} in {protocol.id}{shared}"
        plot_confusion(s["confusion"], s["classes"], title, folder / name)
        yield name, title


def _systems_table(protocol: Protocol, summaries: Sequence[Summary], runs: str) -> str:
    ours = [
        (summary[protocol.figure]["mean"], _our_line(summary, f"{runs}/{protocol.id}"))
        for summary in summaries
    ]
    theirs = [
        (anchor.value, _their_line(protocol, anchor))
        for anchor in PUBLISHED
        if anchor.protocol == protocol.id
    ]
    ranked = sorted([*ours, *theirs], key=lambda line: -line[0])
    heads = ["system", "UAR", "95%", "WAR", "95%", "ECE", "source"]
    return markdown_table(heads, [cells for _, cells in ranked])


def _our_line(summary: Summary, records: str) -> list[str]:
    name, seeds = summary["recipe"], len(summary["seeds"])
    clips = f"{summary['n_clips']:,} clips of {summary['n_speakers']} speakers"
    source = f"[{seeds} seed{'s' if seeds > 1 else ''}]({records}/{name}), {clips}"
    uar, war, ece = summary["uar"], summary["war"], summary["ece"]
    shares = [f"**{_spread(uar)}**", _interval(uar), _spread(war), _interval(war)]
    return [f"**{name}**", *shares, f"{ece['mean']:.3f}", source]


def _their_line(protocol: Protocol, anchor: PublishedFigure) -> list[str]:
    value = percent(anchor.value)
    uar, war = (value, "") if protocol.figure == "uar" else ("", value)
    return [anchor.system, uar, "", war, "", "", anchor.source]


def _listeners(summary: Summary) -> str:
    heard = summary["listeners"]
    return (
        f"Against the listeners' majority vote instead of the acted emotion, {summary['recipe']} "
        f"has a UAR of {_spread(heard)} on the {heard['n_clips']:,} clips with a clear majority."
    )


def _shares_table(shares: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each system, a column for each name that any of them has."""
    names = list(dict.fromkeys(name for row in shares.values() for name in row))
    lines = [
        [system, *(percent(row[name]) if name in row else "" for name in names)]
        for system, row in shares.items()
    ]
    return markdown_table(["system", *names], lines)


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table as Markdown."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def percent(share: float) -> str:
    """A share between 0 and 1 as text, such as 61.8%."""
    return f"{100 * share:.1f}%"


def _spread(figure: Summary) -> str:
    if figure["sd"] is None:
        return percent(figure["mean"])
    return f"{100 * figure['mean']:.1f} ± {100 * figure['sd']:.1f}%"


def _interval(figure: Summary) -> str:
    low, high = figure["interval"]
    return f"{100 * low:.1f} to {100 * high:.1f}"
