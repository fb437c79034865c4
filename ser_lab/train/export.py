"""A trained network as a model folder."""

import math
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, CalledProcessError, check_output
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import pandas as pd

import ser_core
from ser_core.config import PipelineConfig
from ser_core.corpora import CORPORA
from ser_core.labels import LABELS
from ser_core.model.assemble import Deltas, record_probe
from ser_core.model.layers import fuse_lstms
from ser_core.model.manifest import HEAD, Manifest, sha256_of
from ser_core.model.saved_model import NETWORK, SAVED_MODEL, make_servable, save_servable
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import fetch_encoder
from ser_lab.data.splits import READING, SpeakerSplit
from ser_lab.metrics import Calibration

LICENCE = "CC-BY-NC-SA-4.0"
"""Of the weights: the corpora allow no commercial use."""
CUSTOM_LICENCE = "other"
"""Of a table's recordings, and of weights that were trained on them alone."""


READINGS = {
    "name": READING,
    "title": "LibriSpeech, readings without labels of emotion",
    "licence": "CC-BY-4.0",
    "citation": "Panayotov V, Chen G, Povey D, Khudanpur S (2015). Librispeech: an ASR corpus "
    "based on public domain audio books. ICASSP 2015: 5206-5210.",
    "source": "https://www.openslr.org/12",
}
"""Entry of `split_readings` in a manifest's `corpora`."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Origin of a shipped model, as in `Manifest`; `table` holds the clips with their splits.

    `start` is the manifest of the model that it was fine-tuned from, if any; `n_readings` the
    number of readings without labels beside the clips.
    """

    name: str
    table: pd.DataFrame
    split: SpeakerSplit
    seed: int
    commit: str
    labels: tuple[str, ...] = LABELS
    start: Manifest | None = None
    n_readings: int = 0


def export_model(
    network: keras.Model,
    calibration: Calibration,
    folder: Path,
    *,
    pipeline: PipelineConfig,
    architecture: dict[str, Any],
    lineage: Lineage,
    encoder: EncoderConfig | None = None,
    deltas: Deltas = MappingProxyType({}),
) -> Manifest:
    """Write the weights of a model folder.

    Args:
        network: From frames and their counts to logits; with an encoder, from its vectors.
        calibration: Calibration of its logits.
        folder: The model folder, which must not exist.
        pipeline: Settings of the path from file to features.
        architecture: Network and training settings, for the reader.
        lineage: Origin of the network.
        encoder: Whisper's encoder before the network; None where the network is complete.
        deltas: Changes of that encoder.

    Returns:
        The manifest, which is not written yet; its `metrics` are empty.

    Raises:
        ModelError: Whisper's weights can neither be found nor downloaded.
    """
    folder.mkdir(parents=True)
    manifest = Manifest(
        name=lineage.name,
        version=ser_core.__version__,
        labels=lineage.labels,
        columns=pipeline.features.columns,
        pipeline=pipeline,
        architecture=architecture,
        n_parameters=count_parameters(network, deltas),
        temperature=calibration.temperature,
        corpora=(*(lineage.start.corpora if lineage.start else ()), *_corpora(lineage)),
        licence=_licence(lineage),
        split={"development": list(lineage.split.development), "test": list(lineage.split.test)},
        seed=lineage.seed,
        commit=lineage.commit,
        metrics={},
        files={},
        encoder=encoder,
        certainty=calibration.certainty,
        has_intensity=network.output.shape[-1] > len(lineage.labels),
    )
    files = write_network(network, folder, manifest)
    if encoder is not None and encoder.deltas is not None:
        np.savez(folder / encoder.deltas, allow_pickle=False, **deltas)
        files |= {encoder.deltas: sha256_of(folder / encoder.deltas)}
    manifest = replace(manifest, files=files)
    weights = None if encoder is None else fetch_encoder(encoder)
    return replace(manifest, probe=record_probe(folder, manifest, weights))


def count_parameters(network: keras.Model, deltas: Deltas) -> int:
    """Return the number of trainable weights, with those of the changes of an encoder."""
    weights = [*network.trainable_weights, *deltas.values()]
    return sum(math.prod(weight.shape) for weight in weights)


def write_network(network: keras.Model, folder: Path, manifest: Manifest) -> dict[str, str]:
    """Write a network into a model folder, and its SavedModel where no encoder precedes it.

    Args:
        network: As in `export_model`.
        folder: The model folder.
        manifest: Its manifest; the files in it are not read.

    Returns:
        SHA-256 of each file that was written, by relative path.
    """
    name = NETWORK if manifest.encoder is None else HEAD
    bare = keras.Model.from_config(network.get_config())  # without its optimiser
    bare.set_weights(network.get_weights())
    bare.save(folder / name)
    files = [folder / name]
    if manifest.encoder is None:
        servable = make_servable(
            fuse_lstms(network),
            n_columns=len(manifest.columns),
            n_labels=len(manifest.labels),
            temperature=manifest.temperature,
        )
        shutil.rmtree(folder / SAVED_MODEL, ignore_errors=True)
        save_servable(servable, folder / SAVED_MODEL)
        files += sorted(path for path in (folder / SAVED_MODEL).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _licence(lineage: Lineage) -> str:
    """Return the licence of the weights, which is that of the model that they started from."""
    if lineage.start:
        return lineage.start.licence
    return LICENCE if {*lineage.table["corpus"]} & {*CORPORA} else CUSTOM_LICENCE


def _corpora(lineage: Lineage) -> tuple[dict[str, Any], ...]:
    """Return the manifest's entry of each training corpus, published ones first."""
    table = lineage.table
    counts = table[table["split"] == "train"]["corpus"].value_counts()
    entries = []
    for name in sorted(map(str, counts.index), key=[*CORPORA, *counts.index].index):
        corpus, stem = CORPORA.get(name), name.removesuffix(".csv")
        entries.append(
            {
                "name": name,
                "title": corpus.title if corpus else f"Recordings of a table, {stem}.csv",
                "licence": corpus.licence if corpus else CUSTOM_LICENCE,
                "citation": corpus.citation if corpus else "",
                "source": corpus.source if corpus else "",
                "n_training_clips": int(counts[name]),
            }
        )
    if lineage.n_readings:
        entries.append(READINGS | {"n_training_clips": lineage.n_readings})
    return tuple(entries)


def current_commit() -> str:
    """Return the package's commit, with `-dirty` where its files have changed; or `unknown`."""
    package = Path(ser_core.__file__).parent
    git = partial(check_output, cwd=package, stderr=DEVNULL, text=True)
    try:
        commit = git(["git", "rev-parse", "--short=12", "HEAD"]).strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no", "."])
    except (OSError, CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit
