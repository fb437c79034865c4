"""The compact model from recordings to a folder that serves, on a miniature."""

from dataclasses import replace
from pathlib import Path

import pytest

from ser_core.hub import tensors_sha256
from ser_core.manifest import Manifest
from ser_core.predictor import Predictor
from ser_core.training.accurate import AccurateRecipe
from ser_core.training.architectures import HeadConfig, StudentConfig
from ser_core.training.compact import CompactRecipe
from ser_core.training.fit_drawn import DrawnTraining
from ser_core.training.protocols import PROTOCOLS
from ser_core.training.ship import train_and_export_drawn
from ser_core.training.splits import SpeakerSplit
from ser_core.whisper import EncoderConfig
from tests.accurate import made_up_tensors, write_weights

FEW = DrawnTraining(steps=12, batch_size=8, crop=8)


@pytest.fixture(scope="module")
def trained(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """Model folder and manifest of a few updates."""
    tensors = made_up_tensors()
    root = tmp_path_factory.mktemp("compact")
    head = HeadConfig(n_blocks=1, heard=(0,), projection=8, units=4, attention=4)
    teacher = AccurateRecipe(
        encoder=EncoderConfig(blocks=(1,), tensors_sha256=tensors_sha256(tensors)),
        training=replace(FEW, networks=(head,)),
        shares=(("ravdess", 0.7), ("tess", 0.3)),
        split=SpeakerSplit(test=("ravdess/01",), development=("ravdess/02",)),
    )
    student = StudentConfig(filters=(8,), units=(4,), attention=4)
    recipe = CompactRecipe(teacher=teacher, training=replace(FEW, networks=(student,), crop=40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(root / "cache"))
        patch.setenv("MOODMIRROR_ENCODER", str(write_weights(root / "w.safetensors", tensors)))
        manifest = train_and_export_drawn(
            recipe, miniature, root / "model", seeds=(0,), runs=root / "runs"
        )
    return root / "model", manifest


def test_it_serves_without_an_encoder(trained: tuple[Path, Manifest], miniature: Path) -> None:
    folder, manifest = trained
    assert manifest.encoder is None
    assert manifest.certainty is not None
    clip = next((miniature / "ravdess").rglob("03-*.wav"))
    prediction = Predictor.from_folder(folder).predict(clip)
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert "taught by the accurate model" in (folder / "README.md").read_text(encoding="utf-8")


def test_its_settings_name_those_of_its_teacher() -> None:
    recipe = CompactRecipe()
    assert recipe.settings["teacher"] == recipe.teacher.settings
    assert set(recipe.corpora) >= set(PROTOCOLS["cross-corpus"].corpora)
