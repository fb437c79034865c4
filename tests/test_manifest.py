"""Manifests: what is read, written and rejected."""

import json
import random
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

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
from ser_core.model.manifest import FORMAT, MAX_BYTES, PINNED, Manifest, Probe, digest_of
from tests.accurate import Parts, write_parts
from tests.conftest import ROOT, Golden


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
    figures = {"test": {"uar": 0.5, "n_clips": 9}}
    renamed = replace(manifest, name="another", metrics=figures)
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
        replace(manifest, files=manifest.files | {"saved_model/saved_model.pb": "0" * 64}),
    ):
        assert same.weights_sha256 == expected
    for other in (
        replace(manifest, files=manifest.files | {"head.keras": "0" * 64}),
        replace(manifest, encoder=replace(manifest.encoder, tensors_sha256="0" * 64)),
        replace(manifest, encoder=None),
        replace(manifest, temperature=2.0),
        replace(manifest, files={"saved_model/saved_model.pb": "0" * 64}),
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


def resign(folder: Path, **changes: object) -> None:
    """Change fields as their author would: the digest fits."""
    path = folder / "manifest.json"
    stored = json.loads(path.read_text()) | {"format": FORMAT} | changes
    path.write_text(json.dumps(stored | {"digest": digest_of(stored)}))


def test_the_bundled_models_are_those_pinned_in_the_code() -> None:
    """After a training, paste what this prints into `PINNED` of ser_core/model/manifest.py."""
    folders = sorted(path.parent for path in (ROOT / "model").glob("*/manifest.json"))
    found = {folder.name: Manifest.read(folder).digest for folder in folders}
    assert found == PINNED, f"\nPINNED = {json.dumps(found, indent=4)}\n"


def test_a_pinned_manifest_is_known_wherever_it_lies(folder: Path) -> None:
    assert Manifest.read(folder).is_pinned
    replace(Manifest.parse(folder), seed=8).write(folder)
    assert not Manifest.parse(folder).is_pinned


@pytest.mark.parametrize("kind", ["network", "head"])
def test_no_flipped_bit_changes_a_manifest_unnoticed(
    kind: str, folder: Path, head_folder: Path
) -> None:
    place = folder if kind == "network" else head_folder
    Manifest.parse(place).write(place)
    expected, whole = Manifest.parse(place), (place / "manifest.json").read_bytes()
    chance, n_refused = random.Random(0), 0
    for _ in range(400):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (place / "manifest.json").write_bytes(content)
        try:
            assert Manifest.parse(place) == expected
        except ModelError:
            n_refused += 1
    assert n_refused > 200


@pytest.mark.parametrize("labels", [list(reversed(LABELS)), [*LABELS[1:], LABELS[0]]])
def test_labels_in_another_order_are_noticed(folder: Path, labels: list[str]) -> None:
    Manifest.parse(folder).write(folder)
    edit(folder, labels=labels)
    with pytest.raises(ModelError, match="was changed after it was written"):
        Manifest.parse(folder)


NO_NAMES = ("", ".", "..", "../x", "/x", "a/b/", "a//b", "a/../b", "a\\b", "C:x", "x\n", "a" * 65)


@pytest.mark.parametrize("name", [*NO_NAMES, "a/b", "\x1b[31m", "‮x", "-x"])
def test_the_name_of_a_model_is_a_plain_file_name(folder: Path, name: str) -> None:
    resign(folder, name=name)
    with pytest.raises(ModelError, match="where a plain file name is expected") as info:
        Manifest.parse(folder)
    assert str(info.value).isprintable()


@pytest.mark.parametrize("path", [*NO_NAMES, "\x1b[31m"])
def test_files_lie_inside_the_folder(folder: Path, path: str) -> None:
    stored = json.loads((folder / "manifest.json").read_text())
    resign(folder, files=stored["files"] | {path: "0" * 64})
    with pytest.raises(ModelError, match="where a file inside the folder is expected"):
        Manifest.parse(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"repo": "../x"},
        {"repo": "x"},
        {"file": "../x"},
        {"revision": "../x"},
        {"deltas": "../x"},
        {"tensors_sha256": 5},
        {"blocks": [1.0]},
        {"blocks": "12"},
        {"pool": 10**30},
    ],
    ids=str,
)
def test_an_encoder_is_named_by_plain_names(head_folder: Path, changes: dict[str, object]) -> None:
    stored = json.loads((head_folder / "manifest.json").read_text())
    resign(head_folder, encoder=stored["encoder"] | changes)
    with pytest.raises(ModelError):
        Manifest.parse(head_folder)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("labels", 5), ("labels", "abc"), ("labels", []), ("labels", ["a", "a"]),
        ("labels", [1, 2]), ("labels", [["a"], ["b"]]), ("columns", None),
        ("temperature", 0), ("temperature", -1.0), ("temperature", "1"), ("temperature", True),
        ("temperature", float("nan")), ("temperature", float("inf")), ("temperature", 10**400),
        ("version", "1\x1b[31m"), ("n_parameters", 1.5), ("split", {"test": [5]}),
        ("split", []), ("corpora", [5]), ("corpora", [{}]), ("metrics", {"test": 5}),
        ("metrics", {"test": {}}), ("metrics", {"test": {"n_clips": 1, "uar": "high"}}),
        ("files", {}), ("files", {"network.keras": "0"}), ("files", ["network.keras"]),
        ("certainty", {"confidence": "high", "precision": 1, "share": 1}), ("certainty", []),
        ("neutral_reference", [1.0]), ("neutral_reference", [None] * 8), ("format", [5]),
        ("probe", {"seed": 0, "n_frames": [], "probabilities": []}),
        ("probe", {"seed": 0, "n_frames": [10**9], "probabilities": [[0.125] * 8]}),
        ("probe", {"seed": -1, "n_frames": [5], "probabilities": [[0.125] * 8]}),
        ("probe", {"seed": 0, "n_frames": [5], "probabilities": [[1.0]]}),
        ("pipeline", []), ("pipeline", {"audio": 5}), ("pipeline.audio.sample_rate_hz", 0),
        ("pipeline.audio.sample_rate_hz", "16000"), ("pipeline.audio.max_bytes", 10**12),
        ("pipeline.preprocess.trim_hop_length", 0), ("pipeline.preprocess.level", []),
        ("pipeline.features.groups", "rms"), ("pipeline.features.groups", [{}]),
        ("pipeline.features.n_mels", 10**9), ("pipeline.features.hop_length", 0),
        ("pipeline.features.frame_length", 10**9), ("pipeline.windows.hop_s", 0),
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_refused_in_a_sentence(
    folder: Path, path: str, value: object
) -> None:
    stored = json.loads((folder / "manifest.json").read_text())
    *parents, last = path.split(".")
    place = stored
    for parent in parents:
        place = place[parent]
    place[last] = value
    stored["format"] = FORMAT if path != "format" else value
    resign(folder, **stored)
    with pytest.raises(ModelError) as info:
        Manifest.parse(folder)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"\xff", b"[" * 100_000, b'{"format": 5}', b"{" + b" " * MAX_BYTES + b"}"],
    ids=["empty", "list", "bytes", "deep", "format alone", "large"],
)
def test_what_is_no_manifest_is_refused_in_a_sentence(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"manifest\.json"):
        Manifest.parse(folder)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(data=st.data())
def test_a_forged_manifest_is_read_or_refused(parts: Parts, data: st.DataObject) -> None:
    """Any part replaced by anything, by its author."""
    stored = json.loads((parts.folder / "manifest.json").read_text())
    with TemporaryDirectory() as root:
        place, key = stored, data.draw(st.sampled_from(sorted(stored)))
        while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
            place = place[key]
            is_list = isinstance(place, list)
            key = data.draw(st.sampled_from(range(len(place)) if is_list else sorted(place)))
        place[key] = data.draw(values)
        (Path(root) / "manifest.json").write_text(
            json.dumps(stored | {"digest": digest_of(stored)})
        )
        with suppress(ModelError):
            assert Manifest.parse(Path(root)).digest == digest_of(stored)
