"""Whisper's encoder and a model's head, assembled once into the user's cache.

An assembly is a folder with a SavedModel and the hashes of its files. Its name holds
`ASSEMBLY_FORMAT` and a hash of all that enters it, so that another head or other weights
make another one. It gets its name only when it is complete and reproduces its probe.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from ser_core.errors import ModelError
from ser_core.model.manifest import HEAD, Manifest, Probe, check_files, sha256_of
from ser_core.model.saved_model import (
    SAVED_MODEL,
    Signature,
    load_signature,
    make_servable,
    save_servable,
)
from ser_core.paths import default_cache, entry_name, holds_only, remove_earlier_entries
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import Tensors, first_line, read_tensors

FILES = "files.json"
"""SHA-256 of each file of an assembly."""
ASSEMBLY_FORMAT = 1
"""Raise it where the same head and weights give other probabilities, or an assembly other files."""
PROBE_FRAMES = (183, 58)
"""Lengths of the clips of a probe, the second one padded."""
PROBE_TOLERANCE = 1e-3
"""Largest difference of a probability from that in the manifest."""

MAX_DELTA_BYTES = 100_000_000
"""Largest unpacked size of the changes of the encoder."""
Deltas = Mapping[str, npt.NDArray[Any]]
"""Changes of the encoder's kernels, as `add_deltas` adds them."""


def find_assembly(manifest: Manifest) -> Path | None:
    """Return the folder of a model's assembly in the cache; None where it is missing or damaged."""
    folder = _place(manifest)
    try:
        check_files(folder, json.loads((folder / FILES).read_text(encoding="utf-8")))
    except (OSError, ValueError, ModelError):
        return None
    return folder


def assemble(folder: Path, manifest: Manifest, weights: Path) -> Path:
    """Build a model's assembly, or rebuild a damaged one.

    Several processes may do so at once; the first to finish is kept.

    Args:
        folder: The model folder.
        manifest: Its manifest, with an encoder and a probe.
        weights: File with Whisper's weights.

    Returns:
        The folder that contains `saved_model/`.

    Raises:
        ModelError: The weights are others, the head cannot be opened, the cache cannot be
            written to, or the assembled model does not reproduce its probe.
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


def record_probe(folder: Path, manifest: Manifest, weights: Path | None = None) -> Probe:
    """Return the probe that a model has to reproduce wherever it is loaded.

    Args:
        folder: The model folder, with its head or its SavedModel.
        manifest: Its manifest; the probe in it is not read.
        weights: File with Whisper's weights; None where the manifest names no encoder.

    Raises:
        ModelError: The weights are others, or the head cannot be opened.
    """
    probe = Probe(seed=0, n_frames=PROBE_FRAMES, probabilities=())
    if weights is None:
        serve = load_signature(folder / SAVED_MODEL, n_labels=len(manifest.labels))
    else:
        serve = connect_encoder(folder, manifest, weights).serve
    features, n_frames = probe.batch(len(manifest.columns))
    answer = serve(features=features, n_frames=n_frames)["probabilities"].numpy()
    return replace(probe, probabilities=tuple(tuple(float(p) for p in row) for row in answer))


def check_probe(serve: Signature, manifest: Manifest) -> None:
    """Compare the answer of a loaded model with the probe of its manifest.

    Args:
        serve: The model.
        manifest: Its manifest; where there is no probe, nothing is compared.

    Raises:
        ModelError: The answer is another one, or none.
    """
    if manifest.probe is None:
        return
    features, n_frames = manifest.probe.batch(len(manifest.columns))
    expected = np.array(manifest.probe.probabilities)
    try:
        answer = np.asarray(serve(features=features, n_frames=n_frames)["probabilities"])
        distance = np.abs(answer - expected).max()
    # TensorFlow raises errors of any type where a graph does not fit its input.
    except Exception as error:
        raise ModelError(
            f"The model cannot be run: {first_line(error)}. Export it again."
        ) from error
    if not (distance <= PROBE_TOLERANCE and answer.shape == expected.shape):
        raise ModelError(
            f"The model misses its probe by {distance:.2g}; at most {PROBE_TOLERANCE} "
            "is allowed. Use the versions of requirements.txt, or export the model again."
        )


def add_deltas(tensors: Tensors, deltas: Deltas) -> Tensors:
    """Add low-rank products to kernels of the encoder.

    Args:
        tensors: Whisper's tensors by name.
        deltas: For some layers, such as `layers.0.fc1`, `<layer>.A` (n_inputs, rank) and
            `<layer>.B` (rank, n_outputs).

    Returns:
        The tensors, with A @ B added to the kernels of those layers.

    Raises:
        KeyError, ValueError: A layer is unknown, or its products have another shape.

    Source: Hu et al. 2021, LoRA: low-rank adaptation of large language models.
    """
    changed = dict(tensors)
    for layer in sorted({name.rpartition(".")[0] for name in deltas}):
        kernel, a, b = tensors[f"{layer}.weight"], deltas[f"{layer}.A"], deltas[f"{layer}.B"]
        if (a.shape[:1], b.shape[1:]) != (kernel.shape[1:], kernel.shape[:1]):
            raise ValueError(f"{layer} has products of {a.shape} and {b.shape}")
        changed[f"{layer}.weight"] = kernel + (a @ b).T  # (n_outputs, n_inputs)
    return changed


def _place(manifest: Manifest) -> Path:
    parts = {key: asdict(manifest)[key] for key in ("files", "encoder", "temperature", "probe")}
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    name = entry_name(ASSEMBLY_FORMAT, key, prefix=f"{manifest.name}-")
    return default_cache() / "models" / name


def _build(draft: Path, folder: Path, manifest: Manifest, weights: Path) -> None:
    saved = draft / SAVED_MODEL
    save_servable(connect_encoder(folder, manifest, weights), saved)
    check_probe(load_signature(saved, n_labels=len(manifest.labels)), manifest)
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    hashes = {path.relative_to(draft).as_posix(): sha256_of(path) for path in files}
    (draft / FILES).write_text(json.dumps(hashes, indent=2), encoding="utf-8")


def connect_encoder(folder: Path, manifest: Manifest, weights: Path, *, fuse: bool = True) -> Any:
    """Return features → encoder → pooled vectors → head → softmax, see `make_servable`.

    Args:
        folder: The model folder.
        manifest: Its manifest, with an encoder.
        weights: File with Whisper's weights.
        fuse: Whether the head's LSTMs are one operation each, see `fuse_lstms`.

    Raises:
        ModelError: The weights are others, or the head cannot be opened.
    """
    config = manifest.encoder
    if config is None:
        raise ModelError(f"{manifest.name} names no encoder, so there is nothing to assemble.")
    import keras

    from ser_core.model.layers import check_ends, fuse_lstms, load_keras, unfuse_lstms
    from ser_core.whisper.encoder import WhisperEncoder, encode

    encoder = WhisperEncoder.of(config)
    encoder.set_tensors(read_changed_tensors(folder, config, weights))
    head, n_columns = load_keras(folder / HEAD), len(manifest.columns)
    inputs = {"vectors": (None, None, config.n_columns), "n_vectors": (None,)}
    check_ends(head, inputs, manifest.n_outputs)
    features = keras.Input((None, n_columns), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    vectors, n_vectors = encode(encoder, features, n_frames, blocks=config.blocks, pool=config.pool)
    head = fuse_lstms(head) if fuse else unfuse_lstms(head)
    network = keras.Model([features, n_frames], head([vectors, n_vectors]))
    return make_servable(
        network,
        n_columns=n_columns,
        n_labels=len(manifest.labels),
        temperature=manifest.temperature,
    )


def read_changed_tensors(folder: Path, config: EncoderConfig, weights: Path) -> Tensors:
    """Return Whisper's tensors with the changes that a model folder holds.

    Args:
        folder: The model folder.
        config: Its encoder.
        weights: File with Whisper's weights.

    Raises:
        ModelError: One of the files cannot be read, or does not fit the other.
    """
    tensors, deltas = read_tensors(weights, config), read_deltas(folder, config)
    try:
        return add_deltas(tensors, deltas)
    except (KeyError, ValueError) as error:
        raise _damaged(config, error) from error


def read_deltas(folder: Path, config: EncoderConfig | None) -> Deltas:
    """Return the changes of the encoder that a model folder holds; none without an encoder.

    Raises:
        ModelError: The file cannot be read.
    """
    if config is None or config.deltas is None:
        return {}
    try:
        with ZipFile(folder / config.deltas) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_DELTA_BYTES:
                raise ValueError(f"it has more than {MAX_DELTA_BYTES:,} bytes")
        with np.load(folder / config.deltas, allow_pickle=False) as deltas:
            return {name: deltas[name].astype(np.float32) for name in deltas.files}
    # NumPy raises errors of any type for archives that it has not written itself.
    except Exception as error:
        raise _damaged(config, error) from error


def _damaged(config: EncoderConfig, error: Exception) -> ModelError:
    return ModelError(
        f"{config.deltas} cannot be added to the encoder: {first_line(error)}. Download or "
        "export the whole model again."
    )


def _publish(draft: Path, manifest: Manifest) -> None:
    """Rename a finished draft, unless another process was faster."""
    place = _place(manifest)
    try:
        if place.exists() and find_assembly(manifest) is None:
            place.rename(draft.with_name("damaged"))
        draft.rename(place)
    except OSError:
        if find_assembly(manifest) is None:
            raise
    remove_earlier_entries(place.parent, ASSEMBLY_FORMAT, _is_assembly, prefix=f"{manifest.name}-")


def _is_assembly(folder: Path) -> bool:
    """Return whether a folder lists all its files, as only an assembly does."""
    try:
        listed = json.loads((folder / FILES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    assets = f"{SAVED_MODEL}/assets"  # a folder without files
    return isinstance(listed, dict) and holds_only(folder, [FILES, assets, *listed])
