"""Features kept on disk."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.audio.load import load_audio
from ser_core.config import FEATURE_GROUPS, WHISPER_FEATURES, FeatureConfig, PipelineConfig
from ser_core.features import extract_features
from ser_core.preprocess import preprocess
from ser_lab.data import feature_store as store
from ser_lab.data.augment import Augmentation, Changes
from ser_lab.data.feature_store import FEATURES_FORMAT, Change, load_features, shard_key, store_key
from ser_lab.reproduce.recipes import COPIES, find_reproductions
from tests.conftest import RATE_HZ, Golden, make_babble

CONFIG = PipelineConfig()
EVERY = Augmentation(
    rebuilt_share=1.0, eq_share=1.0, room_share=1.0, hiss_share=1.0, low_pass_share=1.0,
    telephone_share=1.0,
)  # fmt: skip
"""A copy with every change."""


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


def test_features_of_one_format_are_the_same(tmp_path: Path, golden: Golden) -> None:
    clip = tmp_path / "stereo.flac"
    slow = np.repeat(make_babble(seed=3), 3)
    soundfile.write(clip, np.stack([slow, 0.5 * slow], axis=1), 3 * RATE_HZ)
    every_group = replace(CONFIG, features=FeatureConfig(groups=FEATURE_GROUPS))
    whisper = PipelineConfig(features=WHISPER_FEATURES)
    published = find_reproductions("lstm")[0].pipeline

    def numbers(config: PipelineConfig, changes: Change | None = None) -> np.ndarray:
        (features,) = load_features([clip], config, changes=changes, cache=tmp_path)
        return features[::16, :: -(-features.shape[1] // 15)].ravel()

    features = np.concatenate([numbers(config) for config in (every_group, whisper, published)])
    golden.check("stored_features", features, atol=1e-2, cache_format=FEATURES_FORMAT)
    copies = np.concatenate([numbers(CONFIG, kind) for kind in (Changes(EVERY, tmp_path), *COPIES)])
    golden.check("stored_copies", copies, atol=0.2, cache_format=FEATURES_FORMAT)


def test_a_new_store_removes_those_of_earlier_formats_and_nothing_else(
    clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, folder = 16 * "a", tmp_path / "features"
    earlier = [key, f"format1-{key}"]
    kept = [f"format2-{key}", f"format3-{key}", "notes", 16 * "b"]
    for name in [*earlier, *kept]:
        (folder / name).mkdir(parents=True)
        (folder / name / f"{key}.npz").touch()
        (folder / name / f"{key}.123.tmp").touch()
    (folder / kept[-1] / "notes.txt").touch()
    monkeypatch.setattr(store, "FEATURES_FORMAT", 2)
    load_features(clips[:1], CONFIG, cache=tmp_path)
    current = f"format2-{store_key(CONFIG)[:16]}"
    assert {path.name for path in folder.iterdir()} == {current, *kept}


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
