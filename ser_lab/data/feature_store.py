"""Features of many clips, stored on disk by clip contents and settings."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
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
from ser_core.errors import SerError
from ser_core.features import Features, extract_features
from ser_core.paths import default_cache, entry_name, remove_earlier_entries
from ser_core.preprocess import Waveform, normalise_level, preprocess

Frames = npt.NDArray[Any]
Clips = Sequence[Frames | None]
"""One (n_frames, n_columns) array a row of a table; None where there is no speech."""

logger = logging.getLogger(__name__)

SHARD_CLIPS = 128
"""Clips in a shard; an interrupted run loses at most one shard a worker."""
FEATURES_FORMAT = 1
"""Raise it where the same file and settings give other features, copies or encoder vectors."""
_SHARD_FILE = re.compile(r"[0-9a-f]{16}\.(npz|\d+\.tmp)")


class Change(Protocol):
    """A change of recordings, such as `ser_lab.data.augment.Changes`."""

    @property
    def settings(self) -> Any:
        """Everything that decides the copies, a dataclass whose fields no other kind has."""

    def apply(self, samples: Waveform, name: str, *, sample_rate_hz: int) -> Waveform:
        """Change a clip; the same name gives the same change.

        Args:
            samples: (n_samples,) float32 speech.
            name: Name of the clip, the seed of the change.
            sample_rate_hz: Rate of the samples.
        """


def load_features(
    paths: Sequence[Path],
    config: PipelineConfig,
    *,
    changes: Change | None = None,
    cache: Path | None = None,
) -> list[Features | None]:
    """Return the features of each clip, from the store or computed.

    Args:
        paths: The clips.
        config: Settings of the path from file to features.
        changes: Change of each clip before features are computed; None for none.
        cache: Folder of all stores; `default_cache()` where None.

    Returns:
        For each clip (n_frames, n_features) float32, or None where it cannot be read
        or holds no speech, which is logged.
    """
    store = open_store(cache, "features", store_key(config, changes))
    shards = [list(paths[i : i + SHARD_CLIPS]) for i in range(0, len(paths), SHARD_CLIPS)]
    files = [store / f"{shard_key(shard)}.npz" for shard in shards]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    if len(missing) == 1:  # faster than starting a pool
        _write_features(shards[missing[0]], config, changes, files[missing[0]])
    elif missing:
        # A fork of a process that runs TensorFlow's threads can inherit a lock held for ever.
        spawn = get_context("spawn")
        with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=spawn) as pool:
            jobs = [
                pool.submit(_write_features, shards[i], config, changes, files[i]) for i in missing
            ]
            for job in track(as_completed(jobs), "Computing features", total=len(jobs)):
                job.result()
    return [features for file in files for features in read_shard(file)]


def open_store(cache: Path | None, kind: str, key: str) -> Path:
    """Return the folder of a store, and remove those of earlier formats where it is new.

    Args:
        cache: Folder of all stores; `default_cache()` where None.
        kind: Contents of the store, the name of its folder.
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
    """Return a hash of the settings and of librosa's version."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    digest.update(version("librosa").encode())
    if changes is not None:
        digest.update(json.dumps(asdict(changes.settings), sort_keys=True).encode())
    return digest.hexdigest()


def shard_key(paths: Sequence[Path]) -> str:
    """Return a hash of the files' contents, in their order; it does not depend on their paths."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _write_features(
    paths: Sequence[Path], config: PipelineConfig, changes: Change | None, file: Path
) -> None:
    with threadpool_limits(1):  # the workers share the cores
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


def write_shard(file: Path, clips: Clips, *, n_columns: int) -> None:
    """Write the frames of some clips; the file appears only when it is complete.

    Args:
        file: The shard.
        clips: (n_frames, n_columns) arrays of one type, None for a clip without speech.
        n_columns: Their width, for a shard without any speech.
    """
    kept = [clip for clip in clips if clip is not None]
    frames = np.concatenate(kept) if kept else np.empty((0, n_columns), np.float32)
    n_frames = np.array([0 if clip is None else len(clip) for clip in clips], dtype=np.int64)
    draft = file.with_suffix(f".{os.getpid()}.tmp")
    with draft.open("wb") as stream:
        np.savez(stream, frames=frames, n_frames=n_frames)
    draft.replace(file)


def read_shard(file: Path) -> list[Frames | None]:
    """Return the clips of a shard, as passed to `write_shard`."""
    with np.load(file) as shard:
        parts = np.split(shard["frames"], np.cumsum(shard["n_frames"])[:-1])
    return [part if len(part) else None for part in parts]


def load_by_corpus(
    table: pd.DataFrame,
    load: Callable[[list[Path]], Clips],
    *,
    corpora: Sequence[str] = (),
) -> list[Frames | None]:
    """Load the rows of a table by corpus, so that every protocol shares the store.

    Args:
        table: Clips, with `path` and `corpus`.
        load: From paths to clips, such as `load_features` with its settings.
        corpora: Corpora that are loaded, the rows of others being None; all where empty.
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
