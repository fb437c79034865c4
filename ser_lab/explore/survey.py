"""The whole exploration: find, measure, draw, write."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from rich.progress import track

from ser_core.corpora import CORPORA
from ser_core.errors import MissingCorpusError
from ser_core.labels import LABELS
from ser_lab.data.splits import list_clips
from ser_lab.evaluate.records import write_text
from ser_lab.explore.charts import Chart, chart_counts, chart_lengths, chart_spectra, chart_spread
from ser_lab.explore.clips import (
    MEASURES,
    ChosenSet,
    choose_sets,
    common_emotions,
    cut_to_rarest,
    draw_set,
    mean_spectrum,
    measure_clips,
)
from ser_lab.explore.page import Findings, render_page

PAGE = "index.html"
CLIPS_TABLE, BALANCED_TABLE = "clips.csv", "balanced.csv"
CSV_COLUMNS = ("path", "label", "speaker", "sex", "corpus", "intensity", "statement", *MEASURES)
"""Columns of both tables; `clips_from_csv` reads them."""
NOT_TOLD = "unknown"
INTENSITIES = ("low", "medium", "high", "normal", "strong", NOT_TOLD)


def explore(
    data: Path, out: Path, *, corpora: Sequence[str] = (), speakers: Sequence[str] = ()
) -> Path:
    """Write what a data folder holds: a page, its figures, and tables of paths and labels.

    Args:
        data: Folder that holds a folder for each corpus.
        out: Folder that is written: `index.html`, which needs nothing beside it, `figures/`,
            `clips.csv`, and `balanced.csv` with the common emotions cut to the rarest.
        corpora: Names of corpora; where empty, all that are there.
        speakers: Whose clips are shown side by side, as `corpus/speaker`; where empty, the
            first of each corpus whose clips have most emotions.

    Returns:
        The page.

    Raises:
        CorpusError: No corpus is there, one that was named is not, or a speaker has no clip.
    """
    table, missing = _find(data, corpora)
    chosen = choose_sets(table, speakers)
    table = table.join(measure_clips(list(table["path"])))
    common = table[table["emotion"].isin(common_emotions(table))]
    balanced = cut_to_rarest(common)
    findings = Findings(
        table=table,
        missing=missing,
        n_balanced=len(balanced),
        counts=tuple(_count_charts(table)),
        lengths=(
            chart_lengths("lengths", "Length of the clips", table),
            chart_spread("lengths-emotion", "Length by emotion", "s", table, "duration_s"),
        ),
        levels=_level_charts(table),
        balance=(
            _count("balance-all", "All clips", table, "emotion", "corpus"),
            _count("balance-common", "Common emotions", common, "emotion", "corpus"),
            _count("balance-cut", "Cut to the rarest", balanced, "emotion", "corpus"),
        ),
        chosen=tuple(draw_set(rows) for rows in track(chosen, "Drawing clips")),
    )
    _write_tables(out, table, balanced)
    _write_figures(out / "figures", findings)
    write_text(out / PAGE, render_page(findings))
    return out / PAGE


def _find(data: Path, corpora: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The clips that are there, and the corpora that are not."""
    if corpora:
        return list_clips(data, corpora), ()
    found, missing = [], []
    for name in CORPORA:
        try:
            found.append(list_clips(data, [name]))
        except MissingCorpusError:
            missing.append(name)
    if not found:
        raise MissingCorpusError(
            f"{data} contains none of the corpora {', '.join(CORPORA)}. Name the folder that holds "
            "one folder per corpus; docs/corpora.md says where to download them."
        )
    return pd.concat(found, ignore_index=True), tuple(missing)


def _count_charts(table: pd.DataFrame) -> Iterator[Chart]:
    told = table.assign(intensity=table["intensity"].replace("", NOT_TOLD))
    yield _count("emotions", "Clips of each emotion", table, "emotion", "corpus")
    yield _count("corpora", "Clips of each corpus", table, "corpus", "emotion")
    yield _count("sexes", "Sex of the speaker", table, "corpus", "sex")
    yield _count("sexes-emotion", "Sex of the speaker by emotion", table, "emotion", "sex")
    yield _count("intensities", "Intensity", told, "corpus", "intensity")
    yield _count("intensities-emotion", "Intensity by emotion", told, "emotion", "intensity")


def _level_charts(table: pd.DataFrame) -> tuple[Chart, ...]:
    spectra = {
        str(corpus): mean_spectrum(list(rows["path"]))
        for corpus, rows in table.groupby("corpus", sort=False)
    }
    return (
        chart_spread("levels", "Level by emotion", "dBFS, RMS", table, "level_dbfs"),
        chart_spread("peaks", "Peak by emotion", "dBFS", table, "peak_dbfs"),
        chart_spectra("spectra", "Mean spectrum", spectra),
        _count("rates", "Sample rate", _in_khz(table), "corpus", "rate"),
    )


def _count(name: str, title: str, table: pd.DataFrame, rows: str, parts: str) -> Chart:
    return chart_counts(name, title, count_clips(table, rows, parts))


def count_clips(table: pd.DataFrame, rows: str, parts: str) -> pd.DataFrame:
    """Count clips by two columns; emotions and intensities stand in order, all else as it comes.

    Args:
        table: Clips.
        rows: Column that becomes the index.
        parts: Column whose values become the columns.
    """
    counts = pd.crosstab(table[rows], table[parts].rename(None))
    return counts.reindex(index=_in_order(table[rows]), columns=_in_order(table[parts]))


def _in_order(values: "pd.Series[str]") -> list[str]:
    there = values.dropna().unique()
    ordered = [name for name in (*LABELS, *INTENSITIES) if name in there]
    return ordered + [name for name in there if name not in ordered]


def _in_khz(table: pd.DataFrame) -> pd.DataFrame:
    """The clips that could be read, with their rate as a chart names it."""
    read = table.dropna(subset="sample_rate_hz")
    return read.assign(rate=[f"{rate / 1_000:g} kHz" for rate in read["sample_rate_hz"]])


def _write_tables(out: Path, table: pd.DataFrame, balanced: pd.DataFrame) -> None:
    for name, rows in ((CLIPS_TABLE, table), (BALANCED_TABLE, balanced)):
        paths = [path.resolve() for path in rows["path"]]
        told = rows.assign(path=paths).rename(columns={"emotion": "label"})[list(CSV_COLUMNS)]
        write_text(out / name, told.to_csv(index=False, float_format="%.4g"))


def _write_figures(folder: Path, findings: Findings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for chart in findings.charts:
        (folder / f"{chart.name}.png").write_bytes(chart.png)
    for chosen in findings.chosen:
        for path, png in _tiles(folder / f"{chosen.corpus}_{Path(chosen.speaker).name}", chosen):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(png)


def _tiles(folder: Path, chosen: ChosenSet) -> Iterator[tuple[Path, bytes]]:
    for clip in chosen.clips:
        for picture in clip.pictures:
            name = picture.name.replace(" ", "-").lower()
            yield folder / f"{name}_{clip.emotion}.png", picture.png
