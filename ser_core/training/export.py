"""From a trained network to a model folder that serving accepts."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import pandas as pd
import tensorflow as tf

import ser_core
from ser_core.config import PipelineConfig
from ser_core.labels import LABELS
from ser_core.manifest import FILE_NAME, Manifest, sha256_of
from ser_core.model import SAVED_MODEL
from ser_core.training.corpora import CORPORA
from ser_core.training.fit import TrainConfig, TrainedNetwork
from ser_core.training.splits import SpeakerSplit

NETWORK = "network.keras"
"""The Keras network beside the SavedModel, for those who train on."""
LICENCE = "CC-BY-NC-SA-4.0"
"""Of the weights: the corpora allow no commercial use."""


class _Served(tf.Module):  # type: ignore[misc]
    """The network with its temperature and a softmax, for any batch and any length."""

    def __init__(self, network: keras.Model, temperature: float, n_features: int) -> None:
        super().__init__()
        self.network = network
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


def export_model(
    trained: TrainedNetwork,
    folder: Path,
    *,
    pipeline: PipelineConfig,
    settings: TrainConfig,
    table: pd.DataFrame,
    split: SpeakerSplit,
    commit: str,
) -> Manifest:
    """Write `saved_model/`, `network.keras` and `manifest.json`.

    Args:
        trained: The network and its temperature.
        folder: The model folder; an older model in it is replaced.
        pipeline: Settings of the path from file to features.
        settings: Network and schedule.
        table: The clips that it learned from.
        split: The speakers that were held out.
        commit: Commit of the code when training began.

    Returns:
        The manifest, its `metrics` still empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).unlink(missing_ok=True)
    shutil.rmtree(folder / SAVED_MODEL, ignore_errors=True)
    served = _Served(trained.network, trained.temperature, len(pipeline.features.columns))
    tf.saved_model.save(
        served, str(folder / SAVED_MODEL), signatures={"serving_default": served.serve}
    )
    bare = keras.models.clone_model(trained.network)
    bare.set_weights(trained.network.get_weights())
    bare.save(folder / NETWORK)
    manifest = Manifest(
        name=trained.network.name,
        version=ser_core.__version__,
        labels=LABELS,
        columns=pipeline.features.columns,
        pipeline=pipeline,
        architecture=asdict(settings),
        n_parameters=int(sum(w.shape.num_elements() for w in trained.network.trainable_weights)),
        temperature=trained.temperature,
        corpora=_corpora(table),
        licence=LICENCE,
        split={"development": list(split.development), "test": list(split.test)},
        seed=trained.seed,
        commit=commit,
        metrics={},
        files={path: sha256_of(folder / path) for path in _weight_files(folder)},
    )
    manifest.write(folder)
    return manifest


def _weight_files(folder: Path) -> Sequence[str]:
    saved = sorted(path for path in (folder / SAVED_MODEL).rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in [*saved, folder / NETWORK]]


def _corpora(table: pd.DataFrame) -> tuple[dict[str, Any], ...]:
    learned = table[table["split"] == "train"]["corpus"].value_counts()
    return tuple(
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


def current_commit() -> str:
    """Commit of the code that runs, with `-dirty` where it has changed; or `unknown`."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            env=os.environ | {"LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
