"""Take the weights of Silero VAD from its package, for `ser_core.speech_detector`.

pip install onnx && pip download --no-deps silero-vad==6.2.3
python -m tools.silero_vad silero_vad-6.2.3-py3-none-any.whl
"""

import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx

OUT = Path(__file__).parent.parent / "ser_core"
NETWORK, LICENCE = "silero_vad/data/silero_vad_16k_op15.onnx", "LICENSE"
NAMES = {"decoder.rnn": "lstm", "decoder.decoder.2": "output", ".reparam_conv": ""}
"""Parts of the names that change."""
BASIS = "stft.forward_basis_buffer"
"""A Fourier transform with a Hann window, which needs no weights."""


def main(wheel: str) -> None:
    """Write `silero_vad.npz` and `silero_vad.LICENSE`."""
    with zipfile.ZipFile(wheel) as files:
        network = onnx.load_from_string(files.read(NETWORK))
        licence = next(name for name in files.namelist() if name.endswith(LICENCE))
        (OUT / "silero_vad.LICENSE").write_bytes(files.read(licence) + b"\n")
    weights = {}
    for tensor in network.graph.initializer:
        name = tensor.name.removeprefix("model.")
        for before, after in NAMES.items():
            name = name.replace(before, after)
        weights[name] = onnx.numpy_helper.to_array(tensor)
    del weights[BASIS]
    np.savez_compressed(OUT / "silero_vad.npz", **weights)


if __name__ == "__main__":
    main(*sys.argv[1:])
