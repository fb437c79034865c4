"""Intensity of acted speech: known columns give known figures, and the page states them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser_lab.evaluate import intensity
from ser_lab.evaluate.intensity import GradedClips, measure_intensity, summarise
from ser_lab.evaluate.records import INTENSITY
from ser_lab.report.figures import write_report
from tests.conftest import ROOT, run_cli


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
    return GradedClips(columns.astype(np.float32), table)


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
