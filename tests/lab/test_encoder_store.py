"""Encoder vectors kept on disk."""

from pathlib import Path

import numpy as np
import pytest

from ser_core.audio.load import load_audio
from ser_core.config import WHISPER_FEATURES, PipelineConfig
from ser_core.features import extract_features
from ser_core.preprocess import preprocess
from ser_core.whisper.encoder import WhisperEncoder, encode
from ser_core.whisper.spec import EncoderConfig
from ser_lab.data import encoder_store as vectors_module
from ser_lab.data.encoder_store import load_vectors
from ser_lab.data.feature_store import FEATURES_FORMAT
from tests.accurate import made_up_tensors
from tests.conftest import Golden

PIPELINE = PipelineConfig(features=WHISPER_FEATURES)
CONFIG = EncoderConfig(blocks=(1, 2))


@pytest.fixture(scope="module")
def stored(
    miniature: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], Path, list[np.ndarray | None]]:
    """Clips, the cache and their vectors; the last clip is no sound."""
    cache = tmp_path_factory.mktemp("cache")
    broken = cache / "broken.wav"
    broken.write_bytes(b"no sound")
    clips = [*sorted((miniature / "tess").glob("*.wav"))[:3], broken]
    return clips, cache, load_vectors(clips, PIPELINE, CONFIG, made_up_tensors(), cache=cache)


def test_vectors_are_those_that_serving_computes(
    stored: tuple[list[Path], Path, list[np.ndarray | None]],
) -> None:
    clips, _, vectors = stored
    encoder = WhisperEncoder(CONFIG.n_blocks)
    encoder.set_tensors(made_up_tensors())
    speech = preprocess(load_audio(clips[0], PIPELINE.audio), PIPELINE)
    log_mel = extract_features(speech.samples, PIPELINE)
    expected, _ = encode(
        encoder,
        log_mel[np.newaxis],
        np.array([len(log_mel)], np.int32),
        blocks=CONFIG.blocks,
        pool=CONFIG.pool,
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(vectors[0], np.array(expected[0]), atol=2e-3 * scale)


def test_vectors_of_one_format_are_the_same(
    stored: tuple[list[Path], Path, list[np.ndarray | None]], golden: Golden
) -> None:
    vectors = stored[2][0].astype(np.float32)
    golden.check(
        "stored_vectors",
        vectors[::4, ::96],
        atol=2e-3 * np.abs(vectors).max(),
        cache_format=FEATURES_FORMAT,
    )


def test_a_clip_that_cannot_be_read_is_none(
    stored: tuple[list[Path], Path, list[np.ndarray | None]],
) -> None:
    assert [clip is None for clip in stored[2]] == [False, False, False, True]


def test_a_second_load_encodes_nothing(
    stored: tuple[list[Path], Path, list[np.ndarray | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, cache, vectors = stored
    monkeypatch.setattr(vectors_module, "compile_encoder", None)  # calling it would fail
    again = load_vectors(clips, PIPELINE, CONFIG, made_up_tensors(), cache=cache)
    np.testing.assert_array_equal(again[0], vectors[0])


def test_clips_without_any_sound_are_stored_as_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    vectors = load_vectors([broken], PIPELINE, CONFIG, made_up_tensors(), cache=tmp_path)
    assert vectors == [None]
