"""ONNX files as functions from features to probabilities, run without TensorFlow."""

from pathlib import Path
from typing import Any

from ser_core.errors import ModelError
from ser_core.model.saved_model import Signature, n_threads
from ser_core.whisper.weights import first_line

ONNX = "model.onnx"
"""Name of the ONNX file in a model folder that `ser_core.export` wrote."""
ERRORS_ONLY = 3
"""Severity from which ONNX Runtime logs."""


def load_onnx(path: Path, *, n_labels: int) -> Signature:
    """Load an ONNX file.

    Args:
        path: The file.
        n_labels: Expected number of emotions.

    Returns:
        A function of `features` and `n_frames`, which returns what `make_servable` says.

    Raises:
        ModelError: ONNX Runtime is not installed; or the file cannot be loaded, or has another
            number of emotions.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{error.name} is not installed, and {path.name} needs it. "
            "Install it with: pip install '.[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads()
    options.log_severity_level = ERRORS_ONLY
    # Threads that wait for work in a loop take the processor from all else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        outputs = {output.name: output for output in session.get_outputs()}
        width = outputs["probabilities"].shape[-1]
    # ONNX Runtime raises errors of any type for files that it does not understand.
    except Exception as error:
        raise ModelError(
            f"{path.name} cannot be loaded: {first_line(error)}. Export the model again."
        ) from error
    if width != n_labels:
        raise ModelError(
            f"{path.name} gives {width} columns, but the manifest names {n_labels} "
            "emotions. Export the model again."
        )

    def serve(*, features: Any, n_frames: Any) -> dict[str, Any]:
        found = session.run([*outputs], {"features": features, "n_frames": n_frames})
        return dict(zip(outputs, found, strict=True))

    return serve
