"""SavedModels, and the Keras networks beside them, as functions from features to probabilities."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ser_core.errors import ModelError

SAVED_MODEL = "saved_model"
"""Name of the SavedModel inside a model folder."""

NETWORK = "network.keras"
"""Name of the Keras network beside it, for those who train on."""

Signature = Callable[..., dict[str, Any]]


def import_tensorflow() -> Any:
    """TensorFlow, which greets on stderr unless told not to before it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow

    return tensorflow


def load_signature(folder: Path, *, n_labels: int) -> Signature:
    """Load the `serving_default` of a SavedModel.

    Args:
        folder: The SavedModel.
        n_labels: How many emotions it has to answer with.

    Returns:
        A function of `features` and `n_frames`; its answer holds `probabilities`.

    Raises:
        ModelError: It cannot be loaded, or answers with another number of emotions.
    """
    tf = import_tensorflow()
    try:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise ModelError(
            f"{folder.name} cannot be loaded: {error}. Fetch the whole model again."
        ) from error
    width = signature.structured_outputs["probabilities"].shape[-1]
    if width != n_labels:
        raise ModelError(
            f"{folder.name} answers with {width} columns, but the manifest names "
            f"{n_labels} emotions. Export the model again."
        )
    # The signature holds its variables only while the loaded object lives.
    signature._keep_alive = loaded
    return signature  # type: ignore[no-any-return]


def load_network(path: Path, *, temperature: float) -> Signature:
    """Load a Keras network as the function that its SavedModel would be.

    Args:
        path: File of a network from `features` and `n_frames` to logits; layers of our own
            have to be imported before.
        temperature: What the logits are divided by.

    Returns:
        A function of `features` and `n_frames`; its answer holds `probabilities`.

    Raises:
        ModelError: It cannot be loaded.
    """
    tf = import_tensorflow()
    import keras

    try:
        network = keras.models.load_model(path, compile=False)
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path.name} cannot be opened: {error}. Fetch the whole model again."
        ) from error

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def serve(features: Any, n_frames: Any) -> dict[str, Any]:
        logits = network({"features": features, "n_frames": n_frames}, training=False)
        return {"probabilities": tf.nn.softmax(logits / temperature)}

    return serve  # type: ignore[no-any-return]
