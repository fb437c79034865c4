"""Whisper's encoder in Keras, against a reference and against itself."""

from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.whisper.encoder import PoolVectors, WhisperEncoder, encode
from ser_core.whisper.spec import N_MELS, TINY, EncoderConfig
from ser_core.whisper.weights import read_tensors
from tests.accurate import made_up_tensors

LENGTHS = np.array([61, 120, 7], np.int32)


@pytest.fixture(scope="module")
def encoder() -> WhisperEncoder:
    """All blocks, with made-up weights."""
    encoder = WhisperEncoder()
    encoder.set_tensors(made_up_tensors())
    return encoder


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Three clips of noise, each (1, n_frames, 80)."""
    random = np.random.default_rng(0)
    return [random.uniform(-1, 1, (1, n, N_MELS)).astype(np.float32) for n in LENGTHS]


def alone(encoder: WhisperEncoder, clip: np.ndarray) -> list[np.ndarray]:
    """Outputs of all blocks for one clip without padding, each (n_vectors, 384)."""
    outputs = encoder(clip, np.array([clip.shape[1]], np.int32))
    return [np.asarray(output)[0] for output in outputs]


@pytest.mark.needs_data
def test_every_block_answers_as_the_reference(whisper_folder: Path) -> None:
    reference = np.load(whisper_folder / "reference.npz")
    encoder = WhisperEncoder()
    encoder.set_tensors(
        read_tensors(whisper_folder / "model.safetensors", EncoderConfig(blocks=(1,)))
    )
    outputs = alone(encoder, reference["log_mel"][np.newaxis])
    for i, output in enumerate(outputs, start=1):
        # Some columns are in the hundreds: there, processors differ by more in float32.
        np.testing.assert_allclose(output, reference[f"block_{i}"], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("n_frames", [1, 2, 59, 120])
def test_a_clip_has_a_vector_for_every_second_frame(
    encoder: WhisperEncoder, clips: list[np.ndarray], n_frames: int
) -> None:
    outputs = alone(encoder, clips[1][:, :n_frames])
    assert [output.shape for output in outputs] == TINY.n_blocks * [
        ((n_frames + 1) // 2, TINY.width)
    ]


def test_padding_and_neighbours_change_nothing(
    encoder: WhisperEncoder, clips: list[np.ndarray]
) -> None:
    batch = np.full((len(clips), 150, N_MELS), 7.0, np.float32)  # padding that is not silence
    for row, clip in zip(batch, clips, strict=True):
        row[: clip.shape[1]] = clip[0]
    outputs = encoder(batch, LENGTHS)
    for i, clip in enumerate(clips):
        for padded, expected in zip(outputs, alone(encoder, clip), strict=True):
            np.testing.assert_allclose(np.asarray(padded)[i, : len(expected)], expected, atol=1e-4)


def test_fewer_blocks_are_the_first_ones(encoder: WhisperEncoder, clips: list[np.ndarray]) -> None:
    shallow = WhisperEncoder(n_blocks=2)
    shallow.set_tensors(made_up_tensors())
    outputs = alone(shallow, clips[0])
    assert len(outputs) == 2
    for output, expected in zip(outputs, alone(encoder, clips[0]), strict=False):
        np.testing.assert_array_equal(output, expected)


def test_an_encoder_survives_its_configuration() -> None:
    again = WhisperEncoder.from_config(WhisperEncoder(n_blocks=3).get_config())
    assert len(again.blocks) == 3


def test_a_larger_encoder_has_its_own_sizes(clips: list[np.ndarray]) -> None:
    config = EncoderConfig(blocks=(2, 6), repo="openai/whisper-base")
    encoder = WhisperEncoder.from_config(WhisperEncoder.of(config).get_config())
    encoder.set_tensors(made_up_tensors(size=config.size))
    outputs = encoder(clips[0], LENGTHS[:1])
    assert [output.shape for output in outputs] == 6 * [(1, 31, 512)]
    vectors, _ = encode(encoder, clips[0], LENGTHS[:1], blocks=config.blocks, pool=8)
    assert vectors.shape == (1, 4, config.n_columns) == (1, 4, 1024)
    with pytest.raises(ValueError, match="some of 1 to 6 are needed"):
        EncoderConfig(blocks=(7,), repo="openai/whisper-base")
    with pytest.raises(ValueError, match="repo is openai/whisper-x"):
        EncoderConfig(blocks=(1,), repo="openai/whisper-x")


@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 23), size=st.integers(1, 5), seed=st.integers(0, 99))
def test_pooling_averages_what_is_real(length: int, size: int, seed: int) -> None:
    clip = np.random.default_rng(seed).normal(size=(length, 3)).astype(np.float32)
    padded = np.full((1, 23, 3), 9.0, np.float32)
    padded[0, :length] = clip
    pooled, n_pooled = PoolVectors(size)(padded, np.array([length], np.int32))
    expected = [clip[start : start + size].mean(axis=0) for start in range(0, length, size)]
    assert np.asarray(n_pooled).tolist() == [len(expected)]
    np.testing.assert_allclose(np.asarray(pooled)[0, : len(expected)], expected, atol=1e-5)
    assert not np.asarray(pooled)[0, len(expected) :].any()


def test_a_head_sees_the_blocks_that_were_named_in_their_order(
    encoder: WhisperEncoder, clips: list[np.ndarray]
) -> None:
    lengths = LENGTHS[:1]
    vectors, n_vectors = encode(encoder, clips[0], lengths, blocks=(3, 1), pool=4)
    outputs = alone(encoder, clips[0])
    assert n_vectors.numpy().tolist() == [8]  # 61 frames, 31 vectors, 8 groups
    for block, part in zip((3, 1), np.split(np.asarray(vectors)[0], 2, axis=1), strict=True):
        expected = [outputs[block - 1][i : i + 4].mean(axis=0) for i in range(0, 31, 4)]
        np.testing.assert_allclose(part, expected, atol=1e-5)


def test_pooling_is_kept_by_a_saved_network(tmp_path: Path) -> None:
    vectors = keras.Input((None, 3))
    n_vectors = keras.Input((), dtype="int32")
    network = keras.Model([vectors, n_vectors], PoolVectors(3)(vectors, n_vectors))
    network.save(tmp_path / "pool.keras")
    again = keras.models.load_model(tmp_path / "pool.keras")
    clip, length = np.ones((1, 7, 3), np.float32), np.array([7], np.int32)
    assert again([clip, length])[0].shape == (1, 3, 3)
