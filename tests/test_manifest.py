"""Manifests: what is read, written and rejected."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser_core.config import (
    FEATURE_GROUPS,
    WHISPER_FEATURES,
    AudioConfig,
    FeatureConfig,
    PipelineConfig,
    PreprocessConfig,
    WindowConfig,
)
from ser_core.errors import ModelError
from ser_core.labels import LABELS
from ser_core.model.emotion_model import load_model
from ser_core.model.manifest import Manifest, Probe
from tests.accurate import Parts, write_parts
from tests.conftest import Golden


@pytest.fixture
def folder(bundled_model: Path, tmp_path: Path) -> Path:
    """A copy of the bundled model, to be damaged."""
    return Path(shutil.copytree(bundled_model, tmp_path / "model"))


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return write_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def head_folder(parts: Parts, tmp_path: Path) -> Path:
    """A copy of a model that is a head behind Whisper's encoder, to be damaged."""
    return Path(shutil.copytree(parts.folder, tmp_path / "head"))


def edit(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_manifest_survives_a_round_trip(folder: Path) -> None:
    manifest = Manifest.read(folder)
    renamed = replace(manifest, name="another", metrics={"test": {"uar": 0.5}})
    renamed.write(folder)
    assert Manifest.read(folder) == renamed


def test_a_field_is_read_under_its_earlier_name_too(folder: Path) -> None:
    manifest = Manifest.read(folder)
    assert len(manifest.neutral_reference) == len(manifest.labels)
    manifest.write(folder)
    stored = json.loads((folder / "manifest.json").read_text())
    stored["calm_reference"] = stored.pop("neutral_reference")
    del stored["digest"]
    stored["format"] = 4
    (folder / "manifest.json").write_text(json.dumps(stored))
    assert Manifest.read(folder) == manifest


def test_the_hash_of_the_weights_follows_weights_and_no_figure(parts: Parts) -> None:
    manifest = parts.manifest
    assert manifest.encoder is not None
    expected = manifest.weights_sha256
    for same in (
        replace(manifest, metrics={"test": {"uar": 0.5}}, version="9.9", commit="0" * 40),
        replace(manifest, files=dict(reversed(manifest.files.items()))),
        replace(manifest, encoder=replace(manifest.encoder, revision="0" * 40)),
    ):
        assert same.weights_sha256 == expected
    for other in (
        replace(manifest, files=manifest.files | {"head.keras": "0" * 64}),
        replace(manifest, encoder=replace(manifest.encoder, tensors_sha256="0" * 64)),
        replace(manifest, encoder=None),
        replace(manifest, temperature=2.0),
    ):
        assert other.weights_sha256 != expected


def test_the_manifest_of_a_head_survives_a_round_trip(parts: Parts) -> None:
    assert Manifest.read(parts.folder) == parts.manifest


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("probe", None, "names an encoder, but not the features of whisper_log_mel or no probe"),
        ("files", {}, r"names an encoder, but not the files \['head\.keras'\]"),
        ("encoder", {"blocks": [1]}, "encoder settings are"),
    ],
)
def test_an_encoder_without_what_it_needs_is_refused(
    head_folder: Path, field: str, value: object, message: str
) -> None:
    edit(head_folder, **{field: value})
    with pytest.raises(ModelError, match=message):
        Manifest.read(head_folder)


@pytest.mark.parametrize("changes", [{"blocks": [0]}, {"blocks": [5]}, {"blocks": []}, {"pool": 0}])
def test_an_encoder_that_cannot_be_is_refused(
    head_folder: Path, changes: dict[str, object]
) -> None:
    stored = json.loads((head_folder / "manifest.json").read_text())
    edit(head_folder, encoder=stored["encoder"] | changes)
    with pytest.raises(ModelError, match=r"encoder settings: .* needed"):
        Manifest.read(head_folder)


def test_the_input_of_a_probe_is_the_same_everywhere(golden: Golden) -> None:
    features, n_frames = Probe(seed=3, n_frames=(2, 3), probabilities=()).batch(2)
    assert n_frames.tolist() == [2, 3]
    golden.check("probe", features.reshape(6, 2), atol=1e-6)


def test_bundled_labels_are_the_eight_in_order(bundled_model: Path) -> None:
    assert Manifest.read(bundled_model).labels == LABELS


configs = st.builds(
    PipelineConfig,
    audio=st.builds(AudioConfig, max_duration_s=st.floats(1, 600)),
    preprocess=st.builds(
        PreprocessConfig,
        level=st.sampled_from(["peak", "pydub", "none"]),
        trim=st.booleans(),
        noise_reduction=st.booleans(),
    ),
    features=st.just(WHISPER_FEATURES)
    | st.builds(
        FeatureConfig,
        groups=st.lists(st.sampled_from(FEATURE_GROUPS), min_size=1, unique=True).map(tuple),
        n_mels=st.integers(8, 128),
    ),
    windows=st.builds(WindowConfig, window_s=st.floats(1, 10)),
)


@given(config=configs)
def test_pipeline_config_survives_json(config: PipelineConfig) -> None:
    assert PipelineConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_a_folder_without_manifest_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"contains no manifest\.json.*ser_core train"):
        load_model(tmp_path)


def test_a_manifest_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "has format 1; this version reads format 5"),
        ({"labels": ["happy", "sad"]}, "signature that does not fit"),
        ({"columns": ["rms"]}, r"lists the columns \['rms'\]"),
        ({"pipeline": {"audio": {}}}, "audio settings are"),
    ],
    ids=["format", "labels", "columns", "pipeline"],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    folder: Path, changes: dict[str, object], message: str
) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_a_manifest_without_a_field_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    stored = json.loads(path.read_text())
    del stored["temperature"]
    path.write_text(json.dumps(stored))
    with pytest.raises(ModelError, match=r"lacks \['temperature'\]"):
        load_model(folder)


def test_an_unknown_setting_is_refused(folder: Path) -> None:
    stored = json.loads((folder / "manifest.json").read_text())
    stored["pipeline"]["features"]["groups"] = ["chroma"]
    edit(folder, pipeline=stored["pipeline"])
    with pytest.raises(ModelError, match="'chroma' is no feature group"):
        load_model(folder)


def test_settings_that_do_not_go_together_are_refused(folder: Path) -> None:
    stored = json.loads((folder / "manifest.json").read_text())
    stored["pipeline"]["features"]["groups"] = ["whisper_log_mel"]
    edit(folder, pipeline=stored["pipeline"])
    with pytest.raises(ModelError, match="whisper_log_mel stands alone, on frames of 400"):
        load_model(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "saved_model" / "saved_model.pb").unlink()
    with pytest.raises(ModelError, match=r"saved_model\.pb is missing"):
        load_model(folder)


def test_a_changed_file_is_named(folder: Path) -> None:
    with (folder / "saved_model" / "saved_model.pb").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        load_model(folder)
