"""The page of an exploration: one HTML file with everything in it."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from ser_core.corpora import CORPORA
from ser_core.labels import BY_NAME
from ser_core.plots import PICTURES
from ser_lab.explore.charts import Chart, ChosenClip, ChosenSet

_HERE = Path(__file__).parent
_CAPTIONS = {
    "waveform": "All on the same amplitude scale.",
    "Fourier spectrum": "Of the whole clip, relative to the strongest band of all these clips.",
    "spectrogram": "Power over time and frequency, relative to the strongest of all these clips.",
    "mel spectrogram": "The same in 80 bands on the mel scale.",
    "MFCC": "13 coefficients, each standardised.",
    "chroma": "Energy of the twelve pitch classes, over all octaves.",
    "pitch": "The fundamental frequency by YIN, where the voice is loud enough.",
    "energy": "RMS of each frame, relative to the loudest frame of all these clips.",
}


_NO_INTENSITIES = '<p class="note">No speaker says a sentence angrily in two intensities.</p>'


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Content of the page.

    Attributes:
        table: Clips with their measures.
        missing: Names of corpora that were not found.
        common: Emotions that every corpus has.
        n_balanced: Clips of the common emotions after reduction to the rarest.
        charts: Charts by section: `counts`, `lengths`, `levels` and `balance`.
        chosen: One clip of each emotion side by side.
        intensities: One emotion in each intensity side by side.
    """

    table: pd.DataFrame
    missing: tuple[str, ...]
    common: tuple[str, ...]
    n_balanced: int
    charts: Mapping[str, tuple[Chart, ...]]
    chosen: tuple[ChosenSet, ...]
    intensities: tuple[ChosenSet, ...]


def render_page(findings: Findings) -> str:
    """Return the page as HTML that needs no other file and no network."""
    return (
        (_HERE / "page.html")
        .read_text(encoding="utf-8")
        .format(
            style=(_HERE / "page.css").read_text(encoding="utf-8"),
            lead=escape(_lead(findings)),
            corpora=_corpora_table(findings.table),
            emotions=_emotions_table(findings.table),
            balance_note=escape(_balance_note(findings)),
            sets="".join(_sets(findings.chosen)),
            intensities="".join(_sets(findings.intensities)) or _NO_INTENSITIES,
            **{section: _charts(charts) for section, charts in findings.charts.items()},
        )
    )


def _lead(findings: Findings) -> str:
    table = findings.table
    hours = table["duration_s"].sum() / 3_600
    sentences = [
        f"{len(table):,} clips of {table['speaker'].nunique():,} speakers in "
        f"{table['corpus'].nunique()} corpora, {hours:.1f} hours.",
        f"They last {_lengths(table)} (minimum, mean, maximum).",
    ]
    if unread := int(table["duration_s"].isna().sum()):
        sentences.append(f"{unread:,} of them could not be read.")
    if findings.missing:
        sentences.append(f"Not found: {', '.join(findings.missing)}.")
    return " ".join(sentences)


def _corpora_table(table: pd.DataFrame) -> str:
    heads = ["corpus", "clips", "speakers", "hours", "length: minimum, mean, maximum", "rate",
             "channels", "median RMS", "median peak", "licence"]  # fmt: skip
    rows = []
    for name, clips in table.groupby("corpus", sort=False):
        medians = clips[["level_dbfs", "peak_dbfs"]].median()
        rows.append([
            str(name),
            f"{len(clips):,}",
            f"{clips['speaker'].nunique()}",
            f"{clips['duration_s'].sum() / 3_600:.2f}",
            _lengths(clips),
            f"{_values(clips['sample_rate_hz'] / 1_000)} kHz",
            _values(clips["n_channels"]),
            _decibels(medians["level_dbfs"]),
            _decibels(medians["peak_dbfs"]),
            CORPORA[str(name)].licence,
        ])  # fmt: skip
    return _table(heads, rows)


def _lengths(clips: pd.DataFrame) -> str:
    """Return minimum, mean and maximum of the lengths of clips."""
    measured = clips["duration_s"].agg(["min", "mean", "max"])
    return f"{', '.join(f'{length_s:.2f}' for length_s in measured)} s"


def _decibels(level: float) -> str:
    return f"{level:.1f} dBFS".replace("-", "−")


def _values(column: "pd.Series[float]") -> str:
    return ", ".join(f"{value:g}" for value in sorted(column.dropna().unique()))


def _emotions_table(table: pd.DataFrame) -> str:
    corpora = list(table["corpus"].unique())
    counts = pd.crosstab(table["emotion"], table["corpus"])[corpora].assign(
        all=lambda c: c.sum(axis=1)
    )
    rows = [
        [f"{emotion.sign} {name}", *(f"{count:,}" for count in counts.loc[name])]
        for name, emotion in BY_NAME.items()
        if name in counts.index
    ]
    return _table(["emotion", *corpora, "all"], rows)


def _balance_note(findings: Findings) -> str:
    if not findings.common:
        return "No emotion is in every corpus, so the corpora cannot be balanced."
    n_common = int(findings.table["emotion"].isin(findings.common).sum())
    return (
        f"Every corpus has {', '.join(findings.common)}. Of {len(findings.table):,} clips "
        f"{n_common:,} are of these, and {findings.n_balanced:,} are left when every emotion is "
        "randomly reduced to the size of the rarest. They are listed in balanced.csv."
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in heads)
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="table" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _charts(charts: Iterable[Chart]) -> str:
    figures = "\n".join(
        f"<figure><figcaption>{escape(chart.title)}</figcaption>"
        f'<div role="img" aria-label="{escape(chart.title)}">{chart.svg}</div></figure>'
        for chart in charts
    )
    return f'<div class="charts">\n{figures}\n</div>'


def _sets(sets: Iterable[ChosenSet]) -> Iterator[str]:
    for i, chosen in enumerate(sets):
        strips = "\n".join(_strip(name, n, chosen.clips) for n, name in enumerate(PICTURES))
        title = f"{chosen.corpus}: {Path(chosen.speaker).name}, “{chosen.statement}”"
        yield (
            f"<details{' open' if i == 0 else ''}><summary>{escape(title)}</summary>\n"
            f"{strips}\n</details>\n"
        )


def _acted(clip: ChosenClip) -> str:
    """Return the emotion of a clip, and its intensity where there is one."""
    intensity = f", {clip.intensity}" if clip.intensity else ""
    return f"{BY_NAME[clip.emotion].sign} {clip.emotion}{escape(intensity)}"


def _strip(name: str, index: int, clips: Sequence[ChosenClip]) -> str:
    tiles = "\n".join(
        f"<figure><figcaption>{_acted(clip)}</figcaption>"
        f'<img alt="{escape(name)} of {escape(clip.name)}, {clip.emotion}" '
        f'src="data:image/png;base64,{b64encode(clip.pictures[index].png).decode()}"></figure>'
        for clip in clips
    )
    return (
        f'<h3>{escape(name[0].upper() + name[1:])}</h3>\n<p class="note">{_CAPTIONS[name]}</p>\n'
        f'<div class="strip" tabindex="0">\n{tiles}\n</div>'
    )
