"""The recipe that changes the encoder, from recordings to a folder that serves, on a miniature."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from ser_core.model.assemble import add_deltas, read_deltas
from ser_core.model.manifest import HEAD, Manifest
from ser_core.predictor import Predictor
from ser_core.whisper.encoder import WhisperEncoder, encode
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import tensors_sha256
from ser_lab.data.splits import SpeakerSplit
from ser_lab.evaluate.shipped import evaluate_test
from ser_lab.ship import train_and_export
from ser_lab.train.architectures import HeadConfig
from ser_lab.train.encoder import DrawnBatches, DrawnClips, EncoderTraining, split_network
from ser_lab.train.encoder import train_encoder as train
from ser_lab.train.loop import predict_logits
from ser_lab.train.recipes.finetune import FineTuneRecipe
from ser_lab.train.recipes.tuned import DELTAS, TunedRecipe
from tests.accurate import made_up_tensors, write_weights

PLAN = HeadConfig(n_blocks=1, input_blocks=(0,), projection=8, units=0, attention=4)
TRAINING = EncoderTraining(
    (PLAN, replace(PLAN, units=4)), rank=2, head_steps=6, steps=6, rate=0.02, batch_size=4, crop=40
)
N_LABELS = 3


@pytest.fixture(scope="module")
def clips() -> DrawnClips:
    random = np.random.default_rng(0)
    frames = [random.normal(0.2, 0.3, (n, 80)).astype(np.float16) for n in (30, 50, 90, 41)]
    return DrawnClips(
        frames,
        np.eye(N_LABELS, dtype=np.float32)[[0, 1, 2, 0]],
        np.ones((4, N_LABELS), np.float32),
        np.array([1.0, 2.0, 1.0, 0.0]),
    )


@pytest.fixture(scope="module")
def encoder() -> EncoderConfig:
    return EncoderConfig(blocks=(1,), pool=4, tensors_sha256=tensors_sha256(made_up_tensors()))


@pytest.fixture(scope="module")
def network(clips: DrawnClips, encoder: EncoderConfig) -> keras.Model:
    return train(clips, TRAINING, encoder, made_up_tensors(), seed=0)


def test_a_batch_is_drawn_by_weight_and_cropped(clips: DrawnClips) -> None:
    batches = DrawnBatches(clips, TRAINING, n_batches=50, seed=0)
    drawn = [batches[i] for i in range(len(batches))]
    assert all(frames.shape == (4, 40, 80) for (frames, _), _ in drawn)
    assert max(n_frames.max() for (_, n_frames), _ in drawn) == 40
    targets = np.concatenate([targets[0] for _, targets in drawn])
    assert targets.shape == (200, 2 * N_LABELS)
    assert targets[:, :N_LABELS].mean(axis=0) == pytest.approx([0.25, 0.5, 0.25], abs=0.1)
    (again, _), _ = batches[7]
    np.testing.assert_array_equal(again, drawn[7][0][0])


def test_the_published_kernels_stay_and_their_changes_are_of_low_rank(
    network: keras.Model,
) -> None:
    tensors = made_up_tensors()
    kernel = network.get_layer("encoder").blocks[0].widen._kernel
    np.testing.assert_array_equal(kernel, tensors["layers.0.fc1.weight"].T)
    _, deltas = split_network(network)
    assert len(deltas) == 2 * 6
    changed = add_deltas(tensors, deltas)
    names = {name for name in tensors if not np.array_equal(changed[name], tensors[name])}
    assert names == {f"{name[:-2]}.weight" for name in deltas}
    for name in names:
        change = changed[name] - tensors[name]
        assert np.linalg.matrix_rank(change, tol=1e-4) == TRAINING.rank


def test_head_and_changed_encoder_answer_as_the_trained_network(
    network: keras.Model, clips: DrawnClips, encoder: EncoderConfig
) -> None:
    head, deltas = split_network(network)
    changed = WhisperEncoder.of(encoder)
    changed.set_tensors(add_deltas(made_up_tensors(), deltas))
    frames = clips.frames[2].astype(np.float32)[np.newaxis]
    vectors = encode(
        changed, frames, np.array([90], np.int32), blocks=encoder.blocks, pool=encoder.pool
    )
    expected = predict_logits(network, clips.frames[2:3], n_labels=N_LABELS)
    np.testing.assert_allclose(head(list(vectors)), expected, atol=1e-3)


def test_the_same_seed_trains_the_same_network(
    network: keras.Model, clips: DrawnClips, encoder: EncoderConfig
) -> None:
    again = train(clips, TRAINING, encoder, made_up_tensors(), seed=0)
    logits = (predict_logits(n, clips.frames, n_labels=N_LABELS) for n in (network, again))
    np.testing.assert_allclose(*logits, atol=1e-5)


@pytest.fixture(scope="module")
def trained(
    miniature: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Manifest]:
    """Model folder, corpora and manifest, after a few updates."""
    tensors, root = made_up_tensors(), tmp_path_factory.mktemp("tuned")
    recipe = TunedRecipe(
        encoder=EncoderConfig(
            blocks=(1,), pool=4, deltas=DELTAS, tensors_sha256=tensors_sha256(tensors)
        ),
        training=TRAINING,
        shares=(("ravdess", 0.7), ("tess", 0.3)),
        split=SpeakerSplit(test=("ravdess/01",), development=("ravdess/02",)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(root / "cache"))
        patch.setenv("MOODMIRROR_ENCODER", str(write_weights(root / "w.safetensors", tensors)))
        manifest = train_and_export(
            recipe, miniature, root / "model", seeds=(0,), runs=root / "runs"
        )
        yield root / "model", miniature, manifest


@pytest.mark.slow
def test_the_folder_serves_what_was_tested(trained: tuple[Path, Path, Manifest]) -> None:
    folder, data, manifest = trained
    assert set(manifest.files) == {HEAD, DELTAS}
    assert "its kernels changed by rank 2" in (folder / "README.md").read_text(encoding="utf-8")
    assert Manifest.read(folder) == manifest
    scores, _ = evaluate_test(Predictor.from_folder(folder), data)
    test = manifest.metrics["test"]
    assert [test["uar"], test["war"]] == [scores.uar, scores.war]
    assert test["seed_uars"]["0"] == pytest.approx(scores.uar)
    head = keras.saving.load_model(folder / HEAD)
    n_changes = sum(values.size for values in read_deltas(folder, manifest.encoder).values())
    assert manifest.n_parameters == n_changes + sum(
        int(np.prod(weight.shape)) for weight in head.trainable_weights
    )


@pytest.mark.slow
def test_fine_tuning_goes_on_from_the_changed_encoder(
    trained: tuple[Path, Path, Manifest],
) -> None:
    folder, _, manifest = trained
    network = keras.saving.load_model(folder / HEAD)
    served, deltas = FineTuneRecipe(folder, manifest).served_parts(network)
    assert served is network
    assert set(deltas) == set(read_deltas(folder, manifest.encoder)) != set()
