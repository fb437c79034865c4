"""Models by `hf://OWNER/NAME@REVISION`: fetched from a Hub on loopback, and what is refused."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ser_core import registry
from ser_core.errors import ModelError
from ser_core.model.manifest import digest_of
from ser_core.model.saved_model import NETWORK, SAVED_MODEL
from ser_core.registry import fetch_model, open_predictor, parse_address, resolve
from tests.conftest import ROOT, run_cli
from tests.fake_hub import FakeHub, Fault, serve_hub, use_hub
from tests.fake_repos import Repo

NAME = "tester/voice"
ADDRESS = f"hf://{NAME}"
CLIP = "examples/synthetic-angry.flac"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A Hub for this process, an empty cache, and no memory of addresses."""
    fetch_model.cache_clear()
    with serve_hub() as hub:
        use_hub(hub, monkeypatch, cache=tmp_path / "cache")
        yield hub
    fetch_model.cache_clear()


@pytest.fixture
def repo(hub: FakeHub, bundled_model: Path) -> Repo:
    """The compact model as a repository."""
    repo = Repo.of_folder(bundled_model)
    hub.repos.repos[f"models/{NAME}"] = repo
    return repo


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("hf://a/b", ("a/b", "main")),
        ("hf://a/b@v1.0", ("a/b", "v1.0")),
        ("hf://a-b/c.d_e@refs/pr/1", ("a-b/c.d_e", "refs/pr/1")),
    ],
)
def test_an_address_names_a_repository_and_may_name_a_revision(
    address: str, parsed: tuple[str, str]
) -> None:
    assert parse_address(address) == parsed


@pytest.mark.parametrize("address", ["hf://", "hf://a", "hf://a/b@", "hf://a/b/c", "hf://a b/c"])
def test_what_is_no_address_is_refused_before_the_hub_is_asked(address: str, hub: FakeHub) -> None:
    with pytest.raises(
        ModelError, match=r"is not the address of a model; expected hf://OWNER/NAME"
    ):
        resolve(address)
    assert hub.requests == []


def test_a_model_on_the_hub_answers_like_the_folder_it_was_made_of(
    repo: Repo, bundled_model: Path, examples: Path
) -> None:
    clip = examples / "synthetic-angry.flac"
    there = open_predictor(f"{ADDRESS}@{repo.commit}").predict(clip)
    here = open_predictor(str(bundled_model)).predict(clip)
    assert there.probabilities == here.probabilities


def test_only_what_the_manifest_names_is_fetched_and_only_once(hub: FakeHub, repo: Repo) -> None:
    folder = fetch_model(f"{ADDRESS}@{repo.commit}").path
    named = {"manifest.json", *json.loads(repo.files["manifest.json"])["files"]}
    fetched = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert fetched == named
    n_requests = len(hub.requests)
    fetch_model.cache_clear()
    assert fetch_model(f"{ADDRESS}@{repo.commit}").path == folder
    assert len(hub.requests) == n_requests


def test_without_a_revision_it_is_the_newest_and_its_commit_is_told(
    repo: Repo, caplog: pytest.LogCaptureFixture
) -> None:
    assert fetch_model(ADDRESS).path.name == repo.commit
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{ADDRESS}@main is currently {ADDRESS}@{repo.commit}")


def test_a_commit_is_not_told_of(repo: Repo, caplog: pytest.LogCaptureFixture) -> None:
    fetch_model(f"{ADDRESS}@{repo.commit}")
    assert caplog.records == []


def test_an_address_stays_the_same_commit_while_the_process_lives(repo: Repo) -> None:
    model = fetch_model(ADDRESS)
    repo.n_commits += 1
    assert fetch_model(ADDRESS) is model


def test_an_unknown_repository_is_refused(hub: FakeHub) -> None:
    with pytest.raises(ModelError, match="The Hub has no model tester/voice, or it is private"):
        fetch_model(ADDRESS)
    assert hub.requests != []


@pytest.mark.usefixtures("repo")
def test_an_unknown_revision_is_refused() -> None:
    with pytest.raises(ModelError, match=r"tester/voice has no revision v9\. Name one of"):
        fetch_model(f"{ADDRESS}@v9")


def test_a_repository_without_manifest_is_no_model(repo: Repo) -> None:
    del repo.files["manifest.json"]
    with pytest.raises(
        ModelError, match=r"contains no manifest\.json, so it is not a complete model"
    ):
        fetch_model(ADDRESS)


def test_a_missing_file_is_named(repo: Repo) -> None:
    del repo.files["saved_model/saved_model.pb"]
    with pytest.raises(
        ModelError, match=r"was rejected: .* contains no saved_model/saved_model\.pb"
    ):
        fetch_model(ADDRESS)


def test_a_tampered_file_is_refused(repo: Repo) -> None:
    repo.files["saved_model/saved_model.pb"] += b"\0"
    with pytest.raises(
        ModelError, match=rf"{NAME}@{repo.commit} was rejected: .*saved_model\.pb is not the file"
    ):
        fetch_model(ADDRESS)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd"])
def test_a_manifest_that_names_files_elsewhere_is_refused(repo: Repo, name: str) -> None:
    manifest = json.loads(repo.files["manifest.json"])
    repo.files["manifest.json"] = json.dumps(manifest | {"files": {name: "0" * 64}}).encode()
    with pytest.raises(
        ModelError, match=r"was rejected: .*names '.*', where a file inside the folder is expected"
    ):
        fetch_model(ADDRESS)


def test_a_download_that_breaks_off_is_an_error_and_the_next_one_ends_it(
    hub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults.append(Fault(f"GET /{NAME}/resolve/{repo.commit}/network.keras", 0, times=99))
    with pytest.raises(ModelError, match=rf"network\.keras of {ADDRESS}@.* cannot be fetched"):
        fetch_model(ADDRESS)
    hub.faults.clear()
    assert (fetch_model(ADDRESS).path / "network.keras").read_bytes() == repo.files["network.keras"]


def test_the_command_line_runs_a_model_of_the_hub_and_tells_its_commit_once(
    hub: FakeHub, repo: Repo, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ser_core", "predict", "--json", "--model", ADDRESS, CLIP],
        cwd=ROOT,
        env=os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"].startswith("compact ")
    assert done.stderr.count(repo.commit) == 1


def test_the_command_line_says_in_one_line_that_the_hub_cannot_be_reached(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = FakeHub(url=f"http://127.0.0.1:{probe.getsockname()[1]}")
    use_hub(dead, monkeypatch, cache=tmp_path / "nothing")
    done = run_cli("predict", "--model", ADDRESS, ROOT / CLIP)
    assert (done.exit_code, done.stdout, hub.requests) == (2, "", [])
    complaint = done.stderr.splitlines()[-1]
    assert complaint.startswith(f"moodmirror: manifest.json of {ADDRESS}@main cannot be fetched")


def rewrite(repo: Repo, **changes: object) -> dict[str, str]:
    """Make the manifest one of others; return its files."""
    stored = json.loads(repo.files["manifest.json"]) | {"seed": 99} | changes
    repo.files["manifest.json"] = json.dumps(stored | {"digest": digest_of(stored)}).encode()
    return stored["files"]


def test_a_model_of_others_is_its_weights_alone(hub: FakeHub, repo: Repo) -> None:
    rewrite(repo)
    model = fetch_model(ADDRESS)
    assert model.path.name == NETWORK
    assert hub.asked(SAVED_MODEL) == 0
    assert fetch_model(ADDRESS, trust=True).path == model.folder
    assert hub.asked(f"{SAVED_MODEL}/saved_model.pb") > 0


def test_a_savedmodel_of_others_is_not_downloaded_without_trust(
    hub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = rewrite(repo)
    rewrite(repo, files={path: files[path] for path in files if path != NETWORK})
    done = run_cli("predict", "--model", ADDRESS, ROOT / CLIP)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "If you trust its author, run it with --trust" in done.stderr.splitlines()[-1]
    assert hub.asked(SAVED_MODEL) == 0
    done = run_cli("predict", "--json", "--trust", "--model", ADDRESS, ROOT / CLIP)
    assert done.exit_code == 0, done.stderr
    monkeypatch.setenv("MOODMIRROR_TRUST", "1")
    done = run_cli("predict", "--json", "--model", ADDRESS, ROOT / CLIP)
    assert done.exit_code == 0, done.stderr
    assert resolve(ADDRESS, trust=True).model.path.name == repo.commit


@pytest.mark.parametrize(
    ("file", "limit"), [("manifest.json", "MAX_MANIFEST_BYTES"), (NETWORK, "MAX_FILE_BYTES")]
)
def test_a_file_that_is_too_large_is_not_downloaded(
    hub: FakeHub, repo: Repo, monkeypatch: pytest.MonkeyPatch, file: str, limit: str
) -> None:
    monkeypatch.setattr(registry, limit, 100)
    with pytest.raises(ModelError, match=rf"{file} of .* bytes; at most 100 are downloaded"):
        fetch_model(ADDRESS)
    assert hub.asked(f"GET /{NAME}/resolve/{repo.commit}/{file}") == 0
