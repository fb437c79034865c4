"""From a trained network to a model folder that serving accepts."""

import math
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

import ser_core
from ser_core.config import PipelineConfig
from ser_core.corpora import CORPORA
from ser_core.labels import LABELS
from ser_core.model.assemble import record_probe
from ser_core.model.layers import fuse_lstms
from ser_core.model.manifest import HEAD, Manifest, sha256_of
from ser_core.model.saved_model import NETWORK, SAVED_MODEL
from ser_core.whisper.weights import fetch_encoder
from ser_lab.data.splits import SpeakerSplit
from ser_lab.train.calibration import Calibration
from ser_lab.train.recipes.accurate import AccurateRecipe

LICENCE = "CC-BY-NC-SA-4.0"
"""Of the weights: the corpora allow no commercial use."""
OWN_LICENCE = "other"
"""Of somebody's own recordings, and of the weights that learned from them alone."""


class _Served(tf.Module):  # type: ignore[misc]
    """The network with its temperature and a softmax, for any batch and any length."""

    def __init__(self, network: keras.Model, temperature: float, n_features: int) -> None:
        super().__init__()
        self.network = fuse_lstms(network)
        self.temperature = temperature
        self.serve = tf.function(
            self._probabilities,
            input_signature=[
                tf.TensorSpec((None, None, n_features), tf.float32, name="features"),
                tf.TensorSpec((None,), tf.int32, name="n_frames"),
            ],
        )

    def _probabilities(self, features: tf.Tensor, n_frames: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self.network({"features": features, "n_frames": n_frames}, training=False)
        return {"probabilities": tf.nn.softmax(logits / self.temperature)}


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a shipped model comes from.

    Attributes:
        name: What the model is called.
        table: The clips, each with its side of the split.
        split: The speakers that were held out.
        seed: Seed of the shipped run.
        commit: Commit of the code when training began.
        labels: The emotions, in the order of the logits.
    """

    name: str
    table: pd.DataFrame
    split: SpeakerSplit
    seed: int
    commit: str
    labels: tuple[str, ...] = LABELS


def export_model(
    network: keras.Model,
    calibration: Calibration,
    folder: Path,
    *,
    pipeline: PipelineConfig,
    architecture: dict[str, Any],
    lineage: Lineage,
) -> Manifest:
    """Write `saved_model/`, `network.keras` and `manifest.json`.

    Args:
        network: From `features` and `n_frames` to logits.
        calibration: Of its logits.
        folder: The model folder; an older model in it is replaced.
        pipeline: Settings of the path from file to features.
        architecture: Network and training settings, for the reader.
        lineage: Where the network comes from.

    Returns:
        The manifest, its `metrics` still empty.
    """
    _clear(folder)
    served = _Served(network, calibration.temperature, len(pipeline.features.columns))
    tf.saved_model.save(
        served, str(folder / SAVED_MODEL), signatures={"serving_default": served.serve}
    )
    _save_bare(network, folder / NETWORK)
    manifest = replace(
        _manifest(network, folder, pipeline, lineage),
        architecture=architecture,
        temperature=calibration.temperature,
        certainty=calibration.certainty,
    )
    manifest.write(folder)
    return manifest


def export_head(
    head: keras.Model,
    calibration: Calibration,
    folder: Path,
    *,
    recipe: AccurateRecipe,
    lineage: Lineage,
) -> Manifest:
    """Write `head.keras` and `manifest.json` of a model that begins with Whisper's encoder.

    Args:
        head: From `vectors` and `n_vectors` to logits.
        calibration: Of its logits.
        folder: The model folder; an older model in it is replaced.
        recipe: How it was trained.
        lineage: Where it comes from.

    Returns:
        The manifest, its `metrics` still empty.

    Raises:
        ModelError: Whisper's weights cannot be had.
    """
    _clear(folder)
    _save_bare(head, folder / HEAD)
    manifest = replace(
        _manifest(head, folder, recipe.pipeline, lineage),
        architecture=recipe.settings,
        temperature=calibration.temperature,
        certainty=calibration.certainty,
        encoder=recipe.encoder,
    )
    probe = record_probe(folder, manifest, fetch_encoder(recipe.encoder))
    manifest = replace(manifest, probe=probe)
    manifest.write(folder)
    return manifest


def _clear(folder: Path) -> None:
    """Leave nothing of an older model in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _save_bare(network: keras.Model, path: Path) -> None:
    """Save a network without its optimiser."""
    bare = keras.Model.from_config(network.get_config())
    bare.set_weights(network.get_weights())
    bare.save(path)


def _manifest(
    network: keras.Model, folder: Path, pipeline: PipelineConfig, lineage: Lineage
) -> Manifest:
    """All that the manifests of the two kinds of model share."""
    split = lineage.split
    return Manifest(
        name=lineage.name,
        version=ser_core.__version__,
        labels=lineage.labels,
        columns=pipeline.features.columns,
        pipeline=pipeline,
        architecture={},
        n_parameters=int(sum(math.prod(w.shape) for w in network.trainable_weights)),
        temperature=1.0,
        corpora=_corpora(lineage.table),
        licence=LICENCE if {*lineage.table["corpus"]} & {*CORPORA} else OWN_LICENCE,
        split={"development": list(split.development), "test": list(split.test)},
        seed=lineage.seed,
        commit=lineage.commit,
        metrics={},
        files={path: sha256_of(folder / path) for path in _weight_files(folder)},
    )


def _weight_files(folder: Path) -> Sequence[str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files]


def _corpora(table: pd.DataFrame) -> tuple[dict[str, Any], ...]:
    learned = table[table["split"] == "train"]["corpus"].value_counts()
    known = tuple(
        {
            "name": name,
            "title": corpus.title,
            "licence": corpus.licence,
            "citation": corpus.citation,
            "source": corpus.source,
            "n_training_clips": int(learned[name]),
        }
        for name, corpus in CORPORA.items()
        if name in learned.index
    )
    own = tuple(
        {
            "name": str(name),
            "title": f"Recordings of a table, {str(name).removesuffix('.csv')}.csv",
            "licence": OWN_LICENCE,
            "citation": "",
            "source": "",
            "n_training_clips": int(n_clips),
        }
        for name, n_clips in learned.items()
        if name not in CORPORA
    )
    return known + own


def current_commit() -> str:
    """Commit of the package that runs, with `-dirty` where it has changed; or `unknown`."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    """What git says of the package's folder."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=Path(ser_core.__file__).parent,
        env=os.environ | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
