"""Clips ready for the network: those with speech, and what each is to be called."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.progress import track
from threadpoolctl import threadpool_limits

from ser_core.audio.load import load_audio
from ser_core.config import PipelineConfig
from ser_core.errors import CorpusError, SerError
from ser_core.features import Features, extract_features
from ser_core.labels import LABELS
from ser_core.paths import default_cache, entry_name, remove_earlier_entries
from ser_core.preprocess import Waveform, normalise_level, preprocess
from ser_lab.data.protocols import Rows

Frames = npt.NDArray[Any]

logger = logging.getLogger(__name__)

SHARD_CLIPS = 128
"""Clips in a shard: what an interrupted run loses at most, a worker."""
FEATURES_FORMAT = 1
"""Raise it where the same file and settings give other features, copies or encoder vectors."""
_SHARD_FILE = re.compile(r"[0-9a-f]{16}\.(npz|\d+\.tmp)")


class Change(Protocol):
    """What makes the changed copies of a store."""

    @property
    def settings(self) -> Any:
        """All that decides the copies, as a dataclass whose fields no other kind has."""

    def apply(self, samples: Waveform, name: str, *, sample_rate_hz: int) -> Waveform:
        """Change a clip; the same name gives the same change.

        Args:
            samples: (n_samples,) float32 speech.
            name: The clip's name, the seed of what is drawn.
            sample_rate_hz: Rate of the samples.
        """


def load_features(
    paths: Sequence[Path],
    config: PipelineConfig,
    *,
    changes: Change | None = None,
    cache: Path | None = None,
) -> list[Features | None]:
    """Features of each clip, from the store or computed now.

    Args:
        paths: The clips.
        config: Settings of the path from file to features.
        changes: Where set, a changed copy of each clip is what is described.
        cache: Folder of all stores; `default_cache()` where None.

    Returns:
        For each clip (n_frames, n_features) float32, or None where it cannot be read
        or holds no speech, which is logged.
    """
    store = open_store(cache, "features", store_key(config, changes))
    shards = [list(paths[i : i + SHARD_CLIPS]) for i in range(0, len(paths), SHARD_CLIPS)]
    files = [store / f"{shard_key(shard)}.npz" for shard in shards]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    if len(missing) == 1:  # sooner done than a pool has started
        _write_features(shards[missing[0]], config, changes, files[missing[0]])
    elif missing:
        # A fork of a process that runs TensorFlow's threads can inherit a lock held for ever.
        fresh = get_context("spawn")
        with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=fresh) as pool:
            jobs = [
                pool.submit(_write_features, shards[i], config, changes, files[i]) for i in missing
            ]
            for job in track(as_completed(jobs), "Computing features", total=len(jobs)):
                job.result()
    return [features for file in files for features in read_shard(file)]


def open_store(cache: Path | None, kind: str, key: str) -> Path:
    """Return the folder of a store; where it is new, those of earlier formats are removed.

    Args:
        cache: Folder of all stores; `default_cache()` where None.
        kind: What the store holds, the name of a folder of its own.
        key: Hash of the settings.
    """
    folder = (cache or default_cache()) / kind
    store = folder / entry_name(FEATURES_FORMAT, key)
    if not store.exists():
        store.mkdir(parents=True, exist_ok=True)
        remove_earlier_entries(folder, FEATURES_FORMAT, _is_store)
    return store


def _is_store(folder: Path) -> bool:
    return all(_SHARD_FILE.fullmatch(path.name) and path.is_file() for path in folder.iterdir())


def store_key(config: PipelineConfig, changes: Change | None = None) -> str:
    """Hash of the settings and of librosa's version."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    digest.update(version("librosa").encode())
    if changes is not None:
        digest.update(json.dumps(asdict(changes.settings), sort_keys=True).encode())
    return digest.hexdigest()


def shard_key(paths: Sequence[Path]) -> str:
    """Hash of the files' contents, in their order: copied or moved, clips keep their shard."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _write_features(
    paths: Sequence[Path], config: PipelineConfig, changes: Change | None, file: Path
) -> None:
    with threadpool_limits(1):  # the workers already share the cores
        clips = [_features_of(path, config, changes) for path in paths]
    write_shard(file, clips, n_columns=len(config.features.columns))


def _features_of(path: Path, config: PipelineConfig, changes: Change | None) -> Features | None:
    try:
        speech = preprocess(load_audio(path, config.audio), config)
    except SerError as error:
        logger.warning("%s is left out: %s", path.name, error)
        return None
    samples = speech.samples
    if changes is not None:
        changed = changes.apply(samples, path.stem, sample_rate_hz=config.audio.sample_rate_hz)
        samples = normalise_level(
            changed, config.preprocess, sample_rate_hz=config.audio.sample_rate_hz
        )
    return extract_features(samples, config)


def write_shard(file: Path, clips: Sequence[Frames | None], *, n_columns: int) -> None:
    """Write the frames of some clips; the file appears only when it is whole.

    Args:
        file: The shard.
        clips: (n_frames, n_columns) arrays of one type, None for a clip without any.
        n_columns: Their width, for a shard of such clips alone.
    """
    kept = [clip for clip in clips if clip is not None]
    frames = np.concatenate(kept) if kept else np.empty((0, n_columns), np.float32)
    n_frames = np.array([0 if clip is None else len(clip) for clip in clips], dtype=np.int64)
    draft = file.with_suffix(f".{os.getpid()}.tmp")
    with draft.open("wb") as stream:
        np.savez(stream, frames=frames, n_frames=n_frames)
    draft.replace(file)


def read_shard(file: Path) -> list[Frames | None]:
    """The clips of a shard, as `write_shard` took them."""
    with np.load(file) as shard:
        parts = np.split(shard["frames"], np.cumsum(shard["n_frames"])[:-1])
    return [part if len(part) else None for part in parts]


def load_by_corpus(
    table: pd.DataFrame,
    load: Callable[[list[Path]], Sequence[Frames | None]],
    *,
    corpora: Sequence[str] = (),
) -> list[Frames | None]:
    """Load each row of a table corpus by corpus, so that every protocol shares the store.

    Args:
        table: Clips, with `path` and `corpus`.
        load: Paths to clips, such as `load_features` with its settings.
        corpora: Which are loaded, the rows of others being None; all where empty.
    """
    clips: list[Frames | None] = [None] * len(table)
    for corpus in table["corpus"].unique():
        if corpora and corpus not in corpora:
            continue
        rows = np.flatnonzero(table["corpus"] == corpus)
        paths = [Path(path) for path in table["path"].iloc[rows]]
        for row, clip in zip(rows, load(paths), strict=True):
            clips[row] = clip
    return clips


@dataclass(frozen=True, slots=True)
class Examples:
    """Clips ready for the network.

    Attributes:
        features: One (n_frames, n_features) array a clip.
        truth: (n_clips,) int64 indices into the labels.
    """

    features: list[Features]
    truth: npt.NDArray[np.int64]


def load_examples(
    table: pd.DataFrame,
    config: PipelineConfig,
    *,
    labels: Sequence[str] = LABELS,
    cache: Path | None = None,
) -> dict[str, Examples]:
    """Features and labels by side of the split.

    Args:
        table: Clips as `tabulate_clips` lists them.
        config: Settings of the path from file to features.
        labels: The emotions, in the order of their indices.
        cache: Folder of the feature stores.

    Returns:
        `Examples` under `train`, `development` and `test`, in the table's order;
        clips without speech are left out.

    Raises:
        CorpusError: A side has no clip left.
    """
    features = load_features([Path(path) for path in table["path"]], config, cache=cache)
    sides: dict[str, Examples] = {}
    for side in ("train", "development", "test"):
        examples = pick_examples(table, features, np.flatnonzero(table["split"] == side), labels)
        if not examples.features:
            raise CorpusError(f"No clip with speech is left for {side}; name other speakers.")
        sides[side] = examples
    return sides


def pick_examples(
    table: pd.DataFrame,
    features: Sequence[Features | None],
    rows: Rows,
    labels: Sequence[str] = LABELS,
) -> Examples:
    """The clips with speech among some rows.

    Args:
        table: Clips.
        features: Of each of its rows; None where nobody speaks.
        rows: Which rows.
        labels: The emotions, in the order of their indices.
    """
    heard = [row for row in rows if features[row] is not None]
    return Examples(
        features=[clip for row in heard if (clip := features[row]) is not None],
        truth=np.array([labels.index(emotion) for emotion in table["emotion"].iloc[heard]]),
    )
