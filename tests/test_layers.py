"""Layers: masks, attentive pooling, and LSTMs as one operation."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from ser_core.model.layers import (
    AttentivePooling,
    BlockLstm,
    FrameMask,
    FrequencyMask,
    fuse_lstms,
    unfuse_lstms,
)

N_COLUMNS, UNITS = 5, 7
LENGTHS = np.array([9, 4, 1], np.int32)


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_frame_mask_marks_the_real_frames() -> None:
    mask = ops.convert_to_numpy(FrameMask()(numbers(2, 4, 3), np.array([1, 4], np.int32)))
    assert mask.tolist() == [[True, False, False, False], [True] * 4]


def test_pooling_gives_attention_mean_and_deviation() -> None:
    frames = numbers(2, 5, 3)
    pooling = AttentivePooling(8)
    pooled = ops.convert_to_numpy(pooling(frames, np.ones((2, 5), bool)))
    np.testing.assert_allclose(pooled[:, 3:6], frames.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(pooled[:, 6:], frames.std(axis=1), atol=1e-3)
    assert (pooled[:, :3] <= frames.max(axis=1)).all()
    assert (pooled[:, :3] >= frames.min(axis=1)).all()


def test_pooling_sees_no_padding() -> None:
    frames = numbers(1, 5, 3)
    padded = np.concatenate([frames, np.full((1, 4, 3), 50, np.float32)], axis=1)
    pooling = AttentivePooling(8)
    alone = pooling(frames, np.ones((1, 5), bool))
    mask = np.arange(9)[None] < 5
    np.testing.assert_allclose(
        ops.convert_to_numpy(pooling(padded, mask)), ops.convert_to_numpy(alone), atol=1e-5
    )


def test_a_frequency_mask_hides_a_run_of_columns_of_a_clip() -> None:
    keras.utils.set_random_seed(0)
    layer = FrequencyMask(most=6)
    frames = np.ones((200, 3, 20), np.float32)
    hidden = np.array(layer(frames, training=True)) == 0.0
    assert (hidden == hidden[:, :1]).all()  # alike in all frames of a clip
    widths = hidden[:, 0].sum(axis=1)
    assert 1 < widths.mean() < 5
    assert widths.max() <= 7
    edges = np.abs(np.diff(hidden[:, 0].astype(int), axis=1)).sum(axis=1)
    assert edges.max() <= 2  # in one run
    assert (np.array(layer(frames, training=False)) == frames).all()


def recurrent_network(lstm: type[layers.LSTM], *, bidirectional: bool, masked: bool) -> keras.Model:
    frames = keras.Input((None, N_COLUMNS), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    mask = FrameMask()(frames, n_frames)
    stack = [lstm(5, return_sequences=True, use_cudnn=False), lstm(4, use_cudnn=False)]
    if bidirectional:
        stack = [layers.Bidirectional(layer) for layer in stack]
    hidden = frames
    for layer in stack:
        hidden = layer(hidden, mask=mask if masked else None)
    return keras.Model([frames, n_frames], hidden)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_block_lstm_has_the_outputs_and_gradients_of_keras(
    bidirectional: bool, masked: bool
) -> None:
    inputs = {"features": numbers(3, 9, N_COLUMNS), "n_frames": LENGTHS}
    ours, theirs = (
        recurrent_network(lstm, bidirectional=bidirectional, masked=masked)
        for lstm in (BlockLstm, layers.LSTM)
    )
    ours.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    gradients = []
    for network in (ours, theirs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(network(inputs)))
        gradients.append(tape.gradient(loss, [weight.value for weight in network.weights]))
    np.testing.assert_allclose(ours(inputs), theirs(inputs), atol=1e-5)
    for our_gradient, their_gradient in zip(*gradients, strict=True):
        np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-3, atol=1e-3)


def test_a_block_lstm_is_saved_and_respects_a_mask(tmp_path: Path) -> None:
    frames = numbers(3, 9, N_COLUMNS)
    inputs = {"features": frames, "n_frames": LENGTHS}
    network = recurrent_network(BlockLstm, bidirectional=True, masked=True)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(again(inputs), network(inputs), atol=1e-6)
    layer = BlockLstm(4, use_cudnn=False, return_state=True)
    cut = layer(frames, mask=np.arange(9)[None].repeat(3, axis=0) < 5)
    for masked, whole in zip(cut, layer(frames[:, :5]), strict=True):
        np.testing.assert_allclose(masked, whole, atol=1e-6)


def make_network(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    features = keras.Input((None, N_COLUMNS), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    mask = FrameMask()(features, n_frames)
    lstm = layers.LSTM(UNITS, return_sequences=True, use_cudnn=False)
    hidden = layers.Bidirectional(lstm)(features, mask=mask)
    pooled = AttentivePooling(4)(hidden, mask)
    return keras.Model([features, n_frames], layers.Dense(3)(pooled))


def answer(network: keras.Model, features: np.ndarray) -> np.ndarray:
    return np.asarray(network({"features": features, "n_frames": LENGTHS}, training=False))


def test_a_fused_network_answers_as_the_trained_one_which_keeps_its_layers() -> None:
    network, frames = make_network(), numbers(3, 9, N_COLUMNS)
    fused = fuse_lstms(network)
    np.testing.assert_allclose(answer(fused, frames), answer(network, frames), atol=1e-5)
    kinds = [
        type(layer.forward_layer)
        for owner in (network, fused)
        for layer in owner.layers
        if isinstance(layer, layers.Bidirectional)
    ]
    assert kinds == [layers.LSTM, BlockLstm]


def test_an_unfused_network_answers_the_same_with_keras_own_layers() -> None:
    frames = numbers(3, 9, N_COLUMNS)
    features, n_frames = (
        keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in make_network().inputs
    )
    hidden = BlockLstm(UNITS, return_sequences=True)(features, mask=FrameMask()(features, n_frames))
    for network in (fuse_lstms(make_network()), keras.Model([features, n_frames], hidden[:, 0])):
        unfused = unfuse_lstms(network)
        np.testing.assert_allclose(answer(unfused, frames), answer(network, frames), atol=1e-5)
        inner = [getattr(layer, "forward_layer", layer) for layer in unfused.layers]
        assert any(isinstance(layer, layers.LSTM) for layer in inner)
        assert not any(isinstance(layer, BlockLstm) for layer in inner)


@pytest.mark.parametrize("filling", [0.0, 1e3])
def test_what_pads_a_clip_changes_nothing(filling: float) -> None:
    frames = numbers(3, 9, N_COLUMNS)
    padded = frames.copy()
    for clip, length in zip(padded, LENGTHS, strict=True):
        clip[length:] = filling
    fused = fuse_lstms(make_network())
    np.testing.assert_allclose(answer(fused, padded), answer(fused, frames), atol=1e-5)


def test_networks_inside_a_network_are_fused_too() -> None:
    members = [make_network(seed) for seed in (0, 1)]
    inputs = [keras.Input(i.shape[1:], dtype=i.dtype, name=i.name) for i in members[0].inputs]
    for i, member in enumerate(members):
        member.name = f"member_{i}"
    ensemble = keras.Model(inputs, layers.Average()([member(inputs) for member in members]))
    fused, frames = fuse_lstms(ensemble), numbers(3, 9, N_COLUMNS)
    np.testing.assert_allclose(answer(fused, frames), answer(ensemble, frames), atol=1e-5)
    served = tf.function(lambda features, n_frames: fused([features, n_frames], training=False))
    graph = served.get_concrete_function(
        tf.TensorSpec((None, None, N_COLUMNS)), tf.TensorSpec((None,), tf.int32)
    ).graph
    assert "While" not in {operation.type for operation in graph.get_operations()}
