"""Our own layers: masks, pooling, dropout of whole blocks."""

import keras
import numpy as np
from keras import ops

from ser_core.layers import AttentivePooling, BandDropout, FrameMask


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
