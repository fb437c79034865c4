"""The page of an exploration: one HTML file with everything in it."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from ser_core.corpora import CORPORA
from ser_core.labels import BY_NAME
from ser_core.plots import PAPER_PICTURES
from ser_lab.explore.charts import Chart
from ser_lab.explore.clips import ChosenClip, ChosenSet, common_emotions

_STYLE = Path(__file__).with_name("page.css")
_EXPLAINED = {
    "waveform": "All on the same amplitude scale.",
    "Fourier spectrum": "Of the whole clip, relative to its strongest band.",
    "spectrogram": "Energy over time and frequency, relative to the loudest point of each clip.",
    "mel spectrogram": "The same in 80 bands on the mel scale.",
    "MFCC": "13 coefficients, each standardised.",
    "chroma": "Energy of the twelve pitch classes, over all octaves.",
    "pitch": "The fundamental frequency by YIN, where the voice is loud enough.",
    "energy": "RMS of each frame, relative to the loudest frame of all these clips.",
}
_NOTES = {
    "counts": "Properties that a corpus does not state are unknown.",
    "lengths": (
        "A dot is the median, its bar the interquartile range. If corpora differ in "
        "duration, padding all clips to one length reveals their corpus to a network."
    ),
    "levels": (
        "Level, sample rate and spectrum of the files. Differences between corpora come mostly "
        "from recording and storage, and a network trained on several corpora can use them to "
        "recognise the corpus. The pipeline therefore converts every clip to one rate and one "
        "level first. A mean spectrum that falls off below half the sample rate shows an earlier "
        "lower bandwidth; for Opus files, the rate is the one that they decode at."
    ),
    "chosen": (
        "One speaker says one sentence in every emotion, so that only the way of speaking "
        "differs. The time, amplitude and energy axes are the same within a set."
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """All that the page shows.

    Attributes:
        table: Clips with their measures.
        missing: Names of corpora that are not there.
        n_balanced: Clips left of the common emotions, cut to the rarest.
        counts: Charts of how many clips there are.
        lengths: Charts of how long they are.
        levels: Charts of how the files of the corpora differ.
        balance: Charts of how many clips are left.
        chosen: Clips side by side.
    """

    table: pd.DataFrame
    missing: tuple[str, ...]
    n_balanced: int
    counts: tuple[Chart, ...]
    lengths: tuple[Chart, ...]
    levels: tuple[Chart, ...]
    balance: tuple[Chart, ...]
    chosen: tuple[ChosenSet, ...]

    @property
    def charts(self) -> tuple[Chart, ...]:
        """All charts in the order of the page."""
        return self.counts + self.lengths + self.levels + self.balance


def render_page(findings: Findings) -> str:
    """Write the page.

    Args:
        findings: What it shows.

    Returns:
        HTML that needs no other file and no network.
    """
    sections = (
        ("Corpora", [_overview(findings)]),
        ("Clips", [_note(_NOTES["counts"]), _charts(findings.counts), _emotions(findings)]),
        ("Lengths", [_note(_NOTES["lengths"]), _charts(findings.lengths)]),
        ("Level, rate, spectrum", [_note(_NOTES["levels"]), _charts(findings.levels)]),
        ("Balance", [_note(_tell_balance(findings)), _charts(findings.balance)]),
        ("The same sentence in every emotion", [_note(_NOTES["chosen"]), *_sets(findings)]),
    )
    body = "\n".join(
        f"<section>\n<h2>{escape(title)}</h2>\n{''.join(parts)}\n</section>"
        for title, parts in sections
    )
    return _FRAME.format(style=_STYLE.read_text(encoding="utf-8"), lead=_lead(findings), body=body)


_FRAME = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The corpora</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>The corpora</h1>
{lead}
</header>
<main>
{body}
</main>
<footer>Written by <code>python -m ser_core explore</code>. The plots are derived from \
the recordings, whose licences determine who may see them.</footer>
</body>
</html>
"""


def _lead(findings: Findings) -> str:
    table = findings.table
    hours = table["duration_s"].sum() / 3_600
    unread = int(table["duration_s"].isna().sum())
    told = [
        f"{len(table):,} clips of {table['speaker'].nunique():,} speakers in "
        f"{table['corpus'].nunique()} corpora, {hours:.1f} hours.",
        f"{unread:,} of them could not be read." if unread else "",
        f"Not found: {', '.join(findings.missing)}." if findings.missing else "",
    ]
    return _note(" ".join(part for part in told if part))


def _overview(findings: Findings) -> str:
    """A row each corpus: how much there is, and how its files are."""
    heads = ["corpus", "clips", "speakers", "hours", "median length", "rate", "channels",
             "median RMS", "median peak", "licence"]  # fmt: skip
    rows = []
    for name, clips in findings.table.groupby("corpus", sort=False):
        medians = clips[["duration_s", "level_dbfs", "peak_dbfs"]].median()
        rows.append([
            str(name),
            f"{len(clips):,}",
            f"{clips['speaker'].nunique()}",
            f"{clips['duration_s'].sum() / 3_600:.2f}",
            f"{medians['duration_s']:.2f} s",
            _values(clips["sample_rate_hz"] / 1_000, "kHz"),
            _values(clips["n_channels"], ""),
            _decibels(medians["level_dbfs"]),
            _decibels(medians["peak_dbfs"]),
            CORPORA[str(name)].licence,
        ])  # fmt: skip
    return _table(heads, rows)


def _decibels(level: float) -> str:
    return f"{level:.1f} dBFS".replace("-", "−")


def _values(column: "pd.Series[float]", unit: str) -> str:
    values = sorted(column.dropna().unique())
    return f"{', '.join(f'{value:g}' for value in values)} {unit}".strip()


def _emotions(findings: Findings) -> str:
    """Emotions down, corpora across, with sums."""
    table = findings.table
    corpora = list(table["corpus"].unique())
    counts = pd.crosstab(table["emotion"], table["corpus"])
    rows = [
        [f"{emotion.sign} {name}", *(f"{counts.loc[name, c]:,}" for c in corpora),
         f"{counts.loc[name].sum():,}"]
        for name, emotion in BY_NAME.items()
        if name in counts.index
    ]  # fmt: skip
    return _table(["emotion", *corpora, "all"], rows)


def _tell_balance(findings: Findings) -> str:
    common = common_emotions(findings.table)
    if not common:
        return "No emotion is in every corpus, so the corpora cannot be balanced."
    n_common = int(findings.table["emotion"].isin(common).sum())
    return (
        f"Every corpus has {', '.join(common)}. Of {len(findings.table):,} clips "
        f"{n_common:,} are of these, and {findings.n_balanced:,} are left when every emotion is "
        "randomly reduced to the size of the rarest. They are listed in balanced.csv."
    )


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>\n'


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
        f"<tbody>\n{body}\n</tbody></table></div>\n"
    )


def _charts(charts: Iterable[Chart]) -> str:
    figures = "\n".join(
        f"<figure><figcaption>{escape(chart.title)}</figcaption>"
        f'<div role="img" aria-label="{escape(chart.title)}">{chart.svg}</div></figure>'
        for chart in charts
    )
    return f'<div class="charts">\n{figures}\n</div>\n'


def _sets(findings: Findings) -> Iterator[str]:
    for i, chosen in enumerate(findings.chosen):
        strips = "\n".join(
            _strip(picture, n, chosen.clips) for n, picture in enumerate(PAPER_PICTURES)
        )
        told = f"{chosen.corpus}: {Path(chosen.speaker).name}, “{chosen.statement}”"
        yield (
            f"<details{' open' if i == 0 else ''}><summary>{escape(told)}</summary>\n"
            f"{strips}\n</details>\n"
        )


def _strip(picture: str, place: int, clips: Sequence[ChosenClip]) -> str:
    tiles = "\n".join(
        f"<figure><figcaption>{BY_NAME[clip.emotion].sign} {clip.emotion}</figcaption>"
        f'<img alt="{escape(picture)} of {escape(clip.name)}, {clip.emotion}" '
        f'src="data:image/png;base64,{b64encode(clip.pictures[place].png).decode()}"></figure>'
        for clip in clips
    )
    return (
        f"<h3>{escape(picture[0].upper() + picture[1:])}</h3>\n{_note(_EXPLAINED[picture])}"
        f'<div class="strip" tabindex="0">\n{tiles}\n</div>'
    )
