"""Keras networks and SavedModels as functions from features to probabilities."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ser_core.errors import ModelError
from ser_core.whisper.weights import first_line

SAVED_MODEL = "saved_model"
"""Name of the SavedModel inside a model folder."""
NETWORK = "network.keras"
"""Name of the Keras network beside it, for further training."""

THREADS_VARIABLE = "MOODMIRROR_THREADS"
"""Environment variable with the number of threads of a model's runtime."""

Signature = Callable[..., dict[str, Any]]


def n_threads() -> int:
    """Return `MOODMIRROR_THREADS`, or 0 for as many threads as the runtime chooses.

    Raises:
        ModelError: It is no whole number.
    """
    value = os.environ.get(THREADS_VARIABLE) or "0"
    if not (value.isascii() and value.isdigit()):
        raise ModelError(f"{THREADS_VARIABLE} is {value}; expected a number such as 1.")
    return int(value)


def import_tensorflow() -> Any:
    """Return the module `tensorflow`, its log kept quiet unless the environment says otherwise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    if n_threads():
        tensorflow.config.threading.set_intra_op_parallelism_threads(n_threads())
        tensorflow.config.threading.set_inter_op_parallelism_threads(n_threads())
    return tensorflow


def make_servable(network: Any, *, n_columns: int, n_labels: int, temperature: float) -> Any:
    """Return a `tf.Module` that holds a network and whose `serve` gives probabilities.

    Args:
        network: Keras model from `features` (n_clips, n_frames, n_columns) and `n_frames`
            (n_clips,) to logits: (n_clips, n_labels) of the emotions, and one more column where
            it has an intensity.
        n_columns: Features of a frame.
        n_labels: Number of emotions.
        temperature: Divisor of the emotions' logits before the softmax.

    Returns:
        The module; `serve` is a `tf.function` for any number of clips and frames. What it returns
        holds `probabilities` (n_clips, n_labels), and `intensity` (n_clips,) if there is one.
    """
    tf = import_tensorflow()
    module = tf.Module()
    module.network = network

    def serve(features: Any, n_frames: Any) -> dict[str, Any]:
        logits = network({"features": features, "n_frames": n_frames}, training=False)
        outputs = {"probabilities": tf.nn.softmax(logits[:, :n_labels] / temperature)}
        if logits.shape[-1] > n_labels:
            outputs["intensity"] = tf.sigmoid(logits[:, n_labels])
        return outputs

    module.serve = tf.function(
        serve,
        input_signature=[
            tf.TensorSpec((None, None, n_columns), tf.float32, name="features"),
            tf.TensorSpec((None,), tf.int32, name="n_frames"),
        ],
    )
    return module


def save_servable(module: Any, folder: Path) -> None:
    """Write what `make_servable` returned as a SavedModel.

    The weights stay variables: as constants of the graph they are no faster, load more slowly
    and take 500 MB more for Whisper's encoder. Raises OSError where the disk is full.
    """
    tf = import_tensorflow()
    try:
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    except tf.errors.OpError as error:  # whose class depends on the error of the file system
        raise OSError(error.message.rpartition("; ")[2].partition(" [Op:")[0]) from error


def load_signature(folder: Path, *, n_labels: int) -> Signature:
    """Load the `serving_default` of a SavedModel.

    Args:
        folder: The SavedModel.
        n_labels: Expected number of emotions.

    Returns:
        A function of `features` and `n_frames`, which returns what `make_servable` says.

    Raises:
        ModelError: It cannot be loaded, or has another number of emotions.
    """
    tf = import_tensorflow()
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
        width = signature.structured_outputs["probabilities"].shape[-1]
    # TensorFlow raises errors of any type for files that it has not written itself.
    except Exception as error:
        raise ModelError(
            f"{folder.name} cannot be loaded: {first_line(error)}. Download the whole model again."
        ) from error
    if width != n_labels:
        raise ModelError(
            f"{folder.name} gives {width} columns, but the manifest names "
            f"{n_labels} emotions. Export the model again."
        )
    # The signature holds its variables only while the loaded object lives.
    signature._keep_alive = loaded
    return signature  # type: ignore[no-any-return]
