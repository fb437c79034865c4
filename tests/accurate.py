"""An `accurate` model of made-up parts: true shapes, random weights, nothing learned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import save_file

from ser_core.config import WHISPER_FEATURES, PipelineConfig
from ser_core.labels import LABELS
from ser_core.model.assemble import record_probe
from ser_core.model.layers import FrameMask
from ser_core.model.manifest import HEAD, Manifest, sha256_of
from ser_core.whisper.spec import MAX_VECTORS, N_MELS, TINY, EncoderConfig, EncoderSize
from ser_core.whisper.weights import PREFIX, tensors_sha256
from tests.conftest import ROOT

BLOCKS = (1, 3)
DELTAS = "deltas.npz"


@dataclass(frozen=True)
class Parts:
    """A model folder and the weights that go before its head."""

    folder: Path
    weights: Path
    manifest: Manifest


def write_parts(root: Path) -> Parts:
    """A model folder and its weights, both made up."""
    tensors = made_up_tensors()
    weights = write_weights(root / "model.safetensors", tensors)
    return Parts(root / "accurate", weights, write_accurate(root / "accurate", weights, tensors))


def made_up_tensors(*, seed: int = 0, size: EncoderSize = TINY) -> dict[str, np.ndarray]:
    """Random tensors of Whisper's names and shapes, float32 and exact in float16."""
    random, width = np.random.default_rng(seed), size.width
    shapes = {
        "conv1.weight": (width, N_MELS, 3),
        "conv2.weight": (width, width, 3),
        "embed_positions.weight": (MAX_VECTORS, width),
    }
    for i in range(size.n_blocks):
        layer = f"layers.{i}"
        for name in ("q", "k", "v", "out"):
            shapes[f"{layer}.self_attn.{name}_proj.weight"] = (width, width)
        shapes[f"{layer}.fc1.weight"] = (4 * width, width)
        shapes[f"{layer}.fc2.weight"] = (width, 4 * width)
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes[f"{layer}.{name}.weight"] = (width,)
    biases = {
        name.replace(".weight", ".bias"): shape[:1]
        for name, shape in shapes.items()
        if "k_proj" not in name and "positions" not in name
    }
    return {
        name: random.normal(0, 0.04, shape).astype(np.float16).astype(np.float32)
        for name, shape in (shapes | biases).items()
    }


def low_rank(*, seed: int = 0) -> dict[str, np.ndarray]:
    """Changes of one kernel of the encoder."""
    random = np.random.default_rng(seed)
    shapes = {"layers.0.fc1.A": (TINY.width, 2), "layers.0.fc1.B": (2, 4 * TINY.width)}
    return {name: random.normal(0, 0.1, shape).astype("f4") for name, shape in shapes.items()}


def write_weights(
    path: Path, tensors: Mapping[str, np.ndarray], *, dtype: type = np.float32
) -> Path:
    """Write tensors as the Hub's file holds them, some of the decoder among them."""
    stored = {f"{PREFIX}{name}": tensor.astype(dtype) for name, tensor in tensors.items()}
    save_file(stored | {"model.decoder.layer_norm.bias": np.ones(TINY.width, dtype)}, path)
    return path


def build_random_head(*, n_outputs: int = len(LABELS)) -> keras.Model:
    """A small BiLSTM with the inputs and the output that every head has."""
    vectors = keras.Input((None, len(BLOCKS) * TINY.width), name="vectors")
    n_vectors = keras.Input((), dtype="int32", name="n_vectors")
    mask = FrameMask()(vectors, n_vectors)
    lstm = keras.layers.LSTM(16, return_sequences=True, use_cudnn=False)
    hidden = keras.layers.Bidirectional(lstm)(vectors, mask=mask)
    pooled = keras.layers.GlobalAveragePooling1D()(hidden, mask=mask)
    return keras.Model([vectors, n_vectors], keras.layers.Dense(n_outputs)(pooled))


def write_accurate(
    folder: Path,
    weights: Path,
    tensors: Mapping[str, np.ndarray],
    *,
    seed: int = 0,
    deltas: Mapping[str, np.ndarray] | None = None,
    head: keras.Model | None = None,
) -> Manifest:
    """Write a model folder as training does: a random head, its manifest and a probe."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    head = head or build_random_head()
    head.save(folder / HEAD)
    if deltas is not None:
        np.savez(folder / DELTAS, **deltas)
    files = [HEAD] if deltas is None else [HEAD, DELTAS]
    pipeline = PipelineConfig(features=WHISPER_FEATURES)
    manifest = replace(
        Manifest.read(ROOT / "model" / "compact"),
        name="accurate",
        columns=pipeline.features.columns,
        pipeline=pipeline,
        temperature=0.1,
        files={file: sha256_of(folder / file) for file in files},
        encoder=EncoderConfig(
            blocks=BLOCKS,
            deltas=None if deltas is None else DELTAS,
            tensors_sha256=tensors_sha256(tensors),
        ),
        has_intensity=head.output.shape[-1] > len(LABELS),
    )
    manifest = replace(manifest, probe=record_probe(folder, manifest, weights))
    manifest.write(folder)
    return manifest
