"""A trained model, fine-tuned on few recordings of a table."""

import csv
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from ser_core.errors import CorpusError
from ser_core.labels import LABELS
from ser_core.model.assemble import read_deltas
from ser_core.model.emotion_model import load_model
from ser_core.model.manifest import HEAD, Certainty, Manifest
from ser_core.predictor import Predictor
from ser_core.whisper.spec import TINY
from ser_lab.data.feature_store import Clips
from ser_lab.data.splits import list_clips
from ser_lab.data.tables import corpus_of
from ser_lab.evaluate.shipped import evaluate_test
from ser_lab.metrics import Calibration
from ser_lab.train.architectures import HeadConfig, join_ensemble
from ser_lab.train.loop import TrainedModel, predict_logits
from ser_lab.train.recipes import finetune_recipe
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.finetune import FineTuneRecipe, _calibrate_near, fine_tune
from tests.accurate import (
    BLOCKS,
    DELTAS,
    low_rank,
    made_up_tensors,
    write_accurate,
    write_weights,
)
from tests.conftest import ROOT, run_cli
from tests.lab.conftest import write_clip

N_COLUMNS = 12
EMOTIONS = ("happy", "sad", "angry")
START = Calibration(1.5, Certainty(confidence=0.6, precision=0.8, share=0.3))


def build_start(*, n_members: int = 2) -> TrainedModel:
    """An ensemble of random heads, calibrated somehow."""
    keras.utils.set_random_seed(0)
    plan = HeadConfig(n_blocks=1, input_blocks=(0,), projection=8, units=0, attention=4)
    members = [
        plan.build(mean=[0.0] * N_COLUMNS, variance=[1.0] * N_COLUMNS, n_labels=len(LABELS))
        for _ in range(n_members)
    ]
    return TrainedModel(join_ensemble(members), START, 0.0, LABELS)


def make_clips(
    n_clips: int, *, n_speakers: int = 4, noise: float = 1.0
) -> tuple[pd.DataFrame, Clips]:
    """Clips around a mean of each emotion, and one without speech."""
    random = np.random.default_rng(0)
    means = random.normal(size=(len(EMOTIONS), 1, N_COLUMNS))
    truth = np.arange(n_clips) % len(EMOTIONS)
    clips: list[np.ndarray | None] = [
        (means[k] + noise * random.normal(size=(5 + k, N_COLUMNS))).astype(np.float16)
        for k in truth
    ]
    speakers = [f"shop/{i // len(EMOTIONS) % n_speakers}" for i in range(n_clips)]
    table = pd.DataFrame(
        {"corpus": "shop", "speaker": speakers, "emotion": [EMOTIONS[k] for k in truth]}
    )
    table = pd.concat([table, table.iloc[:1]], ignore_index=True)
    return table, [*clips, None]


def test_the_last_layer_fits_and_emotions_of_other_recordings_stay() -> None:
    start = build_start()
    table, clips = make_clips(60)
    rows = np.arange(len(table))
    tuned = fine_tune(start, table, clips, rows, labels=LABELS)
    assert tuned.labels == LABELS
    before, after = (m.evaluate(table, clips, rows[:60]) for m in (start, tuned))
    assert after.uar > max(0.8, before.uar + 0.2)
    assert tuned.development_score > 0.8  # of speakers left out
    inputs = [clip for clip in clips if clip is not None]
    old, new = (predict_logits(m.network, inputs) for m in (start, tuned))
    absent = [LABELS.index("disgust"), LABELS.index("surprised")]
    np.testing.assert_allclose(new[:, absent], old[:, absent], atol=1e-5)
    assert np.abs(new - old).max() > 0.1


def test_few_clips_change_the_calibration_little() -> None:
    start = build_start()
    table, clips = make_clips(20, noise=30.0)  # noise: a temperature fitted to it is extreme
    few = fine_tune(start, table, clips, np.arange(20), labels=LABELS).calibration
    assert START.temperature / 2 < few.temperature < 2 * START.temperature
    assert abs(few.certainty.confidence - START.certainty.confidence) < 0.1


def test_more_clips_move_the_calibration_further() -> None:
    random, distances = np.random.default_rng(0), []
    for n_clips in (20, 600):  # answers that are sure, and right by chance
        logits = 10.0 * random.normal(size=(n_clips, len(LABELS)))
        found = _calibrate_near(START, logits, random.integers(len(LABELS), size=n_clips))
        distances.append(abs(np.log(found.temperature / START.temperature)))
    assert distances[1] > 2 * distances[0]


def test_labels_of_ones_own_replace_those_of_the_model() -> None:
    start = build_start()
    table, clips = make_clips(60)
    table["emotion"] = table["emotion"].replace("angry", "in a hurry")
    labels = ("happy", "sad", "in a hurry")
    tuned = fine_tune(start, table, clips, np.arange(60), labels=labels)
    assert tuned.evaluate(table, clips, np.arange(60)).uar > 0.8
    assert tuned.network.output.shape[-1] == len(labels)


def test_clips_of_one_speaker_are_enough_to_fit() -> None:
    table, clips = make_clips(12, n_speakers=1)
    tuned = fine_tune(build_start(n_members=1), table, clips, np.arange(12), labels=LABELS)
    assert 0.0 <= tuned.development_score <= 1.0


def write_table(folder: Path, *, speakers: tuple[str, ...], labels: tuple[str, ...]) -> Path:
    """Two made-up recordings of each speaker and label."""
    rows = [("path", "label", "speaker")]
    for i, speaker in enumerate(speakers):
        for j, label in enumerate(labels):
            for take in range(2):
                name = f"{speaker}-{j}-{take}.wav"
                write_clip(folder / name, seed=10 * i + 2 * j + take)
                rows.append((name, label, speaker))
    table = folder / "shop.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return table


def test_the_bundled_model_adapts_to_a_table_and_says_what_it_gained(tmp_path: Path) -> None:
    table = write_table(tmp_path, speakers=("Ada", "Bo"), labels=("happy", "sad", "angry"))
    folder, cache = tmp_path / "model", str(tmp_path / "cache")
    arguments = ("train", "--start", "compact", "--data", table, "--out", folder)
    done = run_cli(*arguments, "--runs", tmp_path / "runs", MOODMIRROR_CACHE=cache)
    assert done.exit_code == 0, done.output
    before, after, written = done.output.splitlines()[-3:]
    assert before.startswith("before: UAR ")
    assert "6 clips of the test speakers" in before
    assert after.startswith("after: UAR ")
    assert written == f"{folder} written."
    manifest, start = Manifest.read(folder), Manifest.read(ROOT / "model" / "compact")
    assert manifest.labels == start.labels
    assert manifest.licence == start.licence
    assert [c["name"] for c in manifest.corpora] == [*(c["name"] for c in start.corpora), "shop"]
    assert len(manifest.split["test"]) == 1
    assert manifest.split["development"] == []
    scores, _ = evaluate_test(Predictor.from_folder(folder), table)
    assert manifest.metrics["test"]["uar"] == scores.uar
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"compact {start.version} with its last layer fine-tuned" in card
    assert "each left out in turn" in card


def test_a_changed_encoder_is_tuned_on_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, width = made_up_tensors(), len(BLOCKS) * TINY.width
    weights, start = write_weights(tmp_path / "w.safetensors", tensors), tmp_path / "start"
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(weights))
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path / "cache"))
    plan = HeadConfig(n_blocks=2, input_blocks=(0, 1), projection=8, units=0, attention=4)
    head = plan.build(mean=[0.0] * width, variance=[1.0] * width, n_labels=len(LABELS))
    write_accurate(start, weights, tensors, deltas=low_rank(), head=head)
    table = write_table(tmp_path, speakers=("Ada", "Bo"), labels=("happy", "sad"))
    folder = tmp_path / "model"
    done = run_cli(
        "train", "--start", start, "--data", table, "--out", folder, "--runs", tmp_path / "runs"
    )
    assert done.exit_code == 0, done.output
    manifest = Manifest.read(folder)
    assert set(manifest.files) == {HEAD, DELTAS}
    kept = read_deltas(folder, manifest.encoder)
    assert all(np.array_equal(kept[name], values) for name, values in low_rank().items())
    tuned = manifest.metrics["test"]["seed_uars"]["0"]  # of the vectors that it was tuned on
    assert manifest.metrics["test"]["uar"] == pytest.approx(tuned)
    clips = list_clips(table, [corpus_of(table)])
    (changed,) = FineTuneRecipe(start, Manifest.read(start)).load(clips, table)
    encoder = replace(manifest.encoder, deltas=None)
    (published,) = AccurateRecipe(manifest.pipeline, encoder, copies=()).load(clips, table)
    assert not np.allclose(changed[0], published[0], atol=0.01)


@pytest.mark.parametrize(
    ("speakers", "labels", "message"),
    [
        (("Ada",), ("happy", "sad"), "has 1 speaker; at least 2 are needed: for training and test"),
        (("Ada", "Bo"), ("happy", "joyful"), "has the labels joyful, and the model's are neutral"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_before_the_training(
    speakers: tuple[str, ...], labels: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    table = write_table(tmp_path, speakers=speakers, labels=labels)
    model = load_model(ROOT / "model" / "compact")
    with pytest.raises(CorpusError, match=message):
        finetune_recipe(model, table)


def test_start_goes_with_a_table_alone(tmp_path: Path) -> None:
    for arguments, message in (
        (("train", "--start", "compact", "--data", tmp_path), "needs --data TABLE.csv"),
        (("train", "lstm", "--start", "compact"), "leave out the recipe"),
        (("train", "lstm", "--own-labels"), "goes with --start"),
    ):
        refused = run_cli(*arguments)
        assert refused.exit_code == 2
        assert message in refused.output
