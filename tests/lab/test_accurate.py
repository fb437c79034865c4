"""The accurate model from recordings to a folder that serves, on a miniature."""

from dataclasses import replace
from pathlib import Path

import pytest

from ser_core.model.manifest import HEAD, Manifest
from ser_core.predictor import Predictor
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import tensors_sha256
from ser_lab.data.splits import SpeakerSplit
from ser_lab.evaluate.shipped import evaluate_test
from ser_lab.ship import train_and_export
from ser_lab.train.architectures import HeadConfig
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.sampling import SampledTraining
from tests.accurate import made_up_tensors, write_weights

PLAN = HeadConfig(n_blocks=1, input_blocks=(0,), projection=8, units=4, attention=4)


@pytest.fixture(scope="module")
def trained(
    miniature: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, Manifest, list[float]]:
    """Model folder, corpora, manifest and the served figures of a few updates on noise weights."""
    tensors = made_up_tensors()
    root = tmp_path_factory.mktemp("accurate")
    recipe = AccurateRecipe(
        encoder=EncoderConfig(blocks=(1,), tensors_sha256=tensors_sha256(tensors)),
        training=SampledTraining(
            networks=(PLAN, replace(PLAN, units=0)),
            steps=12,
            batch_size=8,
            crop=8,
        ),
        shares=(("ravdess", 0.7), ("tess", 0.3)),
        split=SpeakerSplit(test=("ravdess/01",), development=("ravdess/02",)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(root / "cache"))
        patch.setenv("MOODMIRROR_ENCODER", str(write_weights(root / "w.safetensors", tensors)))
        manifest = train_and_export(
            recipe, miniature, root / "model", seeds=(0, 1), runs=root / "runs"
        )
        scores, _ = evaluate_test(Predictor.from_folder(root / "model"), miniature)
    return root / "model", miniature, manifest, [scores.uar, scores.war]


@pytest.mark.slow
def test_the_manifest_holds_what_the_served_path_gives(
    trained: tuple[Path, Path, Manifest, list[float]],
) -> None:
    folder, _, manifest, served = trained
    test = manifest.metrics["test"]
    assert [test["uar"], test["war"]] == served
    assert test["seed_uars"][str(manifest.seed)] == pytest.approx(test["uar"])
    assert Manifest.read(folder) == manifest
    assert test["command"].endswith("--model accurate")


@pytest.mark.slow
def test_the_head_is_bundled_without_its_optimiser(
    trained: tuple[Path, Path, Manifest, list[float]],
) -> None:
    folder, _, manifest, _ = trained
    assert list(manifest.files) == [HEAD]
    assert (folder / HEAD).stat().st_size < 4 * manifest.n_parameters + 400_000


@pytest.mark.slow
def test_the_card_names_encoder_and_corpora(
    trained: tuple[Path, Path, Manifest, list[float]],
) -> None:
    card = (trained[0] / "README.md").read_text(encoding="utf-8")
    assert "openai/whisper-tiny.en" in card
    assert "| ravdess | 8 | 8 |" in card
    assert "curves.png" not in card
    assert "| ravdess, male | 8 |" in card
    assert "ms from file to answer" in card
    assert "plus the encoder's 33 MB" in card
