"""The README says what is so."""

import json
import re
from pathlib import Path

import numpy as np
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


def test_the_figures_are_the_manifests(bundled_model: Path) -> None:
    test = json.loads((bundled_model / "manifest.json").read_text())["metrics"]["test"]
    low, high = test["uar_interval"]
    uars = 100 * np.array(list(test["seed_uars"].values()))
    stated = f"{100 * test['uar']:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f})"
    assert stated in README
    assert f"| {100 * test['war']:.1f} % |" in README
    assert f"{uars.mean():.1f} ± {uars.std(ddof=1):.1f} %" in README


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_model_is_of_this_version(bundled_model: Path) -> None:
    assert json.loads((bundled_model / "manifest.json").read_text())["version"] == __version__
