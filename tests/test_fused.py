"""LSTMs as one operation: the same answers as Keras's own."""

import keras
import numpy as np
import pytest
from keras import layers

from ser_core.model.layers import AttentivePooling, FrameMask, FusedBiLstm, fuse_lstms
from ser_core.model.saved_model import import_tensorflow

N_COLUMNS, UNITS = 5, 7
LENGTHS = np.array([9, 4, 1], np.int32)


def make_network(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    features = keras.Input((None, N_COLUMNS), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    mask = FrameMask()(features, n_frames)
    lstm = layers.LSTM(UNITS, return_sequences=True, use_cudnn=False)
    hidden = layers.Bidirectional(lstm)(features, mask=mask)
    pooled = AttentivePooling(4)(hidden, mask)
    return keras.Model([features, n_frames], layers.Dense(3)(pooled))


def frames() -> np.ndarray:
    shape = (len(LENGTHS), LENGTHS.max(), N_COLUMNS)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def answer(network: keras.Model, features: np.ndarray) -> np.ndarray:
    return np.asarray(network({"features": features, "n_frames": LENGTHS}, training=False))


def test_a_fused_network_answers_as_the_trained_one() -> None:
    network = make_network()
    np.testing.assert_allclose(
        answer(fuse_lstms(network), frames()), answer(network, frames()), atol=1e-5
    )


def test_the_trained_network_keeps_its_layers() -> None:
    network = make_network()
    fused = fuse_lstms(network)
    assert any(isinstance(layer, layers.Bidirectional) for layer in network.layers)
    assert any(isinstance(layer, FusedBiLstm) for layer in fused.layers)
    assert not any(isinstance(layer, layers.Bidirectional) for layer in fused.layers)


@pytest.mark.parametrize("filling", [0.0, 1e3])
def test_what_pads_a_clip_changes_nothing(filling: float) -> None:
    padded = frames()
    for clip, length in zip(padded, LENGTHS, strict=True):
        clip[length:] = filling
    fused = fuse_lstms(make_network())
    np.testing.assert_allclose(answer(fused, padded), answer(fused, frames()), atol=1e-5)


@pytest.mark.parametrize("return_sequences", [True, False])
def test_a_network_without_a_mask_answers_as_the_trained_one(return_sequences: bool) -> None:
    features = keras.Input((None, N_COLUMNS))
    lstm = layers.LSTM(UNITS, return_sequences=return_sequences, use_cudnn=False)
    network = keras.Model(features, layers.Bidirectional(lstm)(features))
    np.testing.assert_allclose(
        np.asarray(fuse_lstms(network)(frames())), np.asarray(network(frames())), atol=1e-5
    )


def test_networks_inside_a_network_are_fused_too() -> None:
    members = [make_network(seed) for seed in (0, 1)]
    inputs = [keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in members[0].inputs]
    for i, member in enumerate(members):
        member.name = f"member_{i}"
    committee = keras.Model(inputs, layers.Average()([member(inputs) for member in members]))
    fused = fuse_lstms(committee)
    np.testing.assert_allclose(answer(fused, frames()), answer(committee, frames()), atol=1e-5)
    tf = import_tensorflow()
    served = tf.function(lambda features, n_frames: fused([features, n_frames], training=False))
    graph = served.get_concrete_function(
        tf.TensorSpec((None, None, N_COLUMNS)), tf.TensorSpec((None,), tf.int32)
    ).graph
    assert "While" not in {operation.type for operation in graph.get_operations()}
