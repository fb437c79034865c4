"""Explore a folder of corpora: find, measure, balance and choose clips, and write the results."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import librosa
import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile
from rich.progress import track

from ser_core.audio.load import load_audio
from ser_core.config import AudioConfig
from ser_core.corpora import CORPORA
from ser_core.errors import AudioError, CorpusError, MissingCorpusError
from ser_core.labels import LABELS
from ser_core.paths import check_output, lists_its_files, replacing, write_listing
from ser_core.preprocess import dbfs
from ser_lab.data.splits import list_clips
from ser_lab.explore.charts import (
    Chart,
    chart_counts,
    chart_lengths,
    chart_spectra,
    chart_spread,
    draw_set,
)
from ser_lab.explore.page import Findings, render_page

PAGE = "index.html"
MEASURES = ("duration_s", "sample_rate_hz", "n_channels", "level_dbfs", "peak_dbfs")
"""Columns of `measure_clips`."""
CSV_COLUMNS = (
    "path", "label", "speaker", "sex", "corpus", "intensity", "statement",
    "repetition", "modality", "channel", *MEASURES,
)  # fmt: skip
"""Columns of the tables, which `clips_from_csv` reads."""
UNKNOWN = "unknown"
INTENSITIES = ("low", "medium", "high", "normal", "strong", UNKNOWN)
"""Intensities of the corpora, each scale from weak to strong."""
_STRONGEST = ("strong", "high")
SEED = 0
"""Seed of the sample that `cut_to_rarest` takes."""
FRAME_LENGTH = 512
"""Frame of the mean spectrum: bands of 31 Hz at 16 kHz."""
SPECTRUM_CLIPS = 120
"""Clips of a corpus in its mean spectrum, evenly spaced."""

logger = logging.getLogger(__name__)


def explore(
    data: Path, out: Path, *, corpora: Sequence[str] = (), speakers: Sequence[str] = ()
) -> Path:
    """Write a page on a data folder, its figures, and tables of paths and labels.

    Args:
        data: Folder with one folder per corpus.
        out: Output folder: `index.html`, which needs no other file, `figures/`, `clips.csv`, and
            `balanced.csv` with the common emotions reduced to the rarest.
        corpora: Names of corpora; where empty, all that are found.
        speakers: Speakers whose clips are plotted side by side, as `corpus/speaker`; where empty,
            the first of each corpus whose clips have most emotions.

    Returns:
        The path of the page.

    Raises:
        CorpusError: No corpus is found, a named one is missing, or a speaker has no clip.
        OutputError: The output folder cannot be written, or contains something else.
    """
    check_output(out, lists_its_files)
    table, missing = _find(data, corpora)
    chosen, intensities = choose_sets(table, speakers), choose_intensities(table, speakers)
    table = table.join(measure_clips(list(table["path"])))
    emotions = common_emotions(table)
    common = table[table["emotion"].isin(emotions)]
    balanced = cut_to_rarest(common)
    findings = Findings(
        table=table,
        missing=missing,
        common=emotions,
        n_balanced=len(balanced),
        charts={
            "counts": tuple(_count_charts(table)),
            "lengths": (
                chart_lengths("lengths", "Length of the clips", table),
                chart_spread("lengths-emotion", "Length by emotion", "s", table, "duration_s"),
            ),
            "levels": tuple(_level_charts(table)),
            "balance": (
                _count("balance-all", "All clips", table, "emotion", "corpus"),
                _count("balance-common", "Common emotions", common, "emotion", "corpus"),
                _count("balance-cut", "Cut to the rarest", balanced, "emotion", "corpus"),
            ),
        },
        chosen=tuple(draw_set(rows) for rows in track(chosen, "Drawing clips")),
        intensities=tuple(draw_set(rows) for rows in track(intensities, "Drawing intensities")),
    )
    with replacing(out, lists_its_files) as draft:
        _write_figures(draft / "figures", findings)
        for name, rows in (("clips.csv", table), ("balanced.csv", balanced)):
            _write_table(draft / name, rows)
        (draft / PAGE).write_text(render_page(findings), encoding="utf-8")
        write_listing(draft)
    return out / PAGE


def common_emotions(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the emotions that every corpus of a table has, in label order."""
    corpora = [set(rows["emotion"]) for _, rows in table.groupby("corpus")]
    return tuple(label for label in LABELS if all(label in emotions for emotions in corpora))


def cut_to_rarest(table: pd.DataFrame) -> pd.DataFrame:
    """Return a random sample of a table, in its order, with as many clips of every emotion."""
    if table.empty:
        return table
    fewest = int(table["emotion"].value_counts().min())
    return table.groupby("emotion").sample(n=fewest, random_state=SEED).sort_index()


def choose_sets(table: pd.DataFrame, speakers: Sequence[str] = ()) -> list[pd.DataFrame]:
    """Choose one speaker of each corpus, and a sentence that they say in most emotions.

    Args:
        table: Clips, in order.
        speakers: Speakers to choose instead, as `corpus/speaker`.

    Returns:
        For each speaker one clip of each emotion, in label order, a strong one if the corpus
        states intensities.

    Raises:
        CorpusError: A speaker has no clip.
    """
    if absent := set(speakers) - set(table["speaker"]):
        known = ", ".join(table["speaker"].unique()[:5])
        raise CorpusError(
            f"There is no clip of {', '.join(sorted(absent))}; speakers are named as {known} …"
        )
    group = ["corpus"]
    if speakers:
        table, group = table[table["speaker"].isin(speakers)], ["corpus", "speaker"]
    ranked = table.assign(
        emotion_rank=table["emotion"].map(LABELS.index),
        intensity_rank=~table["intensity"].isin(_STRONGEST),
    ).sort_values(["emotion_rank", "intensity_rank"], kind="stable")
    chosen = []
    for _, first in table.drop_duplicates(group)[group].iterrows():
        rows = ranked[(ranked[group] == first).all(axis=1)]
        n_emotions = rows.groupby(["speaker", "statement"])["emotion"].nunique()
        speaker, statement = n_emotions.index[int(n_emotions.to_numpy().argmax())]
        same = rows[(rows["speaker"] == speaker) & (rows["statement"] == statement)]
        chosen.append(same.drop_duplicates("emotion"))
    return chosen


def choose_intensities(table: pd.DataFrame, speakers: Sequence[str] = ()) -> list[pd.DataFrame]:
    """Choose one speaker of each corpus who says a sentence angrily in several intensities.

    Args:
        table: Clips, in order.
        speakers: The only speakers to choose from, as `corpus/speaker`; all where empty.

    Returns:
        For each corpus that has one, the same sentence in calm, or neutral where there is no calm,
        and in anger by rising intensity.
    """
    if speakers:
        table = table[table["speaker"].isin(speakers)]
    is_graded = (table["emotion"] == "angry") & table["intensity"].isin(INTENSITIES[:-1])
    order = {"calm": -2, "neutral": -1} | {name: i for i, name in enumerate(INTENSITIES)}
    ranked = table.assign(
        rank=table["intensity"].where(is_graded, table["emotion"]).map(order)
    ).dropna(subset="rank")
    ranked = ranked.sort_values("rank", kind="stable").drop_duplicates(
        ["speaker", "statement", "rank"]
    )
    chosen: dict[str, pd.DataFrame] = {}
    for _, rows in ranked.groupby(["corpus", "speaker", "statement"], sort=False):
        angry, corpus = rows[rows["emotion"] == "angry"], rows["corpus"].iloc[0]
        if corpus not in chosen and len(angry) > 1:
            chosen[corpus] = pd.concat([rows[rows["emotion"] != "angry"].head(1), angry])
    return list(chosen.values())


def measure_clips(paths: Sequence[Path]) -> pd.DataFrame:
    """Measure clips as their files are, before resampling and normalisation.

    Returns:
        (n_clips, n_measures), columns `MEASURES`: length in seconds, sample rate of the decoded
        file, channels, RMS and peak of their mean in dB below full scale. A clip that cannot be
        read is logged, and its values are missing.
    """
    rows = [_measure(path) for path in track(paths, "Measuring clips")]
    return pd.DataFrame(rows, columns=list(MEASURES))


def mean_spectrum(paths: Sequence[Path]) -> npt.NDArray[np.float64]:
    """Return the mean power spectrum of clips, each normalised to the same level.

    Returns:
        (2, n_bands) float64: frequencies in Hz, and levels in dB below the strongest band; no
        bands if no clip can be read. Of many clips, `SPECTRUM_CLIPS` are used.
    """
    config = AudioConfig()
    step = max(1, len(paths) // SPECTRUM_CLIPS)
    spectra = []
    for path in paths[::step]:
        try:
            waveform = load_audio(path, config)
        except AudioError as error:
            logger.warning("%s is not in the mean spectrum: %s", path, error)
            continue
        power = np.abs(librosa.stft(waveform, n_fft=FRAME_LENGTH)) ** 2  # (n_bands, n_frames)
        if total := float(power.mean()):
            spectra.append(power.mean(axis=1) / total)
    if not spectra:
        return np.empty((2, 0))
    level = librosa.power_to_db(np.mean(spectra, axis=0), ref=np.max, top_db=None)
    frequencies_hz = librosa.fft_frequencies(sr=config.sample_rate_hz, n_fft=FRAME_LENGTH)
    return np.stack([frequencies_hz, level])


def _find(data: Path, corpora: Sequence[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the clips that are found, and the names of the corpora that are not."""
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


def _measure(path: Path) -> tuple[float, ...]:
    try:
        with soundfile.SoundFile(path) as file:
            frames = file.read(dtype="float32", always_2d=True)  # (n_samples, n_channels)
            rate_hz, n_channels = file.samplerate, file.channels
    except (OSError, soundfile.LibsndfileError) as error:
        logger.warning("%s is not measured: %s", path, error)
        return (np.nan,) * len(MEASURES)
    waveform = frames.mean(axis=1)
    if not len(waveform):
        logger.warning("%s is not measured: it contains no audio.", path)
        return (np.nan,) * len(MEASURES)
    rms = float(np.sqrt(np.mean(waveform**2, dtype=np.float64)))
    peak = float(np.abs(waveform).max())
    return len(waveform) / rate_hz, rate_hz, n_channels, dbfs(rms), dbfs(peak)


def _count_charts(table: pd.DataFrame) -> Iterator[Chart]:
    table = table.assign(intensity=table["intensity"].replace("", UNKNOWN))
    yield _count("emotions", "Clips of each emotion", table, "emotion", "corpus")
    yield _count("corpora", "Clips of each corpus", table, "corpus", "emotion")
    yield _count("sexes", "Sex of the speaker", table, "corpus", "sex")
    yield _count("sexes-emotion", "Sex of the speaker by emotion", table, "emotion", "sex")
    yield _count("intensities", "Intensity", table, "corpus", "intensity")
    yield _count("intensities-emotion", "Intensity by emotion", table, "emotion", "intensity")


def _level_charts(table: pd.DataFrame) -> Iterator[Chart]:
    yield chart_spread("levels", "Level by emotion", "dBFS, RMS", table, "level_dbfs")
    yield chart_spread("peaks", "Peak by emotion", "dBFS", table, "peak_dbfs")
    corpora = table.groupby("corpus", sort=False)["path"]
    spectra = {str(corpus): mean_spectrum(list(paths)) for corpus, paths in corpora}
    yield chart_spectra("spectra", "Mean spectrum", spectra)
    read = table.dropna(subset="sample_rate_hz")
    rates = [f"{rate / 1_000:g} kHz" for rate in read["sample_rate_hz"]]
    yield _count("rates", "Sample rate", read.assign(rate=rates), "corpus", "rate")


def _count(name: str, title: str, table: pd.DataFrame, rows: str, parts: str) -> Chart:
    counts = pd.crosstab(table[rows], table[parts].rename(None))
    ordered = counts.reindex(index=_in_order(table[rows]), columns=_in_order(table[parts]))
    return chart_counts(name, title, ordered)


def _in_order(values: "pd.Series[str]") -> list[str]:
    """Return the distinct values: emotions and intensities in order, others as they occur."""
    present = values.dropna().unique()
    ordered = [name for name in (*LABELS, *INTENSITIES) if name in present]
    return ordered + [name for name in present if name not in ordered]


def _write_table(path: Path, table: pd.DataFrame) -> None:
    resolved = table.assign(path=[path.resolve() for path in table["path"]])
    columns = resolved.rename(columns={"emotion": "label"})[list(CSV_COLUMNS)]
    columns.to_csv(path, index=False, float_format="%.4g")


def _write_figures(folder: Path, findings: Findings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for charts in findings.charts.values():
        for chart in charts:
            (folder / f"{chart.name}.png").write_bytes(chart.png)
    for suffix, sets in (("", findings.chosen), ("_intensities", findings.intensities)):
        for chosen in sets:
            tiles = folder / f"{chosen.corpus}_{Path(chosen.speaker).name}{suffix}"
            tiles.mkdir(exist_ok=True)
            for clip in chosen.clips:
                acted = "-".join(filter(None, (clip.emotion, clip.intensity)))
                for picture in clip.pictures:
                    name = picture.name.replace(" ", "-").lower()
                    (tiles / f"{name}_{acted}.png").write_bytes(picture.png)
