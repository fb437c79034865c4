"""CAM++'s first blocks in Keras, against the same in NumPy."""

import math

import numpy as np
import pytest

from ser_core import speaker_encoder
from ser_core.config import WHISPER_FEATURES, PipelineConfig
from ser_core.features import extract_features
from ser_core.voice_encoder import N_BLOCKS, VoiceEncoder, convert_bands
from ser_core.whisper.encoder import WhisperEncoder, encode
from ser_core.whisper.spec import N_MELS, VOICE_WIDTH, EncoderConfig
from tests.accurate import made_up_tensors
from tests.conftest import make_babble

MARGIN = 50
LENGTHS = np.array([420, 301, 103, 7], np.int32)


@pytest.fixture(scope="module")
def log_mel() -> np.ndarray:
    """(4, 420, 80) of changing noise; what follows a clip's end is no silence."""
    random = np.random.default_rng(0)
    return random.normal(size=(4, 420, N_MELS)).cumsum(axis=1).astype(np.float32) / 20


def test_a_clip_has_the_vectors_of_the_numpy_network(log_mel: np.ndarray) -> None:
    found = np.asarray(VoiceEncoder(MARGIN)(log_mel, LENGTHS))
    assert found.shape == (4, 210, VOICE_WIDTH)
    for clip, n_frames, vectors in zip(log_mel[:3], LENGTHS, found, strict=False):
        bands = np.asarray(convert_bands(clip[MARGIN : n_frames - MARGIN]))
        centred = (bands - bands.mean(axis=0)).T
        expected = speaker_encoder.encode_bands(centred, N_BLOCKS).T
        first, last = MARGIN // 2, MARGIN // 2 + len(expected)
        np.testing.assert_allclose(vectors[first:last], expected, atol=1e-3)
        assert (vectors[:first] == vectors[first]).all()
        assert (vectors[last : n_frames // 2] == vectors[last - 1]).all()
    assert np.isfinite(found).all()


def test_padding_and_neighbours_change_nothing(log_mel: np.ndarray) -> None:
    layer = VoiceEncoder(MARGIN)
    together = np.asarray(layer(log_mel, LENGTHS))
    for clip, n_frames, vectors in zip(log_mel, LENGTHS, together, strict=True):
        alone = np.asarray(layer(clip[None, :n_frames], np.array([n_frames], np.int32)))[0]
        np.testing.assert_allclose(vectors[: len(alone)], alone, atol=1e-3)


def test_whispers_bands_become_those_of_kaldi() -> None:
    samples = make_babble(duration_s=3.0)
    samples += np.random.default_rng(0).normal(0.0, 1e-3, len(samples)).astype(np.float32)
    config = PipelineConfig(features=WHISPER_FEATURES)
    kaldi = speaker_encoder.filter_bank(samples).T
    # Kaldi's frames begin where Whisper's have their middle, which have margins, too.
    first = round(WHISPER_FEATURES.margin_s * 100) + 1
    bands = np.asarray(convert_bands(extract_features(samples, config)))[first:][: len(kaldi)]
    bands = bands - bands.mean(axis=0)
    assert np.corrcoef(bands.ravel(), kaldi.ravel())[0, 1] > 0.9
    assert math.isclose(bands.std(), kaldi.std(), rel_tol=0.2)


def test_its_columns_follow_those_of_the_blocks(log_mel: np.ndarray) -> None:
    config = EncoderConfig(blocks=(2, 1), pool=8, voice_margin=MARGIN)
    encoder, voice = WhisperEncoder.of(config), VoiceEncoder.of(config)
    encoder.set_tensors(made_up_tensors())
    clips = (log_mel[:1], LENGTHS[:1])
    vectors, _ = encode(encoder, *clips, blocks=config.blocks, pool=8, voice=voice)
    plain, _ = encode(encoder, *clips, blocks=config.blocks, pool=8)
    assert vectors.shape == (1, 27, config.n_columns)
    assert config.n_columns == 2 * 384 + config.n_voice_columns
    np.testing.assert_array_equal(vectors[..., : -config.n_voice_columns], plain)
    assert VoiceEncoder.of(EncoderConfig(blocks=(1,))) is None


def test_a_layer_survives_its_configuration() -> None:
    assert VoiceEncoder.from_config(VoiceEncoder(7).get_config()).margin == 7


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="voice_margin is -1"):
        EncoderConfig(blocks=(1,), voice_margin=-1)
