"""The compact model from recordings to a folder that serves, on a miniature."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_core.model.manifest import Manifest, read_json
from ser_core.predictor import Predictor
from ser_core.whisper.spec import TINY, EncoderConfig
from ser_core.whisper.weights import tensors_sha256
from ser_lab.data.protocols import PROTOCOLS
from ser_lab.data.splits import SpeakerSplit
from ser_lab.ship import train_and_export
from ser_lab.train.architectures import HeadConfig, StudentConfig
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.base import Recipe
from ser_lab.train.recipes.compact import CompactRecipe, common_clips, mean_predictions
from ser_lab.train.sampling import SampledTraining
from tests.accurate import made_up_tensors, write_weights
from tests.conftest import ROOT

FEW = SampledTraining(steps=12, batch_size=8, crop=8)


@pytest.fixture(scope="module")
def trained(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """Model folder and manifest of a few updates."""
    tensors = made_up_tensors()
    root = tmp_path_factory.mktemp("compact")
    head = HeadConfig(n_blocks=1, input_blocks=(0,), projection=8, units=4, attention=4)
    teacher = AccurateRecipe(
        encoder=EncoderConfig(blocks=(1,), tensors_sha256=tensors_sha256(tensors)),
        training=replace(FEW, networks=(head,)),
        shares=(("ravdess", 0.7), ("tess", 0.3)),
        split=SpeakerSplit(test=("ravdess/01",), development=("ravdess/02",)),
    )
    student = StudentConfig(filters=(8,), units=(4,), attention=4)
    recipe = CompactRecipe(
        teacher=teacher,
        student=student,
        schedule=replace(FEW, crop=40),
        hint_blocks=(1,),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(root / "cache"))
        patch.setenv("MOODMIRROR_ENCODER", str(write_weights(root / "w.safetensors", tensors)))
        manifest = train_and_export(
            recipe, miniature, root / "model", seeds=(0,), runs=root / "runs"
        )
    return root / "model", manifest


@pytest.mark.slow
def test_it_serves_without_an_encoder(trained: tuple[Path, Manifest], miniature: Path) -> None:
    folder, manifest = trained
    assert manifest.encoder is None
    assert manifest.certainty is not None
    clip = next((miniature / "ravdess").rglob("03-*.wav"))
    prediction = Predictor.from_folder(folder).predict(clip)
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-5)
    assert "distilled from the accurate model" in (folder / "README.md").read_text(encoding="utf-8")


def test_its_settings_name_those_of_its_teacher() -> None:
    recipe = CompactRecipe()
    assert recipe.settings["teacher"] == recipe.teacher.settings
    assert set(recipe.corpora) >= set(PROTOCOLS["cross-corpus"].corpora)


def test_each_step_of_the_student_has_the_vector_of_its_time() -> None:
    recipe = CompactRecipe()
    frames = np.zeros((100, 64), np.float16)  # 2 s, 13 steps of 0.16 s
    vectors = np.arange(19, dtype=np.float16)[:, None]  # 3 s, silence of 0.5 s on both sides
    vectors = np.repeat(vectors, 4 * TINY.width, axis=1) + np.random.default_rng(0).normal(
        0, 1e-3, (19, 4 * TINY.width)
    ).astype(np.float16)
    hints = recipe.hints([[frames]], [[vectors]], np.array([0]))
    (clip,) = hints.clips[0]
    assert hints.stride == 8
    assert clip.shape == (13, 2 * TINY.width)
    # Vector 3 spans 0.48 to 0.64 s of the padded clip, and so the beginning of speech.
    level = clip.mean(axis=1, dtype=np.float64)
    assert level[0] == pytest.approx((3 - 9) / np.std(np.arange(19)), abs=0.02)
    np.testing.assert_allclose(np.diff(level), 1 / np.std(np.arange(19)), atol=0.02)


def test_only_existing_copies_enter_the_distillation() -> None:
    class Teacher:
        def predict(self, clips: list[float | None], rows: list[int]) -> np.ndarray:
            return np.array([[0.5 if clips[row] is None else clips[row]] for row in rows])

    answers = mean_predictions(Teacher(), [[0.1, 0.2], [0.3, None]], [0, 1])  # type: ignore[arg-type]
    assert answers[:, 0] == pytest.approx([0.2, 0.2])
    clip = np.zeros((3, 1), np.float16)
    assert common_clips([clip, clip], [clip, None]) == [clip, None]


@pytest.mark.parametrize("recipe", [AccurateRecipe(), CompactRecipe()])
def test_settings_keep_the_names_of_committed_records(recipe: Recipe) -> None:
    records = sorted((ROOT / "docs" / "runs").glob(f"*/{recipe.name}/summary.json"))
    stored = [json.loads(path.read_text())["settings"] for path in records]
    stored.append(read_json(ROOT / "model" / recipe.name)["architecture"])
    assert len(stored) > 1
    assert all(settings == json.loads(json.dumps(recipe.settings)) for settings in stored)
