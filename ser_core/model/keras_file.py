"""`.keras` files of anyone, checked before Keras loads them.

Keras builds what `config.json` names, and some of its classes run code, open files or take all
memory. So the whole file is checked first: its members, each class, each number, each array of
weights, and the number of weights that the network needs.
"""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zipfile import ZipFile

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
MAX_BYTES = {METADATA: 10_000, CONFIG: 10_000_000, WEIGHTS: 100_000_000}
"""Members of the zip, all of them needed, and their largest unpacked size."""
MAX_WEIGHTS = 25_000_000
"""Most weights of a network: 100 MB as float32."""
MAX_LAYERS = 1_000
"""Most layers of a network, those of its parts included."""
MAX_ARRAYS = 3_000
"""Most groups and arrays in the file of weights."""
MAX_NUMBER = 100_000
"""Largest integer in `config.json`, such as a width or a padding."""
ANY_NUMBER = ("seed", "shared_object_id")
"""Keys of integers that may be larger."""

REGISTERED = ">"
"""Part of each name under which a class is registered; Keras builds it from the name alone."""
OWN = {
    "AttentivePooling": "moodmirror>AttentivePooling",
    "BandDropout": "moodmirror>BandDropout",
    "BlockLstm": "moodmirror>BlockLstm",
    "FrameMask": "moodmirror>FrameMask",
    "FrequencyMask": "moodmirror>BandDropout",
}
"""Layers of this project by class, with their registered names."""
LAYERS = {
    "Activation", "Add", "Average", "AveragePooling1D", "BatchNormalization", "Bidirectional",
    "Concatenate", "Conv1D", "Dense", "DepthwiseConv1D", "Dropout", "ELU", "Flatten", "GRU",
    "GaussianNoise", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "Identity", "InputLayer",
    "LSTM", "LayerNormalization", "LeakyReLU", "Masking", "MaxPooling1D", "Maximum", "Minimum",
    "MultiHeadAttention", "Multiply", "Normalization", "PReLU", "Permute", "ReLU", "Rescaling",
    "Reshape", "SeparableConv1D", "SimpleRNN", "Softmax", "SpatialDropout1D", "Subtract",
    "ZeroPadding1D",
}  # fmt: skip
CLASSES = {
    "keras": {"DTypePolicy"},
    "keras.constraints": {"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"},
    "keras.initializers": {
        "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal",
        "LecunUniform", "Ones", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal",
        "VarianceScaling", "Zeros",
    },
    "keras.layers": LAYERS,
    "keras.regularizers": {"L1", "L1L2", "L2"},
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.core": {"Cast"},
    "keras.src.ops.nn": {
        "Elu", "Gelu", "HardSigmoid", "LeakyRelu", "LogSoftmax", "Relu", "Relu6", "Selu",
        "Sigmoid", "Silu", "Softmax", "Softplus", "Softsign", "Tanh",
    },
    "keras.src.ops.numpy": {
        "Abs", "Absolute", "Add", "Clip", "Concatenate", "Divide", "Equal", "Exp", "ExpandDims",
        "FloorDivide", "GetItem", "Greater", "GreaterEqual", "Less", "LessEqual", "Log", "Log10",
        "LogicalAnd", "LogicalNot", "LogicalOr", "Max", "Maximum", "Mean", "Min", "Minimum",
        "Mod", "Multiply", "Negative", "Power", "Reshape", "Sqrt", "Square", "Squeeze", "Stack",
        "Std", "Subtract", "Sum", "Swapaxes", "Tanh", "Transpose", "TrueDivide", "Var", "Where",
    },
}  # fmt: skip
"""Classes of Keras that a network may consist of, by the module that names them in the file.

None of them runs code of the file, opens another file, or repeats its input.
"""
VALUES = {"__keras_tensor__", "__slice__", "__ellipsis__", "__numpy__", "__tensor__"}
"""Values that are no classes."""
DTYPES = {"bool", "int32", "int64", "float16", "bfloat16", "float32", "float64"}


def check_file(path: Path) -> None:
    """Check that Keras can load a file without running code or exceeding the limits above.

    The layers of this project have to be imported before.

    Raises:
        ValueError: It holds something else. Damaged files raise errors of any type.
    """
    with ZipFile(path) as archive:
        _check_members(archive)
        config = json.loads(archive.read(CONFIG))
        _check_weights(archive.read(WEIGHTS))
    if not isinstance(config, dict):
        raise ValueError(f"{CONFIG} is no object")
    config["compile_config"] = None  # not read where `compile=False`
    if (fault := next(_faults(config), None)) is not None:
        raise ValueError(fault)
    if (n_layers := _n_configured(config)) > MAX_LAYERS:
        raise ValueError(f"it has {n_layers:,} layers; at most {MAX_LAYERS:,} are allowed")
    with ThreadPoolExecutor(1) as pool:  # Keras keeps variables without values by thread
        n_weights = pool.submit(_count_weights, config).result()
    if n_weights > MAX_WEIGHTS:
        raise ValueError(f"it has {n_weights:,} weights; at most {MAX_WEIGHTS:,} are allowed")


def _check_members(archive: ZipFile) -> None:
    names = [member.filename for member in archive.infolist()]
    if sorted(names) != sorted(MAX_BYTES):
        raise ValueError(f"it holds {names[:5]}; exactly {sorted(MAX_BYTES)} are expected")
    for member in archive.infolist():
        if member.file_size > MAX_BYTES[member.filename]:
            raise ValueError(
                f"{member.filename} has {member.file_size:,} bytes; at most "
                f"{MAX_BYTES[member.filename]:,} are allowed"
            )


def _check_weights(content: bytes) -> None:
    """Check that an HDF5 file holds plain arrays alone, which all lie in it and fit in memory."""
    import h5py

    with h5py.File(io.BytesIO(content)) as file:
        groups, n_bytes, n_arrays = [file], 0, 0
        while groups:
            group = groups.pop()
            for name in group:
                n_arrays += 1
                if n_arrays > MAX_ARRAYS:
                    raise ValueError(f"{WEIGHTS} has more than {MAX_ARRAYS:,} groups and arrays")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{WEIGHTS} has a link")
                entry = group[name]
                if isinstance(entry, h5py.Group):
                    groups.append(entry)
                    continue
                if not isinstance(entry, h5py.Dataset) or entry.dtype.kind not in "biuf":
                    raise ValueError(f"{WEIGHTS} has an entry that is no array of numbers")
                if entry.external or entry.is_virtual:
                    raise ValueError(f"{WEIGHTS} has an array that lies in another file")
                n_bytes += entry.size * entry.dtype.itemsize
                if n_bytes > MAX_BYTES[WEIGHTS]:
                    raise ValueError(f"{WEIGHTS} has arrays of more than {n_bytes:,} bytes")


def _faults(value: Any, key: str = "") -> Iterator[str]:
    """Yield what a part of `config.json` must not hold."""
    if isinstance(value, dict):
        yield from _class_faults(value)
        for name, part in value.items():
            yield from _faults(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _faults(part, key)
    elif isinstance(value, int) and abs(value) > MAX_NUMBER and key not in ANY_NUMBER:
        yield f"it has a {key} of {value:,}; at most {MAX_NUMBER:,} is allowed"
    elif isinstance(value, str) and REGISTERED in value and key != "registered_name":
        yield f"it has the {key} {value:.60}, the name of a registered class"


def _class_faults(entry: dict[str, Any]) -> Iterator[str]:
    name, module = entry.get("class_name"), str(entry.get("module"))
    registered = entry.get("registered_name")
    if isinstance(entry.get("dtype"), str) and entry["dtype"] not in DTYPES:
        yield f"it has the dtype {entry['dtype']:.40}"
    if not (
        name is None
        or (name in VALUES and "module" not in entry)
        or (registered in OWN.values() and name in OWN and "module" in entry)
        or (registered in (None, name) and name in CLASSES.get(module, ()))
    ):
        yield (
            f"it holds {module}.{name}, which is not one of the layers and operations that are "
            "opened"
        )


def _count_weights(config: dict[str, Any]) -> int:
    """Return the number of weights of a network without giving them memory.

    Raises ValueError where a layer leads to no output and so is not counted.
    """
    import keras

    n_layers = _n_configured(config)  # before Keras takes it apart
    with keras.StatelessScope(initialize_variables=False):
        network = keras.saving.deserialize_keras_object(config, safe_mode=True)
    if not isinstance(network, keras.Model):
        raise ValueError(f"it holds {type(network).__name__}, not a network")
    if _n_layers(network) != n_layers:
        raise ValueError("some of its layers lead to no output")
    return int(network.count_params())


def _n_layers(network: Any) -> int:
    import keras

    parts = [layer for layer in network.operations if isinstance(layer, keras.Model)]
    return len(network.operations) + sum(map(_n_layers, parts))


def _n_configured(value: Any) -> int:
    """Return the number of layers that `config.json` lists."""
    if isinstance(value, list):
        return sum(map(_n_configured, value))
    if not isinstance(value, dict):
        return 0
    layers = value.get("layers")
    n_here = len(layers) if isinstance(layers, list) else 0
    return n_here + sum(map(_n_configured, value.values()))
