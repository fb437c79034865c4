"""Both shipped models, on the served path, against their cards."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ser_core.labels import LABELS
from ser_core.model.manifest import Manifest
from ser_core.predictor import Predictor
from ser_lab.evaluate.shipped import held_out_clips, predict_files
from ser_lab.metrics import score
from ser_lab.report.model_card import CARD, RUNS, write_card
from tests.conftest import ROOT

N_CLIPS = 200
MODELS = ROOT / "model"


@pytest.mark.needs_data
@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_the_served_figure_is_the_cards(
    name: str,
    data: Path,
    whisper_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(whisper_weights))
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path))
    predictor = Predictor.from_folder(MODELS / name)
    clips = held_out_clips(predictor.manifest, data)
    clips = clips[clips["corpus"] == "ravdess"].sample(N_CLIPS, random_state=0)
    probabilities = predict_files(predictor, [Path(path) for path in clips["path"]])
    truth = np.array([LABELS.index(emotion) for emotion in clips["emotion"]])
    stated = predictor.manifest.metrics["test"]["by_corpus"]["ravdess"]["uar"]
    assert score(truth, probabilities, LABELS).uar == pytest.approx(stated, abs=0.03)


def test_no_shipped_model_learned_from_the_test_speakers_of_the_other() -> None:
    held_out = [set(Manifest.read(MODELS / n).split["test"]) for n in ("compact", "accurate")]
    assert held_out[0] <= held_out[1]


@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_a_committed_card_is_the_one_that_its_manifest_gives(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(MODELS / name, tmp_path / name)
    write_card(folder, runs=ROOT / RUNS)
    card = (folder / CARD).read_text(encoding="utf-8")
    assert (MODELS / name / CARD).read_text(encoding="utf-8") == card
    # On the Hub "keras" is Keras 3 and its .keras files, "tf-keras" the Keras 2 of TensorFlow.
    assert "\nlibrary_name: keras\n" in card
    assert list(folder.glob("*.keras"))


def test_the_bundled_parts_are_small() -> None:
    assert _size(MODELS / "compact") <= 12_000_000
    assert (MODELS / "accurate" / "head.keras").stat().st_size <= 4_000_000


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
