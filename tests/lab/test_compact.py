"""The compact model from recordings to a folder that serves, on a miniature."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.labels import LABELS
from ser_core.model.manifest import Manifest, read_json
from ser_core.predictor import Predictor
from ser_core.whisper.spec import TINY, EncoderConfig
from ser_core.whisper.weights import tensors_sha256
from ser_lab.data.protocols import PROTOCOLS, Fold, Run
from ser_lab.data.splits import READING, SpeakerSplit, tabulate_clips
from ser_lab.ship import train_and_export
from ser_lab.train.architectures import HeadConfig, StudentConfig
from ser_lab.train.recipes import compact
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.base import Recipe
from ser_lab.train.recipes.compact import CompactRecipe, common_clips, mean_predictions
from ser_lab.train.sampling import SampledTraining, TrainingClips
from tests.accurate import made_up_tensors, write_weights
from tests.conftest import ROOT

FEW = SampledTraining(steps=12, batch_size=8, crop=8)


TENSORS = made_up_tensors()
SMALL = CompactRecipe(
    teacher=AccurateRecipe(
        encoder=EncoderConfig(blocks=(1,), tensors_sha256=tensors_sha256(TENSORS)),
        training=replace(
            FEW,
            networks=(
                HeadConfig(n_blocks=1, input_blocks=(0,), projection=8, units=4, attention=4),
            ),
        ),
        shares=(("ravdess", 0.7), ("tess", 0.3)),
        split=SpeakerSplit(test=("ravdess/01",), development=("ravdess/02",)),
    ),
    student=StudentConfig(filters=(8,), units=(4,), attention=4),
    schedule=replace(FEW, crop=40),
    hint_blocks=(1,),
    reading_share=0.2,
)


@pytest.fixture(scope="module")
def data(miniature: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature with four readings, the first of them silent."""
    folder = tmp_path_factory.mktemp("data") / "corpora"
    shutil.copytree(miniature, folder)
    (folder / READING).mkdir()
    clips = sorted((folder / "ravdess").rglob("03-*.wav"))[:3]
    soundfile.write(folder / READING / "a.wav", np.zeros(16_000), 16_000)
    for name, clip in zip("bcd", clips, strict=True):
        shutil.copy(clip, folder / READING / f"{name}.wav")
    return folder


@pytest.fixture(scope="module", autouse=True)
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    root = tmp_path_factory.mktemp("encoder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOODMIRROR_CACHE", str(root / "cache"))
        patch.setenv("MOODMIRROR_ENCODER", str(write_weights(root / "w.safetensors", TENSORS)))
        yield


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """Model folder and manifest of a few updates."""
    root = tmp_path_factory.mktemp("compact")
    return root / "model", train_and_export(
        SMALL, data, root / "model", seeds=(0,), runs=root / "runs"
    )


@pytest.mark.slow
def test_the_teacher_alone_tells_the_emotion_of_a_reading(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class HeardError(Exception):
        """The clips that a student would be trained on."""

    def refuse(clips: TrainingClips, *_: object, **__: object) -> None:
        raise HeardError(clips)

    monkeypatch.setattr(compact, "train_ensemble", refuse)
    table = tabulate_clips(data, SMALL.corpora, SMALL.split)
    train = np.flatnonzero(table["split"] == "train")
    fold = Fold("one", train, np.flatnonzero(table["split"] == "development"), train[:0], LABELS)
    copies = SMALL.load(table, data)
    with pytest.raises(HeardError) as heard:
        SMALL.fit(table, copies, fold, Run(data, 0, tmp_path))
    clips: TrainingClips = heard.value.args[0]
    assert len(clips.targets) == len(clips.weights) == len(train) + 1  # c; a is silent
    assert [len(copy) for copy in clips.copies] == [len(train) + 1] * 3
    assert clips.copies[1][-1] is not None  # changed, too
    assert clips.targets.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert clips.weights[-1] / clips.weights.sum() == pytest.approx(0.2)
    largest = clips.targets.max(axis=1)
    assert largest[-1] < largest[:-1].min()  # no label of 0.4


@pytest.mark.slow
def test_it_serves_without_an_encoder(trained: tuple[Path, Manifest], data: Path) -> None:
    folder, manifest = trained
    assert manifest.encoder is None
    assert manifest.certainty is not None
    assert [(c["name"], c["licence"]) for c in manifest.corpora][-1] == (READING, "CC-BY-4.0")
    clip = next((data / "ravdess").rglob("03-*.wav"))
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
