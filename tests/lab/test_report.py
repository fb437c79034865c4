"""The page of figures: the same records give the same text, committed ones the committed text."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from typer.testing import CliRunner

from ser_core.cli import app
from ser_core.errors import SerError
from ser_lab.data.protocols import PROTOCOLS
from ser_lab.evaluate.runs import run_protocol
from ser_lab.report.figures import PUBLISHED, REPORT, write_report
from ser_lab.report.plots import chart_labels, plot_confusion
from tests.conftest import ROOT
from tests.lab.trees import KnownRecipe, write_tree, write_votes

GOLDEN = ROOT / "tests" / "golden" / "figures.md"


def confuse(emotion: str, seed: int) -> str:
    return {"angry": "happy"}.get(emotion, "calm" if (emotion, seed) == ("sad", 1) else emotion)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of known answers in three protocols, two recipes in one of them."""
    root = tmp_path_factory.mktemp("root")
    tree, runs = write_tree(root / "data"), root / "docs" / "runs"
    write_votes(tree, lambda name: {"sad": 3} if "_SAD_" in name else {"angry": 2})
    for protocol, name, seeds in (
        ("ravdess-6fold", "known", (0, 1)),
        ("ravdess-6fold", "other", (0,)),
        ("crema-d", "known", (0,)),
        ("cross-corpus", "known", (0,)),
    ):
        recipe = KnownRecipe(confuse, name=name)
        places = {"runs_folder": runs, "logs_folder": root / "logs"}
        run_protocol(PROTOCOLS[protocol], recipe, tree, seeds=seeds, **places)
    write_report(runs, root / "docs")
    return root / "docs"


def test_known_records_give_the_known_report(docs: Path, request: pytest.FixtureRequest) -> None:
    text = (docs / REPORT).read_text(encoding="utf-8")
    if request.config.getoption("--update-goldens"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_ours_stand_ranked_among_the_published(docs: Path) -> None:
    lines = (docs / REPORT).read_text(encoding="utf-8").splitlines()
    start = lines.index("## `ravdess-6fold`")
    table = [line for line in lines[start : start + 20] if line.startswith("| ")]
    systems = [line.split(" | ")[0].strip("| *") for line in table[2:]]
    published = {entry.system for entry in PUBLISHED if entry.protocol == "ravdess-6fold"}
    # known has 81.2%, other 87.5%
    assert systems[:4] == ["other", "wav2vec2, fine-tuned (317 M)", "XLSR, fine-tuned (317 M)",
                           "known"]  # fmt: skip
    assert published <= set(systems)


def test_every_picture_that_is_shown_is_there(docs: Path) -> None:
    text = (docs / REPORT).read_text(encoding="utf-8")
    pictures = {part.split(")")[0] for part in text.split("](figures/")[1:]}
    assert pictures == {path.name for path in (docs / "figures").iterdir()}
    assert "ravdess-6fold_other.png" in pictures
    assert all((docs / "figures" / name).stat().st_size > 5_000 for name in pictures)


def test_links_lead_to_the_records(docs: Path) -> None:
    text = (docs / REPORT).read_text(encoding="utf-8")
    assert "(runs/ravdess-6fold/known)" in text
    assert (docs / "runs" / "ravdess-6fold" / "known" / "summary.json").is_file()


def test_published_figures_name_protocols_that_exist() -> None:
    assert {entry.protocol for entry in PUBLISHED} <= set(PROTOCOLS)
    assert all(0 < entry.value < 1 for entry in PUBLISHED)
    assert len({(entry.protocol, entry.system) for entry in PUBLISHED}) == len(PUBLISHED)


def test_without_records_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SerError, match="contains no summary of a run"):
        write_report(tmp_path, tmp_path)


def test_the_committed_report_is_of_the_committed_records(tmp_path: Path) -> None:
    runs, committed = ROOT / "docs" / "runs", ROOT / "docs" / REPORT
    if not runs.is_dir():
        assert not committed.exists()
        return
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "runs").symlink_to(runs)
    report = write_report(tmp_path / "docs" / "runs", tmp_path / "docs")
    assert report.read_text(encoding="utf-8") == committed.read_text(encoding="utf-8")


def test_the_command_line_reports_and_names_what_is_unknown(docs: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["report", "--runs", str(docs / "runs"), "--out", str(tmp_path)])
    assert (done.exit_code, (tmp_path / REPORT).is_file()) == (0, True)
    for arguments, complaint in (
        (["report", "--runs", str(tmp_path / "none")], "contains no summary"),
        (["evaluate", "ravdess", "--recipe", "lstm"], "'ravdess' is not a protocol"),
        (["evaluate", "crema-d", "--recipe", "gmm"], "'gmm' is not a recipe"),
    ):
        refused = runner.invoke(app, arguments)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert refused.stderr.startswith("moodmirror: ")
        assert complaint in refused.stderr


def test_labels_of_any_script_leave_no_boxes_and_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    labels = ["ख़ुशी", "平静", "wütend"]
    assert chart_labels(["calm", "wütend"])[0] == ["calm", "wütend"]
    for fonts in (font_manager.findSystemFonts(), []):
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda fonts=fonts: fonts)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plot_confusion(np.eye(3, dtype=int), labels, "Test", tmp_path / "confusion.png")
    assert chart_labels(labels)[0] == ["1", "2", "3"]
    assert capfd.readouterr().err == ""
