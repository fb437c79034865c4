"""A model folder as a checked callable that is loaded on first use."""

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_core.errors import ModelError
from ser_core.features import Features, pad_features
from ser_core.model.assemble import assemble, check_probe, connect_encoder, find_assembly
from ser_core.model.manifest import Manifest, check_files
from ser_core.model.onnx_file import ONNX, load_onnx
from ser_core.model.saved_model import (
    NETWORK,
    SAVED_MODEL,
    Signature,
    import_tensorflow,
    load_signature,
    make_servable,
)
from ser_core.whisper.weights import fetch_encoder, find_encoder

Probabilities = npt.NDArray[np.float32]
Outputs = npt.NDArray[np.float32]
"""(n_clips, n_emotions) probabilities, and a last column, the intensity, where the model has it."""

KERAS = ".keras"
"""Suffix of a Keras network, which needs the manifest in its folder."""


class EmotionModel:
    """A SavedModel, a Keras network or an ONNX file, from feature frames to probabilities.

    TensorFlow, or ONNX Runtime, and the graph are loaded by the first call, once; calls from
    several threads are safe. A model with Whisper's encoder is then assembled in the user's cache,
    if it is not yet.

    Attributes:
        path: The model folder, or the Keras network or ONNX file in it.
        manifest: Manifest of the folder.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Take a folder whose manifest has been checked, see `load_model`."""
        self.path = path
        self.manifest = manifest
        self._lock = threading.Lock()
        self._serve: Signature | None = None

    @property
    def folder(self) -> Path:
        """The model folder."""
        return self.path.parent if self.path.is_file() else self.path

    @property
    def labels(self) -> tuple[str, ...]:
        """Emotions in the order of the output's columns."""
        return self.manifest.labels

    def __call__(
        self, features: Features, n_frames: npt.NDArray[np.int32] | None = None
    ) -> Probabilities:
        """Return the probabilities of a batch of clips.

        Args:
            features: (n_clips, n_frames, n_features) float32, not standardised.
            n_frames: (n_clips,) int32 true lengths; None where nothing is padding.

        Returns:
            (n_clips, n_emotions) float32; each row sums to 1.

        Raises:
            OfflineError: The encoder is not on this machine and the Hub cannot be reached.
            ModelError: The features have another shape, or the model cannot be loaded.
        """
        return self.infer(features, n_frames)[:, : len(self.labels)]

    def infer(self, features: Features, n_frames: npt.NDArray[np.int32] | None = None) -> Outputs:
        """Return all outputs for a batch of clips; arguments and errors are as in `__call__`."""
        n_columns = len(self.manifest.columns)
        if features.ndim != 3 or features.shape[2] != n_columns:
            raise ModelError(
                f"The features have shape {features.shape}; this model takes "
                f"(n_clips, n_frames, {n_columns}): {', '.join(self.manifest.columns)}."
            )
        if n_frames is None:
            n_frames = np.full(len(features), features.shape[1], dtype=np.int32)
        with self._lock:
            self._serve = self._serve or self._load()
        answer = self._serve(features=features, n_frames=n_frames)
        if self.manifest.has_intensity != ("intensity" in answer):
            raise ModelError(
                "The manifest and the network disagree on whether there is an intensity. Export "
                "the model again."
            )
        outputs = np.asarray(answer["probabilities"], dtype=np.float32)
        if not self.manifest.has_intensity:
            return outputs
        return np.column_stack([outputs, np.asarray(answer["intensity"], dtype=np.float32)])

    @property
    def is_local(self) -> bool:
        """Whether the model can be loaded without the network."""
        encoder = self.manifest.encoder
        if encoder is None or self.manifest.exported:
            return True
        return bool(self._assembly or find_encoder(encoder))

    def download_weights(self) -> None:
        """Download the encoder, if the model needs it and the cache lacks it.

        Raises:
            OfflineError: The Hub cannot be reached.
            ModelError: The Hub does not provide the file.
        """
        if not self.is_local and self.manifest.encoder is not None:
            fetch_encoder(self.manifest.encoder)

    @cached_property
    def _assembly(self) -> Path | None:
        return find_assembly(self.manifest)

    def _load(self) -> Signature:
        manifest, path, n_labels = self.manifest, self.path, len(self.labels)
        if path.name == ONNX:
            serve = load_onnx(path, n_labels=n_labels)
        elif path.suffix == KERAS:
            serve = build_servable(self).serve
        elif manifest.encoder is None:
            serve = load_signature(path / SAVED_MODEL, n_labels=n_labels)
        else:
            path = self._assembly or assemble(path, manifest, fetch_encoder(manifest.encoder))
            serve = load_signature(path / SAVED_MODEL, n_labels=n_labels)
        check_probe(serve, manifest)
        return serve


def build_servable(model: EmotionModel, *, fuse: bool = True) -> Any:
    """Return what `make_servable` does of a model's Keras network, behind its encoder if any.

    Args:
        model: A model whose folder holds `network.keras` or a head.
        fuse: Whether its LSTMs are one operation each, see `fuse_lstms`.

    Raises:
        ModelError: The network is missing or cannot be opened, or the encoder cannot be fetched.
    """
    manifest = model.manifest
    if manifest.encoder is not None and manifest.exported is None:
        weights = fetch_encoder(manifest.encoder)
        return connect_encoder(model.folder, manifest, weights, fuse=fuse)
    name = model.path.name if model.path.suffix == KERAS else NETWORK
    if name not in manifest.files:
        raise ModelError(
            f"{model.folder.name} contains no {name}, from which all else is made. Name the "
            "folder that the training wrote."
        )
    import_tensorflow()  # before Keras does, for the number of threads
    from ser_core.model.layers import check_ends, fuse_lstms, load_keras, unfuse_lstms

    network, n_columns = load_keras(model.folder / name), len(manifest.columns)
    inputs = {"features": (None, None, n_columns), "n_frames": (None,)}
    check_ends(network, inputs, manifest.n_outputs)
    network = fuse_lstms(network) if fuse else unfuse_lstms(network)
    return make_servable(
        network,
        n_columns=n_columns,
        n_labels=len(manifest.labels),
        temperature=manifest.temperature,
    )


def load_model(path: str | Path, *, trust: bool = False) -> EmotionModel:
    """Open a model folder after checking its files against its manifest.

    A SavedModel is a program, which can read, write and send files of this machine. The one that
    comes with the code is run; one of others is run with `trust` only. Without it, the Keras
    network in the same folder is loaded instead, which has the same weights and runs no code of
    its own, see `ser_core.model.keras_file`.

    Args:
        path: Folder with `manifest.json` and a SavedModel, a Keras network or both; or, of a
            model with Whisper's encoder, with `manifest.json` and the head; or of an export, with
            `manifest.json` and `model.onnx`. Or the Keras network of a folder of the first kind,
            to be used in place of its SavedModel.
        trust: Whether the folder's SavedModel may run.

    Raises:
        ModelError: The folder does not match its manifest, or holds a SavedModel alone that is
            not trusted.
    """
    path = Path(path)
    if path.suffix == KERAS:
        return _open_network(path)
    if path.name == ONNX and path.is_file():
        path = path.parent
    manifest = Manifest.parse(path)
    files = manifest.files_to_load(trust=trust)
    check_files(path, files)
    if ONNX in files:
        return EmotionModel(path / ONNX, manifest)
    if manifest.exported is not None:
        raise ModelError(
            f"{path.name} contains a {manifest.exported}, which is for other programs. Export the "
            "model with --to onnx."
        )
    has_graph = any(file.startswith(f"{SAVED_MODEL}/") for file in files)
    if has_graph or manifest.encoder is not None:
        return EmotionModel(path, manifest)
    if NETWORK not in files:
        raise ModelError(
            f"{path.name} contains a SavedModel and no {NETWORK}. A SavedModel is a program: it "
            "can read, write and send files of this machine. If you trust its author, run it with "
            "--trust, MOODMIRROR_TRUST=1 or trust=True; otherwise ask for the model with its "
            f"{NETWORK}."
        )
    return EmotionModel(path / NETWORK, manifest)


def _open_network(path: Path) -> EmotionModel:
    manifest = Manifest.parse(path.parent)
    if path.name not in manifest.files or manifest.encoder is not None:
        raise ModelError(
            f"{path.name} is not the network of {path.parent.name}, whose manifest names "
            f"{', '.join(manifest.files)}. Name the model's folder instead."
        )
    check_files(path.parent, {path.name: manifest.files[path.name]})
    return EmotionModel(path, manifest)


def in_batches(
    network: Callable[[Features, npt.NDArray[np.int32]], npt.NDArray[np.float32]],
    clips: Sequence[Features],
    *,
    n_outputs: int,
    at_once: int,
) -> npt.NDArray[np.float32]:
    """Run a network over many clips, those of similar length together.

    Args:
        network: From (n_clips, n_frames, n_features) and (n_clips,) true lengths to
            (n_clips, n_outputs).
        clips: (n_frames, n_features) each.
        n_outputs: Columns of the result.
        at_once: Clips in a batch, which bounds the memory; the result does not depend on it.

    Returns:
        (n_clips, n_outputs) in the order given.
    """
    answers = np.empty((len(clips), n_outputs), np.float32)
    by_length = np.argsort([len(clip) for clip in clips], kind="stable")
    for start in range(0, len(clips), at_once):
        rows = by_length[start : start + at_once]
        answers[rows] = network(*pad_features([clips[row] for row in rows]))
    return answers
