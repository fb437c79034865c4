"""The page of the papers' figures: from records alone, and the committed one is of these."""

from pathlib import Path
from typing import Any

import pytest

from ser_lab.reproduce.recipes import REPRODUCTIONS
from ser_lab.reproduce.record import FOLDER, Record, pair_records, read_records
from ser_lab.reproduce.report import CHART, PAGE, write_reproduction
from tests.conftest import ROOT


def make_record(family: str, variant: str, split: str, seed: int, war: float) -> Record:
    (recipe,) = (r for r in REPRODUCTIONS[family] if r.variant == variant)
    test: dict[str, Any] = {"war": war, "uar": war - 0.01, "n_clips": 100}
    return Record(
        family=family, variant=variant, split=split, seed=seed, settings=recipe.settings,
        commit="", machine={}, n_clips={"train": 300, "development": 50, "test": 100},
        corpora={
            "present": ["ravdess"], "missing": ["savee"] if "savee" in recipe.corpora else [],
            "unseen_missing": [],
        },
        n_parameters=54_024, epochs={"run": 20, "kept": 12, "allowed": 20}, train_s=600.0,
        history={}, development=test, test=test,
        by_corpus={"ravdess": {"war": war / 2 + 0.2, "uar": war / 2, "n_clips": 40}},
        unseen={name: {"war": 0.5, "uar": 0.4, "n_clips": 9} for name in recipe.unseen},
    )  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Known figures: two seeds of one recipe, one of others, one split missing."""
    runs = tmp_path / "docs" / "runs"
    for family, variant, split, seed, war in (
        ("lstm", "", "random", 0, 0.80),
        ("lstm", "", "speaker", 0, 0.30),
        ("lstm", "", "speaker", 1, 0.40),
        ("cnn", "", "random", 0, 0.60),
        ("mfcc-lstm", "no-copies", "random", 0, 0.41),
        ("mfcc-lstm", "no-copies", "speaker", 0, 0.31),
        ("mfcc-lstm", "copies-after", "random", 0, 0.42),
        ("mfcc-lstm", "copies-after", "speaker", 0, 0.32),
        ("mfcc-lstm", "copies-before", "random", 0, 0.73),
        ("mfcc-lstm", "copies-before", "speaker", 0, 0.33),
    ):
        make_record(family, variant, split, seed, war).write(runs)
    return runs


def test_the_gap_is_between_the_means_over_seeds(runs: Path) -> None:
    pairs = {pair.name: pair for pair in pair_records(read_records(runs))}
    assert pairs["lstm"].gap == pytest.approx(0.80 - 0.35)
    assert pairs["cnn"].gap is None


def test_the_page_tells_the_figures(runs: Path) -> None:
    page = write_reproduction(runs, runs.parent)
    assert page is not None
    text = page.read_text(encoding="utf-8")
    lines = {line.split("](")[0][3:]: line for line in text.splitlines() if line.startswith("| [")}
    cells = [cell.strip() for cell in lines["lstm"].split("|")]
    assert cells[3:8] == ["80.0%", "35.0 ± 7.1%", "34.0 ± 7.1%", "45.0", "22.5"]
    assert "| 60.0% | not run |" in lines["cnn"]
    assert "Ours, after 20 epochs, reaches 80.0% with shared" in text
    assert "45 points less, where guessing gives 12.5%" in text
    assert "60.0% of 40 clips with shared speakers, 37.5% of 40 clips with" in text
    assert "| of all clips, before the split | 73.0% | 33.0% |" in text
    assert "| cnn | jl-corpus | 40.0% |" in text
    assert "Without savee, which was not available." in text
    assert "to completion yet: bilstm, mfcc-lstm-copies-before-256, dual-rnn" in text
    assert (runs.parent / "figures" / CHART).stat().st_size > 5_000
    assert (runs / FOLDER / "lstm").is_dir()
    assert f"(runs/{FOLDER}/lstm)" in text


def test_a_corpus_that_was_missing_is_named(tmp_path: Path) -> None:
    record = make_record("svm", "", "random", 0, 0.4)
    record.corpora["unseen_missing"].append("jl-corpus")
    record.unseen.clear()
    record.write(tmp_path)
    page = write_reproduction(tmp_path, tmp_path)
    assert page is not None
    assert "Not available when these records were made: jl-corpus." in page.read_text("utf-8")


def test_no_record_gives_no_page(tmp_path: Path) -> None:
    assert write_reproduction(tmp_path, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record("svm", "", "speaker", 2, 0.4)
    assert Record.read(record.write(tmp_path)).test == record.test


def test_the_committed_page_is_of_the_committed_records(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "runs").symlink_to(ROOT / "docs" / "runs")
    page = write_reproduction(tmp_path / "docs" / "runs", tmp_path / "docs")
    assert page is not None
    committed = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8") == committed
    assert (ROOT / "docs" / "figures" / CHART).is_file()
