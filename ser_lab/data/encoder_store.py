"""Encoder vectors of many clips, stored on disk as features are."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from rich.progress import track

from ser_core.config import PipelineConfig
from ser_core.features import Features, pad_features
from ser_core.whisper.encoder import WhisperEncoder, encode
from ser_core.whisper.spec import N_MELS, EncoderConfig
from ser_core.whisper.weights import Tensors
from ser_lab.data.augment import Changes
from ser_lab.data.feature_store import (
    load_features,
    open_store,
    read_shard,
    shard_key,
    store_key,
    write_shard,
)

Vectors = npt.NDArray[np.float16]
SHARD_CLIPS = 256
BATCH_CLIPS = 16


def load_vectors(
    paths: Sequence[Path],
    pipeline: PipelineConfig,
    config: EncoderConfig,
    tensors: Tensors,
    *,
    changes: Changes | None = None,
    cache: Path | None = None,
) -> list[Vectors | None]:
    """Return the pooled block outputs of each clip, from the store or computed.

    Args:
        paths: The clips.
        pipeline: Settings of the path from file to Whisper's log-mel frames.
        config: Which blocks, and how they are pooled.
        tensors: The encoder's weights.
        changes: Change of each clip before it is encoded; None for none.
        cache: Folder of all stores; `default_cache()` where None.

    Returns:
        For each clip (n_vectors, n_columns) float16, or None where it cannot be read or
        holds no speech.
    """
    settings = json.dumps(asdict(config), sort_keys=True) + store_key(pipeline, changes)
    store = open_store(cache, "vectors", hashlib.sha256(settings.encode()).hexdigest())
    shards = [list(paths[i : i + SHARD_CLIPS]) for i in range(0, len(paths), SHARD_CLIPS)]
    files = [store / f"{shard_key(shard)}.npz" for shard in shards]
    missing = [i for i, file in enumerate(files) if not file.exists()]
    if missing:
        features = load_features(paths, pipeline, changes=changes, cache=cache)
        run = compile_encoder(config, tensors)
        for i in track(missing, "Encoding"):
            vectors = _encode_clips(features[i * SHARD_CLIPS : (i + 1) * SHARD_CLIPS], run)
            write_shard(files[i], vectors, n_columns=config.n_columns)
    return [clip for file in files for clip in read_shard(file)]


def compile_encoder(
    config: EncoderConfig, tensors: Tensors
) -> tf.types.experimental.PolymorphicFunction:
    """Return the encoder as a graph, from padded clips to what `encode` returns.

    Args:
        config: Which blocks, and how they are pooled.
        tensors: The encoder's weights.
    """
    encoder = WhisperEncoder.of(config)
    encoder.set_tensors(tensors)

    def run(log_mel: tf.Tensor, n_frames: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return encode(encoder, log_mel, n_frames, blocks=config.blocks, pool=config.pool)

    signature = [tf.TensorSpec((None, None, N_MELS)), tf.TensorSpec((None,), tf.int32)]
    return tf.function(run, input_signature=signature)


def _encode_clips(
    clips: Sequence[Features | None], run: tf.types.experimental.PolymorphicFunction
) -> list[Vectors | None]:
    vectors: list[Vectors | None] = [None] * len(clips)
    speech = [(i, clip) for i, clip in enumerate(clips) if clip is not None]
    speech.sort(key=lambda entry: len(entry[1]))
    for start in range(0, len(speech), BATCH_CLIPS):
        rows, batch = zip(*speech[start : start + BATCH_CLIPS], strict=True)
        pooled, n_pooled = run(*pad_features(batch))
        for row, clip, length in zip(rows, pooled.numpy(), n_pooled.numpy(), strict=True):
            vectors[row] = clip[:length].astype(np.float16)
    return vectors
