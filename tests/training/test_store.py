"""Features kept on disk."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_core.audio import load_audio
from ser_core.config import FeatureConfig, PipelineConfig
from ser_core.features import extract_features
from ser_core.preprocess import preprocess
from ser_core.training import store
from ser_core.training.store import load_features, shard_key, store_key

CONFIG = PipelineConfig()


@pytest.fixture
def clips(miniature: Path) -> list[Path]:
    return sorted((miniature / "tess").glob("*.wav"))


def test_stored_features_are_those_that_serving_computes(clips: list[Path], tmp_path: Path) -> None:
    stored = load_features(clips, CONFIG, cache=tmp_path)
    for path, features in zip(clips, stored, strict=True):
        speech = preprocess(load_audio(path, CONFIG.audio), CONFIG)
        np.testing.assert_array_equal(features, extract_features(speech.samples, CONFIG))


def test_a_second_load_computes_nothing(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_features(clips, CONFIG, cache=tmp_path)
    monkeypatch.setattr(store, "_write_features", None)  # calling it would fail
    for before, after in zip(first, load_features(clips, CONFIG, cache=tmp_path), strict=True):
        np.testing.assert_array_equal(before, after)


def test_an_interrupted_run_computes_only_what_is_missing(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SHARD_CLIPS", 5)
    load_features(clips, CONFIG, cache=tmp_path)
    shards = sorted(tmp_path.rglob("*.npz"))
    assert len(shards) == 3
    shards[1].unlink()
    untouched = {shard: shard.stat().st_mtime_ns for shard in (shards[0], shards[2])}
    load_features(clips, CONFIG, cache=tmp_path)
    assert sorted(tmp_path.rglob("*.npz")) == shards
    assert {shard: shard.stat().st_mtime_ns for shard in untouched} == untouched


def test_a_clip_that_cannot_be_read_is_none(clips: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    features = load_features([clips[0], broken], CONFIG, cache=tmp_path)
    assert features[0] is not None
    assert features[1] is None


def test_another_setting_is_another_store() -> None:
    other = replace(CONFIG, features=FeatureConfig(groups=("log_mel",)))
    assert store_key(CONFIG) == store_key(PipelineConfig())
    assert store_key(other) != store_key(CONFIG)


def test_copied_or_moved_clips_keep_their_shard(tmp_path: Path) -> None:
    first, second = tmp_path / "a.wav", tmp_path / "b.wav"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    key = shard_key([first, second])
    moved = [Path(shutil.copy(path, tmp_path / f"moved-{path.name}")) for path in (first, second)]
    assert shard_key(moved) == key
    assert shard_key(moved[::-1]) != key
    moved[0].write_bytes(b"won")
    assert shard_key(moved) != key
