"""Whisper's encoder and a head of ours, put together once into the user's cache.

An assembly is a folder with a SavedModel and the hashes of its files. Its name holds
`ASSEMBLY_FORMAT` and a hash of all that goes into it, so that another head or other weights
make another one. It appears under its name only when it is whole and has answered its probe.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_core.errors import ModelError
from ser_core.model.manifest import HEAD, Manifest, Probe, check_files, sha256_of
from ser_core.model.saved_model import SAVED_MODEL, Signature, import_tensorflow, load_signature
from ser_core.paths import default_cache, entry_name, remove_earlier_entries
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import Tensors, read_tensors

FILES = "files.json"
"""SHA-256 of each file of an assembly."""
ASSEMBLY_FORMAT = 1
"""Raise it where the same head and weights give other probabilities, or an assembly other files."""
PROBE_FRAMES = (183, 58)
"""Lengths of the clips of a probe, the second one padded."""
PROBE_TOLERANCE = 1e-3
"""How far a probability may lie from the one that the manifest names."""


def find_assembly(manifest: Manifest) -> Path | None:
    """Look for a model's assembly in the cache.

    Args:
        manifest: Of a model with an encoder.

    Returns:
        The folder that holds `saved_model/`; None where it is missing or damaged.
    """
    folder = _place(manifest)
    try:
        check_files(folder, json.loads((folder / FILES).read_text(encoding="utf-8")))
    except (OSError, ValueError, ModelError):
        return None
    return folder


def assemble(folder: Path, manifest: Manifest, weights: Path) -> Path:
    """Build a model's assembly, or build it anew where it is damaged.

    Several processes may do so at once; the first to finish is kept.

    Args:
        folder: The model folder.
        manifest: Its manifest, which names an encoder and a probe.
        weights: File with Whisper's weights.

    Returns:
        The folder that holds `saved_model/`.

    Raises:
        ModelError: The weights are others, the head cannot be opened, the cache cannot
            be written to, or the result does not answer the probe as it must.
    """
    place = _place(manifest)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".draft-", dir=place.parent) as workshop:
            draft = Path(workshop) / place.name
            _build(draft, folder, manifest, weights)
            _publish(draft, manifest)
    except OSError as error:
        raise ModelError(
            f"The model cannot be assembled in {place.parent}: {error}. Free 100 MB there, or "
            "name another folder in MOODMIRROR_CACHE."
        ) from error
    return place


def record_probe(folder: Path, manifest: Manifest, weights: Path, *, seed: int = 0) -> Probe:
    """Ask the parts of a model for what its assembly will have to answer.

    Args:
        folder: The model folder, with its head.
        manifest: Names an encoder; its probe may be missing still.
        weights: File with Whisper's weights.
        seed: Seed of the probe's input.

    Raises:
        ModelError: The weights are others, or the head cannot be opened.
    """
    probe = Probe(seed=seed, n_frames=PROBE_FRAMES, probabilities=())
    serve = _connect(folder, manifest, weights).serve
    answer = serve(*probe.batch(len(manifest.columns)))["probabilities"].numpy()
    return replace(probe, probabilities=tuple(tuple(float(p) for p in row) for row in answer))


def add_deltas(tensors: Tensors, deltas: Mapping[str, npt.NDArray[Any]]) -> Tensors:
    """Change kernels of the encoder by low-rank products.

    Args:
        tensors: Whisper's tensors by name.
        deltas: For some layers, such as `layers.0.fc1`, `<layer>.A` (n_inputs, rank) and
            `<layer>.B` (rank, n_outputs).

    Returns:
        The tensors, A @ B added to the kernels of those layers.

    Source: Hu et al. 2021, LoRA: low-rank adaptation of large language models.
    """
    changed = dict(tensors)
    for layer in sorted({name.rpartition(".")[0] for name in deltas}):
        product = deltas[f"{layer}.A"] @ deltas[f"{layer}.B"]  # (n_inputs, n_outputs)
        changed[f"{layer}.weight"] = tensors[f"{layer}.weight"] + product.T
    return changed


def _place(manifest: Manifest) -> Path:
    recipe = {key: asdict(manifest)[key] for key in ("files", "encoder", "temperature", "probe")}
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    return default_cache() / "models" / entry_name(ASSEMBLY_FORMAT, key, prefix=_prefix(manifest))


def _prefix(manifest: Manifest) -> str:
    return f"{manifest.name}-"


def _build(draft: Path, folder: Path, manifest: Manifest, weights: Path) -> None:
    served = _connect(folder, manifest, weights)
    saved = draft / SAVED_MODEL
    import_tensorflow().saved_model.save(
        served, str(saved), signatures={"serving_default": served.serve}
    )
    _check_probe(load_signature(saved, n_labels=len(manifest.labels)), manifest)
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    hashes = {path.relative_to(draft).as_posix(): sha256_of(path) for path in files}
    (draft / FILES).write_text(json.dumps(hashes, indent=2), encoding="utf-8")


def _connect(folder: Path, manifest: Manifest, weights: Path) -> Any:
    """Features → encoder → pooled vectors → head → softmax, as a tf.Module.

    The weights stay variables: folded into the graph as constants they answer no faster,
    load more slowly and take 500 MB more.
    """
    config = manifest.encoder
    if config is None:
        raise ModelError(f"{manifest.name} names no encoder, so there is nothing to assemble.")
    tf = import_tensorflow()
    from ser_core.model.layers import fuse_lstms
    from ser_core.whisper.encoder import WhisperEncoder, encode

    served = tf.Module()
    served.encoder = WhisperEncoder(config.n_blocks)
    served.encoder.set_tensors(_read_changed_tensors(folder, config, weights))
    served.head = fuse_lstms(_open_head(folder / HEAD))

    def probabilities(features: Any, n_frames: Any) -> dict[str, Any]:
        vectors, n_vectors = encode(
            served.encoder, features, n_frames, blocks=config.blocks, pool=config.pool
        )
        logits = served.head({"vectors": vectors, "n_vectors": n_vectors}, training=False)
        return {"probabilities": tf.nn.softmax(logits / manifest.temperature)}

    served.serve = tf.function(
        probabilities,
        input_signature=[
            tf.TensorSpec((None, None, len(manifest.columns)), tf.float32, name="features"),
            tf.TensorSpec((None,), tf.int32, name="n_frames"),
        ],
    )
    return served


def _read_changed_tensors(folder: Path, config: EncoderConfig, weights: Path) -> Tensors:
    tensors = read_tensors(weights, config)
    if config.deltas is None:
        return tensors
    with np.load(folder / config.deltas) as deltas:
        return add_deltas(tensors, deltas)


def _open_head(path: Path) -> Any:
    import keras

    import ser_core.model.layers  # noqa: F401  # a head may hold them

    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path.name} cannot be opened: {error}. Fetch the whole model again."
        ) from error


def _check_probe(serve: Signature, manifest: Manifest) -> None:
    if manifest.probe is None:
        raise ModelError(f"{manifest.name} has no probe. Export the model again.")
    features, n_frames = manifest.probe.batch(len(manifest.columns))
    answer = serve(features=features, n_frames=n_frames)["probabilities"].numpy()
    distance = np.abs(answer - np.array(manifest.probe.probabilities)).max()
    if not distance <= PROBE_TOLERANCE:
        raise ModelError(
            f"The assembled model misses its probe by {distance:.2g}; at most {PROBE_TOLERANCE} "
            "is allowed. Use the versions of requirements.txt, or export the model again."
        )


def _publish(draft: Path, manifest: Manifest) -> None:
    """Give a finished draft its name, unless another process was faster."""
    place = _place(manifest)
    try:
        if place.exists() and find_assembly(manifest) is None:
            place.rename(draft.with_name("damaged"))
        draft.rename(place)
    except OSError:
        if find_assembly(manifest) is None:
            raise
    remove_earlier_entries(place.parent, ASSEMBLY_FORMAT, _is_assembly, prefix=_prefix(manifest))


def _is_assembly(folder: Path) -> bool:
    """Whether a folder lists all its files, as only an assembly does."""
    try:
        listed = json.loads((folder / FILES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return isinstance(listed, dict) and found <= {FILES, *listed}
