"""A model folder as a checked, lazily loaded callable."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ser_core.errors import ModelError
from ser_core.features import Features, pad_features
from ser_core.model.assemble import assemble, find_assembly
from ser_core.model.manifest import Manifest
from ser_core.model.saved_model import SAVED_MODEL, Signature, load_network, load_signature
from ser_core.whisper.weights import fetch_encoder

Probabilities = npt.NDArray[np.float32]

KERAS = ".keras"
"""Suffix of a Keras network, which needs the manifest beside it."""


class EmotionModel:
    """A SavedModel, or a Keras network, that turns feature frames into probabilities.

    TensorFlow and the graph are loaded on the first call, once, whichever thread
    comes first; calls from several threads are safe.

    Attributes:
        manifest: What the folder says of itself.
    """

    def __init__(self, file: Path, manifest: Manifest) -> None:
        """Take a verified SavedModel or Keras network; `load_model` is the way to get one."""
        self.manifest = manifest
        self._file = file
        self._lock = threading.Lock()
        self._serve: Signature | None = None

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

    def _load(self) -> Signature:
        with self._lock:
            if self._serve is None:
                self._serve = self._open()
            return self._serve

    def _open(self) -> Signature:
        if self._file.suffix == KERAS:
            import ser_core.model.layers  # noqa: F401  # a network may hold them

            return load_network(self._file, temperature=self.manifest.temperature)
        return load_signature(self._file, n_labels=len(self.labels))


def in_batches(
    network: Callable[[Features, npt.NDArray[np.int32]], npt.NDArray[np.float32]],
    clips: Sequence[Features],
    *,
    n_labels: int,
    at_once: int,
) -> npt.NDArray[np.float32]:
    """Ask a network for many clips, those of like length together.

    Args:
        network: Takes (n_clips, n_frames, n_features) and (n_clips,) true lengths, and gives
            (n_clips, n_labels).
        clips: (n_frames, n_features) each.
        n_labels: How many emotions it tells apart.
        at_once: How many clips it gets at once, which bounds the memory; the answers do not
            depend on it.

    Returns:
        (n_clips, n_labels) in the order given.
    """
    answers = np.empty((len(clips), n_labels), np.float32)
    by_length = np.argsort([len(clip) for clip in clips], kind="stable")
    for start in range(0, len(clips), at_once):
        rows = by_length[start : start + at_once]
        answers[rows] = network(*pad_features([clips[row] for row in rows]))
    return answers


def load_model(folder: str | Path) -> EmotionModel:
    """Open a model folder after checking that it matches itself.

    Args:
        folder: Folder with `manifest.json` and `saved_model/`; or, of a model that begins
            with Whisper's encoder, with `manifest.json` and the head, which is put
            together with the encoder in the user's cache on first use. Or the Keras
            network of such a folder, which then answers in place of its SavedModel.

    Returns:
        The model; its SavedModel is loaded on the first call.

    Raises:
        OfflineError: The encoder is not on this machine and the Hub cannot be reached.
        ModelError: The folder does not match its manifest; the message says what to do.
    """
    folder = Path(folder)
    if folder.suffix == KERAS:
        return EmotionModel(folder, _manifest_beside(folder))
    manifest = Manifest.read(folder)
    if manifest.encoder is not None:
        assembled = find_assembly(manifest)
        if assembled is None:
            assembled = assemble(folder, manifest, fetch_encoder(manifest.encoder))
        return EmotionModel(assembled / SAVED_MODEL, manifest)
    return EmotionModel(folder / SAVED_MODEL, manifest)


def _manifest_beside(network: Path) -> Manifest:
    """What says how sound becomes the features of a Keras network, and its columns emotions."""
    manifest = Manifest.read(network.parent)
    if network.name not in manifest.files or manifest.encoder is not None:
        raise ModelError(
            f"{network.name} is not the network of {network.parent.name}, whose manifest names "
            f"{', '.join(manifest.files)}. Name the model's folder instead."
        )
    return manifest
