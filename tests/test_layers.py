"""Our own layers: masks, pooling, dropout of whole blocks, LSTMs as one operation."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ser_core.model.layers import AttentivePooling, BandDropout, BlockLstm, FrameMask


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


def test_band_dropout_hides_a_run_of_columns_of_a_clip() -> None:
    keras.utils.set_random_seed(0)
    layer = BandDropout(most=6)
    frames = np.ones((200, 3, 20), np.float32)
    hidden = np.array(layer(frames, training=True)) == 0.0
    assert (hidden == hidden[:, :1]).all()  # alike in all frames of a clip
    widths = hidden[:, 0].sum(axis=1)
    assert 1 < widths.mean() < 5
    assert widths.max() <= 7
    edges = np.abs(np.diff(hidden[:, 0].astype(int), axis=1)).sum(axis=1)
    assert edges.max() <= 2  # in one run
    assert (np.array(layer(frames, training=False)) == frames).all()


def recurrent_network(lstm: type[keras.layers.LSTM], *, bidirectional: bool) -> keras.Model:
    frames = keras.Input((7, 3))
    layers = [lstm(5, return_sequences=True, use_cudnn=False), lstm(4, use_cudnn=False)]
    if bidirectional:
        layers = [keras.layers.Bidirectional(layer) for layer in layers]
    return keras.Model(frames, layers[1](layers[0](frames)))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_block_lstm_answers_and_learns_as_keras_does(bidirectional: bool) -> None:
    frames = numbers(6, 7, 3)
    ours, theirs = (
        recurrent_network(lstm, bidirectional=bidirectional)
        for lstm in (BlockLstm, keras.layers.LSTM)
    )
    ours.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    slopes = []
    for network in (ours, theirs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(network(frames)))
        slopes.append(tape.gradient(loss, [weight.value for weight in network.weights]))
    np.testing.assert_allclose(ours(frames), theirs(frames), atol=1e-5)
    for our_slope, their_slope in zip(*slopes, strict=True):
        np.testing.assert_allclose(our_slope, their_slope, rtol=1e-3, atol=1e-3)


def test_a_block_lstm_is_saved_and_heeds_a_mask(tmp_path: Path) -> None:
    frames = numbers(2, 7, 3)
    network = recurrent_network(BlockLstm, bidirectional=True)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_allclose(again(frames), network(frames), atol=1e-6)
    layer = BlockLstm(4, use_cudnn=False)
    cut = layer(frames, mask=np.arange(7)[None].repeat(2, axis=0) < 5)
    np.testing.assert_allclose(cut, layer(frames[:, :5]), atol=1e-6)
