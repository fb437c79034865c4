"""The page of the papers' figures: from records alone, and the committed one is of these."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from ser_lab.reproduce import report
from ser_lab.reproduce.recipes import RECIPES
from ser_lab.reproduce.record import FOLDER, Record, find_figures, pair_records, read_records
from ser_lab.reproduce.report import (
    CHART,
    EMOTIONS_CHART,
    ITEMS,
    PAGE,
    PAPER,
    Item,
    compare,
    plot_emotions,
    plot_models,
    write_reproduction,
)
from tests.conftest import ROOT


def make_record(family: str, variant: str, split: str, seed: int, war: float) -> Record:
    recipe = RECIPES[f"{family}-{variant}" if variant else family]
    figures = {"recall": war, "f1": war - 0.02}
    test: dict[str, Any] = {"war": war, "uar": war - 0.01, "n_clips": 100, "loss": 2 - war}
    test["per_emotion"] = dict.fromkeys(recipe.labels, figures)
    history = {"accuracy": [0.5, 0.9], "val_accuracy": [0.4, 0.3], "val_loss": [1.1, 1.3]}
    return Record(
        family=family, variant=variant, split=split, seed=seed, settings=recipe.settings,
        commit="", machine={}, n_clips={"train": 300, "development": 50, "test": 100},
        corpora={
            "present": ["ravdess"], "missing": ["savee"] if "savee" in recipe.corpora else [],
            "unseen_missing": [],
        },
        n_parameters=54_024, epochs={"run": 20, "kept": 1, "allowed": 20}, train_s=600.0,
        history=history if recipe.schedule else {}, development=test, test=test,
        by_corpus={"ravdess": {"war": war / 2 + 0.2, "uar": war / 2, "n_clips": 40}},
        unseen={"jl-corpus": {"war": 0.5, "uar": 0.4, "n_clips": 9}},
    )  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Known figures: two seeds of one recipe, one of others, one split missing, one subset."""
    runs = tmp_path / "docs" / "runs"
    for family, variant, split, seed, war in (
        ("lstm", "", "random", 0, 0.80),
        ("lstm", "", "speaker", 0, 0.30),
        ("lstm", "", "speaker", 1, 0.40),
        ("lstm", "paper-preprocessing", "random", 0, 0.77),
        ("lstm", "paper-preprocessing", "speaker", 0, 0.27),
        ("cnn", "", "random", 0, 0.60),
        ("mfcc-lstm", "no-copies", "random", 0, 0.41),
        ("mfcc-lstm", "no-copies", "speaker", 0, 0.31),
        ("mfcc-lstm", "copies-after", "random", 0, 0.42),
        ("mfcc-lstm", "copies-after", "speaker", 0, 0.32),
        ("mfcc-lstm", "copies-before", "random", 0, 0.73),
        ("mfcc-lstm", "copies-before", "speaker", 0, 0.33),
    ):
        make_record(family, variant, split, seed, war).write(runs)
    subset = {"corpus": "tess"}
    part = make_record("hybrid-lstm", "plain", "random", 0, 0.96)
    settings = part.settings | {"subset": subset}
    replace(part, variant="plain-tess", settings=settings).write(runs)
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
    assert "60.0% of 40 clips with shared speakers, 37.5 ± 3.5% of 40 clips with" in text
    assert "| lstm | unseen | 37.5 ± 3.5% |" in text
    assert "| of all clips, before the split | 73.0% | 33.0% |" in text
    assert "| system | jl-corpus |" in text
    assert "| lstm | 40.0 ± 0.0% |" in text
    assert "Without savee, which was not available. Trained for at most 20 of 1,000" in text
    assert "to completion yet: bilstm, bilstm-paper-preprocessing, mfcc-lstm-copies-b" in text
    for chart in (CHART, EMOTIONS_CHART):
        assert (runs.parent / "figures" / chart).stat().st_size > 5_000
        assert f"](figures/{chart})" in text
    assert (runs / FOLDER / "lstm").is_dir()
    assert f"(runs/{FOLDER}/lstm)" in text


def test_the_page_has_losses_emotions_preprocessings_and_subsets(runs: Path) -> None:
    page = write_reproduction(runs, runs.parent)
    assert page is not None
    text = page.read_text(encoding="utf-8")
    assert "| lstm | 0.9455 | 1.20 | 1.65 ± 0.07 | 1.10 | 1.10 ± 0.00 |" in text
    assert "| cnn |  | 1.40 | not recorded | 1.10 | not recorded |" in text
    assert "| lstm: recall | neutral | 75.5% | 80.0% | 35.0% |" in text
    assert "| cnn: recall | angry | 82.0% | 60.0% |  |" in text
    assert "| lstm | the paper's | 77.0% | 27.0% | 76.0% | 26.0% |" in text
    assert "| hybrid-lstm-plain-tess | corpus tess | 96.0% | not run |" in text
    assert "| lstm | parameters | 54,024 | 54,024 | same |" in text
    assert "| lstm | epochs | 100 | 20 | differs: fewer were run |" in text
    assert "| cnn | epochs | 1,000 | 20 | differs: fewer were run |" in text
    assert "| cnn | training accuracy | 85% | 90% | differs: " in text
    assert "| lstm | epoch at which overfitting begins, in the report | 100 | 1 | differs: " in text
    assert "| bilstm | test accuracy | 96.28% |  | cannot: no record has it yet |" in text


def test_what_the_papers_print_has_a_row_for_each_recipe_and_a_verdict_for_each_row() -> None:
    assert {item.system for item in ITEMS} == set(RECIPES)
    for item in ITEMS:
        assert item.verdict in ("same", "differs", "cannot") or (item.measure and not item.verdict)
        assert item.why or item.verdict == "same" or item.paper == item.notation(item.number)
    assert len({(item.system, item.item) for item in ITEMS}) == len(ITEMS)


@pytest.mark.parametrize("item", [item for item in ITEMS if item.measure], ids=str)
def test_each_figure_of_the_papers_is_found_in_a_record(item: Item) -> None:
    recipe = RECIPES[item.system]
    run = make_record(recipe.family, recipe.variant, "random", 0, 0.6)
    assert len(find_figures([run], item.measure)) == 1
    if not item.verdict:
        assert compare(item, item.number - 1e-9)[1] == "same"
        assert compare(item, 7 * item.number)[1] == f"differs: {item.why}"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures instead of files."""
    figures: list[Figure] = []
    monkeypatch.setattr(report, "save_chart", lambda figure, _: figures.append(figure))
    return figures


def test_systems_are_bars_with_their_spread_and_people_a_line(
    runs: Path, drawn: list[Figure]
) -> None:
    pairs = pair_records(read_records(runs))
    plot_models([pair for pair in pairs if pair.name in ("lstm", "cnn")], Path("x.png"))
    (axes,) = drawn[0].axes
    paper, shared, unseen = (c for c in axes.containers if isinstance(c, BarContainer))
    assert [bar.get_width() for bar in paper] == [0.6975, 0.62]
    assert [bar.get_width() for bar in shared] == [0.80, 0.60]
    assert unseen[0].get_width() == pytest.approx(0.35)
    (spread, *_) = unseen.errorbar[2][0].get_segments()
    assert spread[1][0] - spread[0][0] == pytest.approx(2 * 0.0707, abs=1e-3)
    assert [0.72, 0.72] in [list(line.get_xdata()) for line in axes.lines]


def test_emotions_are_groups_of_bars(drawn: list[Figure], tmp_path: Path) -> None:
    plot_emotions({"one": {PAPER: {"sad": 0.8, "calm": 0.7}, "ours": {"calm": 0.6}}}, tmp_path)
    paper, ours = drawn[0].axes[0].containers
    assert [bar.get_height() for bar in paper] == [0.8, 0.7]
    assert [bar.get_height() for bar in ours][1] == 0.6
    assert [text.get_text() for text in drawn[0].axes[0].get_xticklabels()] == ["sad", "calm"]


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
    for chart in (CHART, EMOTIONS_CHART):
        assert (ROOT / "docs" / "figures" / chart).is_file()
