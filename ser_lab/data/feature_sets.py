"""Features of recordings as tables: frame by frame, or statistics of a clip or a segment.

Source: librosa.feature, McFee et al. 2015; pYIN, Mauch and Dixon 2014, for the pitch; Radford et
al. 2022 for the vectors of Whisper's encoder.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import librosa
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from ser_core.audio.load import load_audio
from ser_core.config import WHISPER_FEATURES, FeatureConfig, PipelineConfig, PreprocessConfig
from ser_core.corpora.base import AUDIO_SUFFIXES
from ser_core.errors import AudioError, CorpusError, OutputError, SerError
from ser_core.features import Features, extract_features
from ser_core.names import escape_formula, name_of
from ser_core.paths import check_output, replacing
from ser_core.plots import HIGHEST_PITCH_HZ, LOWEST_PITCH_HZ
from ser_core.preprocess import Speech, Waveform, preprocess
from ser_core.whisper.spec import HOP_LENGTH, MAX_VECTORS, TINY, EncoderConfig
from ser_core.whisper.weights import fetch_encoder, read_tensors
from ser_lab.data.tables import read_rows

Rows = Literal["clips", "frames"]

SETS: dict[str, tuple[str, ...]] = {
    "papers": ("rms", "zcr", "mfcc"),
    "mel": ("log_mel",),
    "chroma": ("chroma",),
    "spectral": ("spectral_centroid", "spectral_rolloff"),
    "pitch": ("f0",),
    "functionals": (
        "rms", "zcr", "mfcc", "chroma", "spectral_centroid", "spectral_rolloff", "f0",
    ),
    "whisper": ("whisper",),
}  # fmt: skip
"""Groups of columns by the name of their set."""
FUNCTIONALS, WHISPER = "functionals", "whisper"
STATISTICS: dict[str, Callable[..., npt.NDArray[np.float32]]] = {
    "mean": np.nanmean,
    "std": np.nanstd,
    "min": np.nanmin,
    "p20": partial(np.nanpercentile, q=20),
    "median": np.nanmedian,
    "p80": partial(np.nanpercentile, q=80),
    "max": np.nanmax,
}
"""Over the frames that have a value; with sets other than `functionals`, the first two."""
FRAMES = FeatureConfig(n_mels=128, fmin_hz=0.0, fmax_hz=8_000.0)
"""Frames of 128 ms every 32 ms, and librosa's default bands: those of most papers."""
VECTORS = EncoderConfig(blocks=(TINY.n_blocks,), pool=1)
"""Output of the encoder's last block, before the final normalisation."""
UNCHANGED = PreprocessConfig(remove_dc=False, level="none", trim=False)
"""Steps before the features that leave a recording as it is."""
HEAD = ("file", "start_s", "end_s")
"""First columns of a table of features, by which it is recognised."""
BLOCK_ROWS = 5_000
"""Rows that are written at once, which bounds the memory."""
_N_CHROMA = 12
_WIDTHS = {
    "mfcc": FRAMES.n_mfcc,
    "log_mel": FRAMES.n_mels,
    "chroma": _N_CHROMA,
    "whisper": VECTORS.n_columns,
}


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Columns, and how they are computed.

    Attributes:
        columns: Names of the columns of a frame.
        hop_s: Seconds from frame to frame.
        statistics: Names of the statistics of a clip, keys of `STATISTICS`.
        extract: From speech, (n_samples,) float32, to (n_frames, n_columns) float32; the first
            frame is at the start. NaN is no value: of the pitch, where there is none.
    """

    columns: tuple[str, ...]
    hop_s: float
    statistics: tuple[str, ...]
    extract: Callable[[Waveform], Features]

    def summarise(self, frames: Features) -> Features:
        """Return the statistics of (n_frames, n_columns), as (n_columns * n_statistics,).

        All statistics of a column follow each other, as in `summary_columns`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a column without any value
            rows = [STATISTICS[name](frames, axis=0) for name in self.statistics]
        return np.stack(rows, axis=1).ravel().astype(np.float32)

    @property
    def summary_columns(self) -> tuple[str, ...]:
        """Names of the columns of `summarise`, such as `mfcc_0_mean`."""
        return tuple(f"{column}_{name}" for column in self.columns for name in self.statistics)


def open_feature_set(names: Sequence[str]) -> FeatureSet:
    """Return one or several of `SETS` as one; a group that is in two comes once.

    Raises:
        SerError: A name is unknown, or others stand beside `whisper`, whose frames differ.
        ModelError: The encoder is needed, and cannot be read or downloaded.
    """
    if not names or any(name not in SETS for name in names):
        raise SerError(f"'--set' is {','.join(names)!r}; expected some of {', '.join(SETS)}.")
    groups = tuple(dict.fromkeys(group for name in names for group in SETS[name]))
    if WHISPER in groups and len(groups) > 1:
        raise SerError(f"'--set' is {','.join(names)!r}; {WHISPER} has other frames, so alone.")
    columns: list[str] = []
    for group in groups:
        columns += [f"{group}_{i}" for i in range(_WIDTHS.get(group, 0))] or [group]
        columns += ["voiced"] if group == "f0" else []
    is_whisper = WHISPER in groups
    hop_length = 2 * HOP_LENGTH * VECTORS.pool if is_whisper else FRAMES.hop_length
    return FeatureSet(
        columns=tuple(columns),
        hop_s=hop_length / _pipeline().audio.sample_rate_hz,
        statistics=tuple(STATISTICS) if FUNCTIONALS in names else ("mean", "std"),
        extract=_open_encoder() if is_whisper else partial(_extract_groups, groups=groups),
    )


def _pipeline(*, is_raw: bool = False) -> PipelineConfig:
    return PipelineConfig(preprocess=UNCHANGED if is_raw else PreprocessConfig())


def _extract_groups(samples: Waveform, groups: Sequence[str]) -> Features:
    """Return (n_frames, n_columns) of any groups but Whisper's vectors."""
    length, hop, rate_hz = FRAMES.frame_length, FRAMES.hop_length, _pipeline().audio.sample_rate_hz
    magnitude = np.abs(librosa.stft(samples, n_fft=length, hop_length=hop))
    parts = []
    for group in groups:
        match group:
            case "rms" | "zcr" | "mfcc" | "log_mel":
                config = PipelineConfig(features=replace(FRAMES, groups=(group,)))
                rows = extract_features(samples, config).T
            case "chroma":
                # As in the plots: the tuning of an instrument says nothing about speech.
                rows = librosa.feature.chroma_stft(S=magnitude**2, sr=rate_hz, tuning=0.0)
            case "f0":
                pitch_hz, is_voiced, _ = librosa.pyin(
                    samples, fmin=LOWEST_PITCH_HZ, fmax=HIGHEST_PITCH_HZ, sr=rate_hz,
                    frame_length=length, hop_length=hop,
                )  # fmt: skip
                rows = np.stack([pitch_hz, is_voiced])
            case _:
                rows = getattr(librosa.feature, group)(S=magnitude, sr=rate_hz)
        parts.append(rows.T)
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _open_encoder() -> Callable[[Waveform], Features]:
    """Return a function from speech to the vectors of its frames; parts of 30 s are encoded."""
    tensors = read_tensors(fetch_encoder(VECTORS), VECTORS)
    from ser_lab.data.encoder_store import compile_encoder  # loads TensorFlow

    encode = compile_encoder(VECTORS, tensors)
    pipeline = PipelineConfig(features=WHISPER_FEATURES)
    margin = round(WHISPER_FEATURES.margin_s * pipeline.audio.sample_rate_hz) // (2 * HOP_LENGTH)

    def extract(samples: Waveform) -> Features:
        log_mel = extract_features(samples, pipeline)  # with silence before and after the speech
        parts = [log_mel[i : i + 2 * MAX_VECTORS] for i in range(0, len(log_mel), 2 * MAX_VECTORS)]
        vectors = [encode(p[np.newaxis], np.array([len(p)], np.int32))[0][0] for p in parts]
        return np.concatenate(vectors)[margin:-margin]

    return extract


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, or a segment of one.

    Attributes:
        name: Its name in the table of features.
        path: The file.
        start_s: Start of the segment.
        end_s: End of the segment; infinite for that of the recording.
        cells: Further cells of its row in the user's table, by column.
    """

    name: str
    path: Path
    start_s: float = 0.0
    end_s: float = math.inf
    cells: dict[str, str] = field(default_factory=dict)


def find_recordings(source: Path) -> list[Recording]:
    """List the recordings of a file, a folder or a table.

    Args:
        source: A recording; a folder, with those below it; or a .csv table with the column `path`
            or `file`, relative to the table, and perhaps `start_s` and `end_s`, which make a row a
            segment. Its other columns are kept.

    Raises:
        CorpusError: The table cannot be read, a row is no segment, or there is no recording.
    """
    if source.suffix.lower() == ".csv":
        found = _read_recordings(source)
    elif source.is_dir():
        paths = sorted(p for p in source.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
        found = [Recording(path.relative_to(source).as_posix(), path) for path in paths]
    else:
        found = [Recording(str(source), source)]
    if not found:
        raise CorpusError(f"{source} has no recordings; expected a recording, a folder or a table.")
    return found


def _read_recordings(csv_path: Path) -> list[Recording]:
    rows = [*read_rows(csv_path, ("path",), renamed={"file": "path"})]
    own = {"", "path", "start_s", "end_s"}
    columns = [name for _, row in rows[:1] for name in row if name not in own]
    further = [name for name in columns if any(row[name] for _, row in rows)]
    recordings = []
    for line, row in rows:
        try:
            start_s = float(row.get("start_s") or 0.0)
            end_s = float(row.get("end_s") or math.inf)
        except ValueError:
            start_s = end_s = math.nan
        if not 0.0 <= start_s < end_s:
            raise CorpusError(
                f"{csv_path}, line {line}: {row.get('start_s')!r} to {row.get('end_s')!r} is no "
                "segment; expected seconds in start_s and end_s, the start before the end."
            )
        cells = {column: row[column] for column in further}
        recordings.append(
            Recording(row["path"], csv_path.parent / row["path"], start_s, end_s, cells)
        )
    return recordings


def feature_rows(
    recordings: Sequence[Recording],
    features: FeatureSet,
    *,
    rows: Rows,
    is_raw: bool = False,
    on_error: Callable[[str, SerError], None],
) -> Iterator[pd.DataFrame]:
    """Yield the features of recordings as tables with the same columns.

    Args:
        recordings: See `find_recordings`.
        features: See `open_feature_set`.
        rows: `clips` for a row of statistics per recording or segment, `frames` for a row per
            frame.
        is_raw: Whether to take recordings as they are; otherwise their level is normalised and
            silence around the speech is trimmed, as for a model.
        on_error: Called with the name of a recording that has no features, and the reason.

    Yields:
        Of a recording: `file`, `start_s` and `end_s` of the segment, and of a frame `time_s`, the
        middle of it in the recording; the further cells; and float32 columns of features.

    Raises:
        SerError: A column of the user's table has the name of another.
    """
    columns = features.columns if rows == "frames" else features.summary_columns
    taken = {*HEAD, "time_s", "features", *columns}
    if clash := [name for name in recordings[0].cells if name in taken]:
        raise SerError(f"The table's column {clash[0]!r} is one of the output, too. Rename it.")
    load = lru_cache(maxsize=1)(partial(load_audio, config=_pipeline().audio))  # of its segments
    for recording in track(recordings, "Extracting"):
        try:
            waveform = load(recording.path)
            speech = _speech_of(recording, waveform, is_raw=is_raw)
            frames = features.extract(speech.samples)
        except SerError as error:
            on_error(recording.name, error)
            continue
        end_s = min(recording.end_s, len(waveform) / _pipeline().audio.sample_rate_hz)
        known = (name_of(recording.name), recording.start_s, end_s)
        head: dict[str, Any] = dict(zip(HEAD, known, strict=True))
        if rows == "frames":
            head["time_s"] = speech.start_s + features.hop_s * np.arange(len(frames))
        else:
            frames = features.summarise(frames)[np.newaxis]
        table = pd.DataFrame(frames, columns=[*columns])
        yield pd.DataFrame(head | recording.cells, index=table.index).round(3).join(table)


def _speech_of(recording: Recording, waveform: Waveform, *, is_raw: bool) -> Speech:
    """Return the speech of a recording or segment, with its times in the recording."""
    pipeline = _pipeline(is_raw=is_raw)
    rate_hz = pipeline.audio.sample_rate_hz
    start = round(recording.start_s * rate_hz)
    end = round(min(recording.end_s, len(waveform) / rate_hz) * rate_hz)
    if end - start < pipeline.preprocess.min_speech_s * rate_hz:
        raise AudioError(
            f"The segment from {recording.start_s:g} to {recording.end_s:g} s has "
            f"{max(end - start, 0) / rate_hz:.2f} s of the recording; at least "
            f"{pipeline.preprocess.min_speech_s:g} s are needed."
        )
    speech = preprocess(waveform[start:end], pipeline)
    return replace(
        speech,
        start_s=recording.start_s + speech.start_s,
        end_s=recording.start_s + speech.end_s,
    )


def check_table(path: Path) -> None:
    """Check before any work that `write_features` can write a table, see `check_output`.

    Raises:
        OutputError: The suffix is another, or the file cannot be written or replaced.
    """
    if path.suffix not in _WRITERS:
        raise OutputError(f"{path} is no table; expected a name in {', '.join(_WRITERS)}.")
    check_output(path, _is_table)


def write_features(tables: Iterator[pd.DataFrame], path: Path) -> None:
    """Write the tables of `feature_rows` as one.

    Args:
        tables: Their rows.
        path: A .csv or .parquet, written in blocks of `BLOCK_ROWS`; or an .npy of records, with the
            fields of the other columns, and `features`, (n_columns,) float32.

    Raises:
        SerError: There is no table.
        OutputError: As `check_table` does.
    """
    with replacing(path, _is_table) as draft:
        blocks = _join(tables)
        first = next(blocks, None)
        if first is None:
            raise SerError(f"No recording has features, so {path} is not written.")
        _WRITERS[path.suffix](chain([first], blocks), draft)


def _is_table(path: Path) -> bool:
    """Return whether a file was written by `write_features`."""
    match path.suffix:
        case ".parquet":
            names = pq.read_schema(path).names
        case ".npy":
            names = [*np.load(path, mmap_mode="r").dtype.names]
        case _:
            with path.open(encoding="utf-8") as stream:
                names = stream.readline().split(",")
    return tuple(names[: len(HEAD)]) == HEAD


def _join(tables: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yield tables of `BLOCK_ROWS` rows, or a few more, and the rest."""
    block: list[pd.DataFrame] = []
    for table in tables:
        block.append(table)
        if sum(map(len, block)) >= BLOCK_ROWS:
            yield pd.concat(block, ignore_index=True)
            block = []
    if block:
        yield pd.concat(block, ignore_index=True)


def _write_csv(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        for i, block in enumerate(blocks):
            safe = block.apply(lambda c: c if c.dtype.kind == "f" else c.map(escape_formula))
            safe.to_csv(stream, index=False, header=i == 0, float_format="%.8g")


def _write_parquet(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    tables = (pa.Table.from_pandas(block, preserve_index=False) for block in blocks)
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)


def _write_npy(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    table = pd.concat(blocks)
    features = table.select_dtypes("float32")
    head = table.drop(columns=features.columns)
    fields = [
        (name, "f8" if cells.dtype.kind == "f" else f"U{max(1, cells.str.len().max())}")
        for name, cells in head.items()
    ]
    records = np.empty(len(table), [*fields, ("features", "f4", (features.shape[1],))])
    for name in head.columns:
        records[str(name)] = head[name]
    records["features"] = features
    np.save(path, records)


_WRITERS: dict[str, Callable[[Iterable[pd.DataFrame], Path], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".npy": _write_npy,
}
