"""Encoder and head put together in the cache: true, verified, and never half."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax

from ser_core.errors import ModelError
from ser_core.features import pad_features
from ser_core.model import assemble as assembly
from ser_core.model.assemble import ASSEMBLY_FORMAT, add_deltas, assemble, find_assembly
from ser_core.model.emotion_model import load_model
from ser_core.model.manifest import HEAD
from ser_core.predictor import Predictor
from ser_core.whisper.encoder import WhisperEncoder, encode
from ser_core.whisper.spec import N_MELS, TINY, EncoderConfig
from ser_core.whisper.weights import read_tensors
from ser_lab.data.feature_store import load_features
from ser_lab.train.architectures import HeadConfig
from tests.accurate import (
    BLOCKS,
    Parts,
    low_rank,
    made_up_tensors,
    write_accurate,
    write_parts,
    write_weights,
)
from tests.conftest import ROOT, Golden

ASSEMBLE = """
import sys
from pathlib import Path
import numpy as np
from ser_core.model.emotion_model import load_model
model = load_model(Path(sys.argv[1]))
model(np.zeros((1, 9, len(model.manifest.columns)), np.float32))
print(model.manifest.name)
"""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return write_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def assembled(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the assembly of `parts`, to be copied."""
    folder = tmp_path_factory.mktemp("assembled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(folder))
        assemble(parts.folder, parts.manifest, parts.weights)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of each test's own."""
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files_in(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def random_clips(*lengths: int) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.uniform(-1, 1, (n, N_MELS)).astype(np.float32) for n in lengths]


@pytest.mark.parametrize("deltas", [None, low_rank()], ids=["published", "adapted"])
def test_the_served_graph_answers_as_encoder_vectors_and_head_do_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deltas: dict[str, np.ndarray] | None
) -> None:
    tensors = made_up_tensors()
    weights = write_weights(tmp_path / "w.safetensors", tensors)
    manifest = write_accurate(tmp_path / "model", weights, tensors, deltas=deltas)
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(weights))
    clips = random_clips(200, 37, 121)
    served = load_model(tmp_path / "model")(*pad_features(clips))

    encoder = WhisperEncoder(manifest.encoder.n_blocks)
    encoder.set_tensors(tensors if deltas is None else add_deltas(tensors, deltas))
    head = keras.models.load_model(tmp_path / "model" / HEAD)
    for clip, answer in zip(clips, served, strict=True):
        vectors, n_vectors = encode(
            encoder,
            clip[np.newaxis],
            np.array([len(clip)], np.int32),
            blocks=manifest.encoder.blocks,
            pool=manifest.encoder.pool,
        )
        logits = np.asarray(head([vectors, n_vectors]))[0]
        np.testing.assert_allclose(answer, softmax(logits / manifest.temperature), atol=1e-4)


def test_an_assembly_of_one_format_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: Golden
) -> None:
    plan = HeadConfig(n_blocks=len(BLOCKS), input_blocks=(0, 1), projection=8, units=4, attention=4)
    width = len(BLOCKS) * TINY.width
    head = plan.build(mean=[0.1] * width, variance=[2.0] * width, n_labels=8)
    random = np.random.default_rng(2)
    head.set_weights([random.normal(0, 0.2, w.shape) for w in head.get_weights()])
    tensors = made_up_tensors()
    weights = write_weights(tmp_path / "w.safetensors", tensors)
    write_accurate(tmp_path / "model", weights, tensors, deltas=low_rank(), head=head)
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(weights))
    answers = load_model(tmp_path / "model")(*pad_features(random_clips(200, 37, 121)))
    golden.check("assembly", answers, atol=1e-3, cache_format=ASSEMBLY_FORMAT)


@pytest.mark.needs_data
def test_visitors_get_what_training_computes_from_the_same_files(
    tmp_path: Path, data: Path, whisper_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(whisper_weights))
    config = EncoderConfig(blocks=BLOCKS)
    tensors = read_tensors(whisper_weights, config)
    manifest = write_accurate(tmp_path / "model", whisper_weights, tensors)
    paths = sorted((data / "ravdess").glob("*-01.opus"))[::8][:8]
    predictor = Predictor.from_folder(tmp_path / "model")
    served = [predictor.predict(path).probabilities for path in paths]

    features, n_frames = pad_features(load_features(paths, manifest.pipeline, cache=tmp_path))
    encoder = WhisperEncoder(config.n_blocks)
    encoder.set_tensors(tensors)
    head = keras.models.load_model(tmp_path / "model" / HEAD)
    logits = head(encode(encoder, features, n_frames, blocks=BLOCKS, pool=config.pool))
    expected = softmax(np.asarray(logits) / manifest.temperature, axis=1)
    np.testing.assert_allclose(served, expected, atol=1e-4)


def test_deltas_change_the_kernels_that_they_name_and_nothing_else() -> None:
    tensors, deltas = made_up_tensors(), low_rank()
    changed = add_deltas(tensors, deltas)
    inputs = np.random.default_rng(0).normal(size=(5, TINY.width))
    name = "layers.0.fc1.weight"
    expected = inputs @ tensors[name].T + inputs @ deltas["layers.0.fc1.A"] @ deltas[
        "layers.0.fc1.B"
    ]  # fmt: skip
    np.testing.assert_allclose(inputs @ changed[name].T, expected, atol=1e-4)
    assert [key for key in tensors if changed[key] is not tensors[key]] == [name]


def test_an_assembly_is_found_again_without_the_weights(
    parts: Parts, assembled: Path, cache: Path
) -> None:
    assert find_assembly(parts.manifest) is None
    shutil.copytree(assembled, cache)
    assert find_assembly(parts.manifest) is not None
    clip = np.zeros((1, 20, len(parts.manifest.columns)), np.float32)
    assert load_model(parts.folder)(clip).shape == (1, len(parts.manifest.labels))


def test_another_head_temperature_or_encoder_makes_another_assembly(
    parts: Parts, assembled: Path, cache: Path
) -> None:
    shutil.copytree(assembled, cache)
    encoder = replace(parts.manifest.encoder, blocks=(2,))
    for changes in ({"files": {HEAD: "0"}}, {"temperature": 2.0}, {"encoder": encoder}):
        assert find_assembly(replace(parts.manifest, **changes)) is None


@pytest.mark.parametrize(
    "damaged", ["files.json", "saved_model/variables/variables.data-00000-of-00001"]
)
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, 100)])
def test_a_damaged_assembly_is_not_found(
    parts: Parts, assembled: Path, cache: Path, damaged: str, damage: Callable[[Path], None]
) -> None:
    shutil.copytree(assembled, cache)
    place = find_assembly(parts.manifest)
    assert place is not None
    damage(place / damaged)
    assert find_assembly(parts.manifest) is None


def test_a_damaged_assembly_is_built_anew(parts: Parts, assembled: Path, cache: Path) -> None:
    shutil.copytree(assembled, cache)
    place = find_assembly(parts.manifest)
    assert place is not None
    (place / "saved_model/saved_model.pb").unlink()
    assert assemble(parts.folder, parts.manifest, parts.weights) == place
    assert find_assembly(parts.manifest) == place
    assert list(place.parent.iterdir()) == [place]


def test_a_new_assembly_removes_those_of_earlier_formats_and_nothing_else(
    parts: Parts, assembled: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = (assembled / "models").iterdir()
    models, key = cache / "models", 16 * "a"
    earlier = [f"accurate-{key}", f"accurate-format1-{key}"]
    kept = [
        f"accurate-format2-{key}",  # another head
        f"accurate-format3-{key}",  # a later version's
        f"other-format1-{key}",
        "accurate-notes",
        f"accurate-{16 * 'b'}",  # holds a file that no assembly lists
    ]
    for name in [*earlier, *kept]:
        shutil.copytree(whole, models / name)
    (models / kept[-1] / "notes.txt").touch()
    monkeypatch.setattr(assembly, "ASSEMBLY_FORMAT", 2)
    place = assemble(parts.folder, parts.manifest, parts.weights)
    assert {path.name for path in models.iterdir()} == {place.name, *kept}


def test_an_assembly_that_misses_its_probe_is_not_kept(parts: Parts, cache: Path) -> None:
    probe = parts.manifest.probe
    wrong = [row[::-1] for row in probe.probabilities]
    manifest = replace(parts.manifest, probe=replace(probe, probabilities=tuple(wrong)))
    with pytest.raises(ModelError, match="misses its probe by"):
        assemble(parts.folder, manifest, parts.weights)
    assert files_in(cache) == []


def test_other_weights_are_refused(parts: Parts, cache: Path, tmp_path: Path) -> None:
    others = write_weights(tmp_path / "w.safetensors", made_up_tensors(seed=1))
    with pytest.raises(ModelError, match="its hash differs"):
        assemble(parts.folder, parts.manifest, others)
    assert files_in(cache) == []


def test_a_head_that_is_none_is_refused(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / HEAD).write_bytes(b"no head")
    with pytest.raises(ModelError, match=r"head\.keras cannot be opened"):
        assemble(tmp_path, parts.manifest, parts.weights)


def test_a_cache_that_cannot_be_written_to_is_named(parts: Parts, cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(ModelError, match=r"cannot be assembled in .*MOODMIRROR_CACHE"):
        assemble(parts.folder, parts.manifest, parts.weights)


@pytest.mark.slow
def test_two_processes_at_once_leave_one_whole_assembly(parts: Parts, cache: Path) -> None:
    environment = os.environ | {"MOODMIRROR_ENCODER": str(parts.weights)}
    command = [sys.executable, "-c", ASSEMBLE, str(parts.folder)]
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0].strip() for process in both] == ["accurate", "accurate"]
    assert [process.returncode for process in both] == [0, 0]
    assert list((cache / "models").iterdir()) == [find_assembly(parts.manifest)]
