"""Both kinds of model as one callable: the bundled SavedModel, and encoder with head."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ser_core.errors import ModelError
from ser_core.labels import LABELS
from ser_core.model.assemble import record_probe
from ser_core.model.emotion_model import EmotionModel, load_model
from ser_core.model.manifest import HEAD, Manifest, sha256_of
from ser_core.model.saved_model import NETWORK, SAVED_MODEL, save_servable
from tests.accurate import write_parts
from tests.conftest import ROOT


@pytest.fixture(scope="module", params=["compact", "accurate"])
def model_folder(
    request: pytest.FixtureRequest,
    bundled_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """The bundled model; and one of made-up parts, assembled in a cache of the module's own."""
    if request.param == "compact":
        yield bundled_model
        return
    root = tmp_path_factory.mktemp("accurate")
    parts = write_parts(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(root / "cache"))
        patch.setenv("MOODMIRROR_ENCODER", str(parts.weights))
        yield parts.folder


@pytest.fixture(scope="module")
def model(model_folder: Path) -> EmotionModel:
    return load_model(model_folder)


def frames(model: EmotionModel, n_clips: int, n_frames: int) -> np.ndarray:
    shape = (n_clips, n_frames, len(model.manifest.columns))
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("n_clips", "n_frames"), [(1, 1), (1, 60), (3, 17), (7, 188)])
def test_any_batch_and_any_length_give_probabilities(
    model: EmotionModel, n_clips: int, n_frames: int
) -> None:
    probabilities = model(frames(model, n_clips, n_frames))
    assert probabilities.shape == (n_clips, len(model.labels))
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_padding_changes_nothing(model: EmotionModel) -> None:
    clip = frames(model, 1, 40)
    padded = np.concatenate([clip, np.full_like(clip, 99.0)], axis=1)
    np.testing.assert_allclose(model(padded, np.array([40], np.int32)), model(clip), atol=1e-5)


def test_the_neighbours_in_a_batch_change_nothing(model: EmotionModel) -> None:
    batch = frames(model, 4, 50)
    alone = np.concatenate([model(batch[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(model(batch), alone, atol=1e-5)


def test_threads_get_their_own_answers(model_folder: Path) -> None:
    model = load_model(model_folder)  # not loaded yet, so that the threads race for it
    clips = frames(model, 16, 30)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: model(clips[i : i + 1])[0], range(16)))
    np.testing.assert_allclose(answers, model(clips), atol=1e-5)


def test_features_of_another_width_are_refused(model: EmotionModel) -> None:
    expected = rf"have shape \(1, 10, 3\).*n_frames, {len(model.manifest.columns)}\)"
    with pytest.raises(ModelError, match=expected):
        model(np.zeros((1, 10, 3), np.float32))


def test_the_keras_file_of_a_folder_answers_as_its_saved_model(bundled_model: Path) -> None:
    whole, bare = load_model(bundled_model), load_model(bundled_model / NETWORK)
    clips = frames(whole, 2, 50)
    lengths = np.array([50, 31], np.int32)
    np.testing.assert_allclose(bare(clips, lengths), whole(clips, lengths), atol=1e-4)


def test_a_keras_file_without_its_manifest_is_refused(bundled_model: Path, tmp_path: Path) -> None:
    lonely = shutil.copy(bundled_model / NETWORK, tmp_path / "lonely.keras")
    with pytest.raises(ModelError, match=r"contains no manifest\.json"):
        load_model(lonely)
    folder = shutil.copytree(bundled_model, tmp_path / "model")
    shutil.copy(lonely, folder / "other.keras")
    with pytest.raises(ModelError, match=r"other\.keras is not the network of model"):
        load_model(folder / "other.keras")


def test_the_head_behind_an_encoder_is_no_whole_network(tmp_path: Path) -> None:
    parts = write_parts(tmp_path)
    with pytest.raises(ModelError, match="Name the model's folder"):
        load_model(parts.folder / HEAD)


def write_savedmodel_that_writes(folder: Path, mark: Path, *, network: bool) -> Manifest:
    """A model folder whose SavedModel writes a file when it answers, and as wished a network."""
    compact = Manifest.read(ROOT / "model" / "compact")
    folder.mkdir()
    module = tf.Module()

    def probabilities(features: tf.Tensor, n_frames: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([tf.io.write_file(str(mark), "was here")]):
            n_clips = tf.shape(n_frames)[0] + 0 * tf.shape(features)[0]
            answer = {"probabilities": tf.fill([n_clips, len(LABELS)], 1 / len(LABELS))}
            return answer | ({"intensity": tf.zeros([n_clips])} if compact.has_intensity else {})

    module.serve = tf.function(
        probabilities,
        input_signature=[
            tf.TensorSpec((None, None, len(compact.columns)), tf.float32, name="features"),
            tf.TensorSpec((None,), tf.int32, name="n_frames"),
        ],
    )
    save_servable(module, folder / SAVED_MODEL)
    if network:
        shutil.copy(ROOT / "model" / "compact" / NETWORK, folder)
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in folder.rglob("*")
        if path.is_file()
    }
    manifest = replace(compact, name="stranger", files=files, probe=None)
    manifest.write(folder)
    return manifest


@pytest.mark.parametrize("network", [True, False])
def test_a_savedmodel_of_others_runs_with_trust_alone(tmp_path: Path, network: bool) -> None:
    folder, mark = tmp_path / "model", tmp_path / "mark"
    manifest = write_savedmodel_that_writes(folder, mark, network=network)
    clip = np.zeros((1, 20, len(manifest.columns)), np.float32)
    if network:
        model = load_model(folder)
        assert (model.path, model.folder) == (folder / NETWORK, folder)
        assert model(clip).std() > 0
    else:
        with pytest.raises(ModelError, match=r"can read, write and send files.*--trust"):
            load_model(folder)
    assert not mark.exists()
    assert load_model(folder, trust=True)(clip).std() == 0
    assert mark.read_text() == "was here"


def test_without_trust_a_savedmodel_is_not_even_read(tmp_path: Path) -> None:
    write_savedmodel_that_writes(tmp_path / "model", tmp_path / "mark", network=True)
    shutil.rmtree(tmp_path / "model" / SAVED_MODEL)
    load_model(tmp_path / "model")
    with pytest.raises(ModelError, match="is missing"):
        load_model(tmp_path / "model", trust=True)


def test_the_pinned_model_needs_no_trust(bundled_model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundled_model, tmp_path / "elsewhere")
    assert load_model(copy).path == copy


@pytest.mark.parametrize("trust", [True, False], ids=["SavedModel", "network"])
def test_a_model_that_misses_its_probe_is_refused(
    bundled_model: Path, tmp_path: Path, trust: bool
) -> None:
    folder = Path(shutil.copytree(bundled_model, tmp_path / "model"))
    manifest = Manifest.read(folder)
    probe = record_probe(folder, manifest)
    clip = np.zeros((1, 20, len(manifest.columns)), np.float32)
    replace(manifest, seed=9, probe=probe).write(folder)
    assert load_model(folder, trust=trust)(clip).shape == (1, len(LABELS))
    rows = tuple(row[::-1] for row in probe.probabilities)
    replace(manifest, probe=replace(probe, probabilities=rows)).write(folder)
    with pytest.raises(ModelError, match="misses its probe by"):
        load_model(folder, trust=trust)(clip)


def test_another_temperature_than_the_probes_is_refused(
    bundled_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundled_model, tmp_path / "model"))
    manifest = Manifest.read(folder)
    probe = record_probe(folder, manifest)
    replace(manifest, temperature=3.0, probe=probe).write(folder)
    model = load_model(folder)
    with pytest.raises(ModelError, match="misses its probe by"):
        model(np.zeros((1, 20, len(manifest.columns)), np.float32))


def test_a_network_for_other_features_is_refused(bundled_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundled_model, tmp_path / "model"))
    manifest = Manifest.read(folder)
    features = replace(manifest.pipeline.features, n_mels=32)
    pipeline = replace(manifest.pipeline, features=features)
    replace(manifest, columns=features.columns, pipeline=pipeline).write(folder)
    with pytest.raises(ModelError, match=r"leads from .*, 64\).* but the manifest expects .*32"):
        load_model(folder)(np.zeros((1, 20, 32), np.float32))
