"""Intensity of acted speech: known columns give known figures, and the page states them."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_core.errors import CorpusError
from ser_core.labels import LABELS
from ser_core.model.emotion_model import load_model
from ser_core.model.manifest import Manifest
from ser_lab.evaluate import intensity
from ser_lab.evaluate.intensity import (
    GradedClips,
    IntensityError,
    grade,
    measure_intensity,
    summarise,
)
from ser_lab.evaluate.records import INTENSITY
from ser_lab.metrics import calibration_bins, calibration_gap
from ser_lab.report.figures import write_report
from ser_lab.ship import add_intensity
from ser_lab.train.loop import predict_logits
from ser_lab.train.recipes.finetune import FineTuneRecipe, LastLayer, fine_tune
from tests.conftest import ROOT, run_cli
from tests.lab.test_finetune import build_start, make_clips


def graded(*, told: bool) -> GradedClips:
    """Clips whose first column is the level of intensity, or noise."""
    random = np.random.default_rng(0)
    rows = [
        (corpus, f"{corpus}/{speaker}", emotion, intensity, level)
        for corpus, levels in (
            ("ravdess", {"normal": 0, "strong": 2}),
            ("crema-d", {"low": 0, "medium": 1, "high": 2}),
        )
        for speaker in range(12)
        for emotion in ("angry", "sad")
        for intensity, level in levels.items()
        for _ in range(2)
    ]
    table = pd.DataFrame(rows, columns=["corpus", "speaker", "emotion", "intensity", "level"])
    columns = random.normal(size=(len(table), 4))
    if told:
        columns[:, 0] += 20.0 * table["level"]
    return GradedClips(columns.astype(np.float32), table.assign(is_plain=False))


@pytest.fixture(scope="module", autouse=True)
def _few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intensity, "N_BOOTSTRAP", 100)
        yield


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    """The figures of columns that state the level."""
    return measure_intensity(graded(told=True))


def test_an_intensity_that_the_columns_state_is_found_on_unseen_speakers(
    record: dict[str, Any],
) -> None:
    corpora = record["corpora"]
    assert corpora["ravdess"]["auc"] == corpora["crema-d"]["corpus_unseen"] == 1.0
    assert corpora["ravdess"]["n_clips"] == 96
    assert corpora["crema-d"]["n_clips"] == 144
    assert corpora["crema-d"]["by_emotion"] == {"angry": 1.0, "sad": 1.0}
    assert corpora["crema-d"]["steps"] == {"low and medium": 1.0, "medium and high": 1.0}
    assert corpora["ravdess"]["steps"] == {}


def test_noise_is_chance() -> None:
    for found in measure_intensity(graded(told=False))["corpora"].values():
        assert found["auc"] == pytest.approx(0.5, abs=0.15)
        low, high = found["interval"]
        assert low < found["auc"] < high


def test_a_clip_is_the_mean_and_the_deviation_of_its_vectors() -> None:
    clip = np.array([[1.0, 2.0], [3.0, 2.0]], np.float16)
    np.testing.assert_allclose(summarise([clip]), [[2.0, 2.0, 1.0, 0.0]])


def test_the_page_of_figures_states_the_record(tmp_path: Path, record: dict[str, Any]) -> None:
    runs = tmp_path / "runs"
    summary = ROOT / "docs" / "runs" / "crema-d" / "compact" / "summary.json"
    copy = runs / "crema-d" / "compact" / "summary.json"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(summary.read_bytes())
    (runs / INTENSITY).write_text(json.dumps(record))
    page = write_report(runs, tmp_path / "docs").read_text(encoding="utf-8")
    assert "| ravdess | 96 | 12 | 1.00 | 1.00 to 1.00 | 1.00 |" in page
    assert "Neighbouring intensities of CREMA-D: low and medium 1.00, medium and high 1.00." in page


def test_a_record_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / INTENSITY).write_text('{"mine": 1}')
    done = run_cli("evaluate", "intensity", "--data", tmp_path, "--runs", tmp_path)
    assert done.exit_code == 2
    assert INTENSITY in done.stderr
    assert (tmp_path / INTENSITY).read_text() == '{"mine": 1}'


def test_neutral_clips_and_those_without_speech_or_level_are_no_graded_ones() -> None:
    table = pd.DataFrame(
        {
            "corpus": [*["ravdess"] * 5, "tess", "tess"],
            "intensity": ["normal", "strong", "normal", "", "strong", "", ""],
            "emotion": ["sad", "sad", "neutral", "sad", "sad", "calm", "sad"],
        }
    )
    clip = np.ones((2, 3), np.float16)
    rows, clips = grade(table, [clip, clip, clip, clip, None, clip, clip])
    assert list(rows["level"]) == [0, 2]
    assert len(clips) == 2
    rows, _ = grade(table, [clip, clip, clip, clip, None, clip, clip], with_plain=True)
    assert list(rows["level"]) == [0, 2, 0, 0]
    assert list(rows["is_plain"]) == [False, False, True, True]


def test_a_room_of_plain_clips_is_not_taken_for_strength() -> None:
    clips = graded(told=True)
    n = len(clips.table)
    clips.columns[:, 1] += 0.2 * clips.table["level"]  # as the level, by chance
    room = np.random.default_rng(1).normal(size=(40, 4)).astype(np.float32)
    room[:, 1] += 100.0
    plain = pd.DataFrame({"corpus": "tess", "level": 0, "is_plain": True}, index=range(40))
    plain["speaker"] = [f"tess/{i % 8}" for i in range(40)]
    both = GradedClips(
        np.concatenate([clips.columns, room]), pd.concat([clips.table, plain], ignore_index=True)
    )
    alone = clips.fit_calibrated(np.arange(n))
    together = both.fit_calibrated(np.arange(n + 40))
    assert (room @ alone[:-1] + alone[-1] > 0).mean() > 0.9
    assert (room @ together[:-1] + together[-1] > 0).mean() < 0.1


def test_the_estimate_is_calibrated_where_the_regression_alone_is_not() -> None:
    random, graded_clips = np.random.default_rng(0), graded(told=False)
    table = pd.concat([graded_clips.table] * 10, ignore_index=True)
    columns = random.normal(size=(len(table), 4)).astype(np.float32)
    columns[:, 0] += 0.9 * table["level"]  # strong and weak overlap
    clips = GradedClips(columns, table)
    rows = np.flatnonzero(clips.is_extreme)
    weights = clips.fit_calibrated(np.arange(len(table)))
    alone = clips.fit(np.arange(len(table))).predict_proba(columns[rows])[:, 1]
    scores = columns[rows] @ weights[:-1] + weights[-1]
    gaps = [
        calibration_gap(calibration_bins(p, clips.is_strong[rows]))
        for p in (1.0 / (1.0 + np.exp(-scores)), alone)
    ]
    assert gaps[0] < 0.05
    assert gaps[0] < gaps[1] / 2


def test_a_column_of_intensity_leaves_the_emotions_and_survives_a_fine_tuning() -> None:
    start, (table, clips) = build_start(), make_clips(24)
    layer = LastLayer.of(start, LABELS)
    speech = [clip for clip in clips if clip is not None]
    hidden = layer.hidden(speech)
    weights = np.random.default_rng(0).normal(size=hidden.shape[1] + 1)
    unchanged = np.zeros((len(weights), len(LABELS)))
    network = layer.with_intensity(weights).network(unchanged)
    logits = predict_logits(network, speech, n_labels=len(LABELS) + 1)
    np.testing.assert_allclose(logits[:, -1], hidden @ weights[:-1] + weights[-1], atol=1e-5)
    np.testing.assert_array_equal(logits[:, :-1], predict_logits(start.network, speech))
    start = replace(start, network=network)
    tuned = fine_tune(start, table, clips, np.arange(24), labels=LABELS)
    after = predict_logits(tuned.network, speech, n_labels=len(LABELS) + 1)
    np.testing.assert_allclose(after[:, -1], logits[:, -1], atol=1e-5)
    assert np.abs(after[:, :-1] - logits[:, :-1]).max() > 0.1


@pytest.fixture
def shipped(tmp_path: Path, bundled_model: Path) -> Path:
    """A copy of the model that the app ships."""
    return Path(shutil.copytree(bundled_model, tmp_path / "model"))


def made_up_recordings(patch: pytest.MonkeyPatch, manifest: Manifest, *, told: bool) -> None:
    """Replace the corpora by frames of noise, whose slope over frequency states the level."""
    held_out = manifest.split["test"]
    table = graded(told=False).table.drop(columns="level")
    tested = table[table["speaker"].isin(["ravdess/0", "crema-d/0"])].copy()
    tested["speaker"] = tested["corpus"].map(lambda c: next(s for s in held_out if c in s))
    table = pd.concat([table, tested], ignore_index=True)
    random = np.random.default_rng(0)
    slope = np.linspace(-20.0, 20.0, len(manifest.columns))
    strength = table["intensity"].map(intensity.LEVELS) if told else random.normal(size=len(table))
    clips = [
        (random.normal(-30.0, 5.0, (40, len(slope))) + level * slope).astype(np.float32)
        for level in strength
    ]
    patch.setattr(intensity, "list_clips", lambda *_: table)
    patch.setattr(FineTuneRecipe, "load", lambda *_: [clips])


def test_a_shipped_model_gets_one_and_its_emotions_stay(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Manifest.read(shipped)
    made_up_recordings(monkeypatch, before, told=True)
    done = run_cli(
        "evaluate", "intensity", "--record", "--model", shipped, "--data", shipped.parent
    )
    assert done.exit_code == 0, done.output
    assert "crema-d: AUC 1.000" in done.stdout
    after = Manifest.read(shipped)
    assert after.has_intensity
    assert after.probe == before.probe
    assert after.metrics["test"] == before.metrics["test"]
    assert after.metrics["intensity"]["by_corpus"]["crema-d"]["n_speakers"] == 1
    frames = np.random.default_rng(1).normal(-30.0, 5.0, (2, 40, 64)).astype(np.float32)
    old, new = load_model(ROOT / "model" / "compact"), load_model(shipped, trust=True)
    np.testing.assert_allclose(new(frames), old(frames), atol=1e-6)
    slope = np.linspace(-20.0, 20.0, 64).astype(np.float32)
    weak, strong = new.infer(np.stack([frames[0], frames[0] + 2 * slope]))[:, -1]
    assert weak < 0.2
    assert strong > 0.8
    assert "AUC" in (shipped / "README.md").read_text()


def test_a_model_of_which_it_cannot_be_told_stays_as_it_is(
    shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Manifest.read(shipped)
    made_up_recordings(monkeypatch, before, told=False)
    with pytest.raises(IntensityError, match=r"with an AUC of 0\.\d\d; at least 0\.8 is needed"):
        add_intensity(shipped, shipped.parent)
    assert Manifest.read(shipped) == before


def test_a_model_of_other_corpora_or_without_the_recordings_gets_none(
    shipped: Path, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError):
        add_intensity(shipped, tmp_path)
    replace(Manifest.read(shipped), corpora=()).write(shipped)
    with pytest.raises(IntensityError, match=r"neither ravdess nor crema-d"):
        add_intensity(shipped, tmp_path)
