"""Which code a model says that it comes from."""

import subprocess
from pathlib import Path

import pytest

import ser_core
from ser_lab.train.export import current_commit
from tests.conftest import needs_program


@needs_program("git")
def test_a_commit_is_dirty_where_the_package_has_changed_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, record = tmp_path / "ser_core" / "__init__.py", tmp_path / "record.json"
    package.parent.mkdir()
    monkeypatch.setattr(ser_core, "__file__", str(package))
    package.touch()
    record.touch()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert current_commit() == "unknown"
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ada@example.org")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tmp_path, text=True)
    record.write_text("{}")
    assert current_commit() == head[:12]
    package.write_text("changed")
    assert current_commit() == f"{head[:12]}-dirty"
