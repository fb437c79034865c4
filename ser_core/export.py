"""Models for other runtimes: ONNX, and TensorFlow Lite.

An export is a model folder with one file in place of the network and of Whisper's encoder. It
takes and gives what the SavedModel does; what comes before, from file to features, is not in it.
"""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ser_core.errors import ModelError
from ser_core.model.assemble import PROBE_FRAMES, check_probe
from ser_core.model.emotion_model import EmotionModel, build_servable, load_model
from ser_core.model.manifest import FILE_NAME, TFLITE, Manifest, Probe, sha256_of
from ser_core.model.manifest import read_json as read_manifest
from ser_core.model.onnx_file import ONNX, load_onnx
from ser_core.model.saved_model import Signature, import_tensorflow
from ser_core.paths import default_cache, entry_name, holds_only, replacing

Format = Literal["onnx", "tflite"]

CARD = "README.md"
OPSET = 17
"""Version of ONNX's operators."""
EXPORT_FORMAT = 1
"""Raise it where the same model gives another export."""
PARITY = 1e-5
"""Largest difference of an output from that of the Keras network."""
_INTENSITY = (
    "| output | `intensity` | float32 | (n_clips,): probability that it is spoken strongly |\n"
)
_TEMPLATE = Path(__file__).with_name("export.md")


def export(model: EmotionModel, folder: Path, *, to: Format = "onnx") -> float:
    """Write a model as a folder for another runtime.

    Args:
        model: A model whose folder holds its Keras network; with an encoder, its weights are
            downloaded if need be, and lie in the export.
        folder: The folder to write; it replaces only an earlier export.
        to: The runtime.

    Returns:
        Largest difference of an output from the Keras network, on a synthetic input.

    Raises:
        ModelError: The model is an export itself, cannot be converted, or gives other answers
            then; or a package is missing.
        OutputError: The folder cannot be written, or holds something else.
    """
    if model.manifest.exported is not None:
        raise ModelError(f"{model.folder} is an export. Name the model that it was made of.")
    with replacing(folder, is_export) as draft:
        draft.mkdir()
        servable = build_servable(model, fuse=to == "onnx")
        name, write, load = _RUNTIMES[to]
        write(servable, draft / name, model.manifest)
        served = load(draft / name, n_labels=len(model.labels))
        distance = _distance(served, servable.serve, model.manifest)
        if not distance <= PARITY:
            raise ModelError(
                f"{name} misses the answers of {model.manifest.name} by {distance:.2g}; at most "
                f"{PARITY:g} is allowed. Use the versions of pyproject.toml."
            )
        manifest = replace(model.manifest, files={name: sha256_of(draft / name)})
        check_probe(served, manifest)
        manifest.write(draft)
        (draft / CARD).write_text(_card(manifest, draft / name, distance), encoding="utf-8")
    return distance


def is_export(folder: Path) -> bool:
    """Return whether a folder is empty, or an export without other files."""
    if not (folder / FILE_NAME).is_file():
        return holds_only(folder, ())
    files = list(read_manifest(folder)["files"])
    return files in ([ONNX], [TFLITE]) and holds_only(folder, [FILE_NAME, CARD, *files])


def open_onnx(model: EmotionModel) -> EmotionModel:
    """Return a model's ONNX export from the user's cache; the first time it is written there.

    That happens in a process of its own, so that TensorFlow is in no other.

    Raises:
        ModelError: As `export`.
        OutputError: The cache cannot be written.
    """
    if model.manifest.exported is not None:
        return model
    key, name = model.manifest.digest, model.manifest.name  # of weights and settings
    folder = default_cache() / "onnx" / entry_name(EXPORT_FORMAT, key, prefix=f"{name}-")
    try:
        return load_model(folder)
    except ModelError:  # missing or damaged
        _check_packages()
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(_export_folder, model.path, folder).result()
    return load_model(folder)


def _export_folder(path: Path, folder: Path) -> None:
    export(load_model(path), folder)


def _distance(served: Signature, original: Signature, manifest: Manifest) -> float:
    probe = manifest.probe or Probe(seed=0, n_frames=PROBE_FRAMES, probabilities=())
    features, n_frames = probe.batch(len(manifest.columns))
    found, expected = (serve(features=features, n_frames=n_frames) for serve in (served, original))
    return max(float(np.abs(found[key] - np.asarray(expected[key])).max()) for key in expected)


def _card(manifest: Manifest, file: Path, distance: float) -> str:
    encoder = manifest.encoder
    return _TEMPLATE.read_text(encoding="utf-8").format(
        manifest=manifest,
        file=file.name,
        size_mb=file.stat().st_size / 1e6,
        runtime=f"ONNX, opset {OPSET}" if file.name == ONNX else "TensorFlow Lite",
        n_columns=len(manifest.columns),
        n_labels=len(manifest.labels),
        labels=", ".join(manifest.labels),
        intensity=_INTENSITY if manifest.has_intensity else "",
        groups=", ".join(manifest.pipeline.features.groups),
        distance=distance,
        encoder=""
        if encoder is None
        else f"\nThe file also holds the first {encoder.n_blocks} blocks of the encoder of "
        f"`{encoder.repo}` (MIT licence), which is not part of MoodMirror.\n",
    )


def _check_packages() -> None:
    for package in ("onnx", "onnxruntime", "tf2onnx"):
        if find_spec(package) is None:
            raise ModelError(
                f"{package} is not installed, and the export needs it. "
                "Install it with: pip install '.[export]'"
            )


def _write_onnx(servable: Any, path: Path, manifest: Manifest) -> None:
    _check_packages()
    import onnx
    import tf2onnx

    serve = servable.serve
    proto, _ = tf2onnx.convert.from_function(
        serve,
        input_signature=serve.input_signature,
        opset=OPSET,
        custom_op_handlers={"BlockLSTM": (_convert_lstm, []), "Erfc": (_convert_erfc, [])},
    )
    graph = proto.graph
    # Constants that Keras keeps outside the graph come out as inputs.
    inputs = {value.name: tensor for tensor, value in serve.get_concrete_function().graph.captures}
    for value in [value for value in graph.input if value.name in inputs]:
        graph.initializer.append(
            onnx.numpy_helper.from_array(inputs[value.name].numpy(), value.name)
        )
        graph.input.remove(value)
    sizes = {"features": ["n_clips", "n_frames"], "n_frames": ["n_clips"]}
    for value in (*graph.input, *graph.output):
        for name, dim in zip(
            sizes.get(value.name, ["n_clips"]), value.type.tensor_type.shape.dim, strict=False
        ):
            dim.dim_param = name
    about = {"labels": json.dumps(manifest.labels), "licence": manifest.licence}
    onnx.helper.set_model_props(proto, {"name": manifest.name, "version": manifest.version} | about)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def _convert_erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """Write `Erfc`, which ONNX lacks, as 1 - `Erf`; a function that tf2onnx calls."""
    one = graph.make_const(f"{name}/one", np.array(1.0, np.float32))
    erf = graph.make_node("Erf", node.input)
    _replace(graph, node, node.output[0], "Sub", [one.output[0], erf.output[0]])


def _convert_lstm(graph: Any, node: Any, name: str, _: Any) -> None:
    """Write `BlockLSTM` as ONNX's LSTM; a function that tf2onnx calls.

    The gates of the kernel are (input, cell, forget, output), and (input, output, forget, cell)
    in ONNX. Outputs other than the hidden states are not read by any network, see `BlockLstm`.
    """
    _, steps, cell, hidden, kernel, *_, bias = node.input
    kernel, bias = (
        _onnx_order(graph.get_node_by_output(v).get_tensor_value(False)) for v in (kernel, bias)
    )
    n_units = len(bias) // 4
    n_inputs = len(kernel) - n_units

    def constant(part: str, value: npt.NDArray[Any]) -> str:
        return str(graph.make_const(f"{name}/{part}", np.ascontiguousarray(value)).output[0])

    first, second = (constant(f"axis_{i}", np.array([i], np.int64)) for i in (0, 1))
    states = [graph.make_node("Unsqueeze", [v, first]).output[0] for v in (hidden, cell)]
    lstm = graph.make_node(
        "LSTM",
        [
            steps,  # (n_steps, n_clips, n_inputs)
            constant("kernel", kernel[:n_inputs].T[None]),
            constant("recurrent_kernel", kernel[n_inputs:].T[None]),
            constant("bias", np.pad(bias, (0, 4 * n_units))[None]),
            "",  # lengths: all clips have all steps
            *states,
        ],
        attr={"hidden_size": n_units},
    )
    _replace(graph, node, node.output[6], "Squeeze", [lstm.output[0], second])


def _onnx_order(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    entry, cell, forget, output = np.split(weights, 4, axis=-1)
    return np.concatenate([entry, output, forget, cell], axis=-1)


def _replace(graph: Any, node: Any, output: str, kind: str, inputs: list[str]) -> None:
    """Put another operation in a node's place, which gives one of its outputs."""
    shape, dtype = graph.get_shape(output), graph.get_dtype(output)
    graph.remove_node(node.name)
    graph.make_node(kind, inputs, outputs=[output], name=node.name, shapes=[shape], dtypes=[dtype])


def _write_tflite(servable: Any, path: Path, _: Manifest) -> None:
    """Write a model of one clip: TensorFlow Lite's loops need states of a fixed size."""
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    names = sorted(servable.serve.get_concrete_function().structured_outputs)
    features, n_frames = servable.serve.input_signature
    one_clip = [
        tf.TensorSpec((1, *features.shape[1:]), features.dtype, name=features.name),
        tf.TensorSpec((1,), n_frames.dtype, name=n_frames.name),
    ]
    function = tf.function(servable.serve.python_function, input_signature=one_clip)
    frozen = convert_variables_to_constants_v2(
        function.get_concrete_function(), lower_control_flow=False
    )  # its loops cannot read variables

    def serve(features: Any, n_frames: Any) -> dict[str, Any]:
        return dict(zip(names, frozen(features, n_frames), strict=True))

    module = tf.Module()
    module.serve = tf.function(serve, input_signature=one_clip)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.serve.get_concrete_function()], module
    )
    path.write_bytes(converter.convert())


def _load_tflite(path: Path, *, n_labels: int) -> Signature:  # noqa: ARG001
    serve = import_tensorflow().lite.Interpreter(str(path)).get_signature_runner()

    def serve_each(*, features: Any, n_frames: Any) -> dict[str, Any]:
        rows = [
            serve(features=clip[None, :n], n_frames=np.array([n], np.int32))
            for clip, n in zip(features, n_frames, strict=True)
        ]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

    return serve_each


_RUNTIMES: dict[Format, tuple[str, Callable[..., None], Callable[..., Signature]]] = {
    "onnx": (ONNX, _write_onnx, load_onnx),
    "tflite": (TFLITE, _write_tflite, _load_tflite),
}
