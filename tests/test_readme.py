"""The README says what is so."""

import json
import re
from pathlib import Path

import pytest

from ser_core import __version__
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_space_runs_the_pinned_gradio() -> None:
    (pinned,) = re.findall(r"^gradio==(.+)$", (ROOT / "requirements.txt").read_text(), re.M)
    assert f"sdk_version: {pinned}" in README
    assert README.startswith("---\n")


def test_short_description_fits_the_hub() -> None:
    (description,) = re.findall(r"^short_description: (.+)$", README, re.M)
    assert len(description) <= 60


@pytest.mark.parametrize("model", ["accurate", "compact"])
def test_the_figures_are_the_manifests(model: str) -> None:
    manifest = json.loads((ROOT / "model" / model / "manifest.json").read_text())
    for test in manifest["metrics"]["test"]["by_corpus"].values():
        low, high = (100 * bound for bound in test["uar_interval"])
        uar = f"{100 * test['uar']:.1f}% ({low:.1f} to {high:.1f})"
        assert f"| {uar} | {100 * test['war']:.1f}% |" in README


@pytest.mark.parametrize("column", [3, 4])
@pytest.mark.parametrize(
    "protocol", ["ravdess-6fold", "ravdess-5fold", "crema-d", "cross-corpus", "strangers"]
)
def test_the_protocols_figures_are_the_records(protocol: str, column: int) -> None:
    (line,) = [line for line in README.splitlines() if line.startswith(f"| `{protocol}` |")]
    told = line.split("|")[column].strip()
    recipe = {3: "accurate", 4: "compact"}[column]
    summary = ROOT / "docs" / "runs" / protocol / recipe / "summary.json"
    if not summary.exists():
        assert told == "not measured yet"
        return
    uar = json.loads(summary.read_text())["uar"]
    low, high = (100 * bound for bound in uar["interval"])
    assert told == f"{100 * uar['mean']:.1f}% ({low:.1f} to {high:.1f})"


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_model_is_of_this_version(bundled_model: Path) -> None:
    assert json.loads((bundled_model / "manifest.json").read_text())["version"] == __version__
