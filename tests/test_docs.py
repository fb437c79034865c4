"""The site of docs/."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.links import broken_links


def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scale.html").is_file()
    assert broken_links(tmp_path) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text('<h1 id="top">A</h1><a href="../b.html">B</a>')
    (tmp_path / "b.html").write_text(
        '<a href="a">fine</a><a href="a/#top">fine</a><a href="a/#nowhere">not</a>'
        '<img src="lost.png"><a href="https://example.org/">elsewhere</a>'
    )
    assert broken_links(tmp_path) == ["b.html: a/#nowhere", "b.html: lost.png"]
