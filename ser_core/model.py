"""A model folder as a checked, lazily loaded callable."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_core.errors import ModelError
from ser_core.features import Features
from ser_core.manifest import Manifest

SAVED_MODEL = "saved_model"
"""Name of the SavedModel inside a model folder."""

Probabilities = npt.NDArray[np.float32]


class EmotionModel:
    """A bundled SavedModel that turns feature frames into probabilities.

    TensorFlow and the graph are loaded on the first call, once, whichever thread
    comes first; calls from several threads are safe.

    Attributes:
        manifest: What the folder says of itself.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Take a verified folder; `load_model` is the way to get one."""
        self.manifest = manifest
        self._folder = folder
        self._lock = threading.Lock()
        self._serve: Callable[..., dict[str, Any]] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Emotions in the order of the output's columns."""
        return self.manifest.labels

    def __call__(
        self, features: Features, n_frames: npt.NDArray[np.int32] | None = None
    ) -> Probabilities:
        """Judge a batch of clips.

        Args:
            features: (n_clips, n_frames, n_features) float32, not standardised.
            n_frames: (n_clips,) int32 true lengths; None where nothing is padding.

        Returns:
            (n_clips, n_emotions) float32; each row sums to 1.

        Raises:
            ModelError: The features have another shape than the model takes, or the
                SavedModel cannot be loaded.
        """
        n_columns = len(self.manifest.columns)
        if features.ndim != 3 or features.shape[2] != n_columns:
            raise ModelError(
                f"The features have shape {features.shape}; this model takes "
                f"(n_clips, n_frames, {n_columns}): {', '.join(self.manifest.columns)}."
            )
        if n_frames is None:
            n_frames = np.full(len(features), features.shape[1], dtype=np.int32)
        answer = self._load()(features=features, n_frames=n_frames)
        return np.asarray(answer["probabilities"], dtype=np.float32)

    def _load(self) -> Callable[..., dict[str, Any]]:
        with self._lock:
            if self._serve is None:
                self._serve = _load_signature(self._folder / SAVED_MODEL, self.manifest)
            return self._serve


def load_model(folder: str | Path) -> EmotionModel:
    """Open a model folder after checking that it matches itself.

    Args:
        folder: Folder with `manifest.json` and `saved_model/`.

    Returns:
        The model; its SavedModel is loaded on the first call.

    Raises:
        ModelError: The folder does not match its manifest; the message says what to do.
    """
    folder = Path(folder)
    return EmotionModel(folder, Manifest.read(folder))


def _load_signature(folder: Path, manifest: Manifest) -> Callable[..., dict[str, Any]]:
    # TensorFlow greets on stderr unless told not to before it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
        serve = loaded.signatures["serving_default"]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise ModelError(
            f"{folder.name} cannot be loaded: {error}. Fetch the whole model again."
        ) from error
    width = serve.structured_outputs["probabilities"].shape[-1]
    if width != len(manifest.labels):
        raise ModelError(
            f"{folder.name} answers with {width} columns, but the manifest names "
            f"{len(manifest.labels)} emotions. Export the model again."
        )
    # The signature holds its variables only while the loaded object lives.
    serve._keep_alive = loaded
    return serve  # type: ignore[no-any-return]
