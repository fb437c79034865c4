"""Models published, and the commands that bring things to the Hub."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from ser_core.deploy.folder import CLIP, space_files
from ser_core.deploy.repository import check_name, hub_errors, publish_model, publishable
from ser_core.errors import HubError
from ser_core.model.manifest import Manifest, sha256_of
from ser_core.model.saved_model import NETWORK, SAVED_MODEL
from ser_core.registry import fetch_model, open_predictor
from tests.conftest import ROOT, run_cli
from tests.deploy.conftest import PLACE, SPACE, replace_in
from tests.fake_hub import FakeHub
from tests.fake_repos import Repo


def test_a_published_model_can_be_run_by_its_address(
    hub: FakeHub, api: HfApi, bundled_model: Path
) -> None:
    address = list(publish_model(api, publishable(bundled_model), "tester/voice"))[-1]
    repo = hub.repos.repos["models/tester/voice"]
    assert address == f"hf://tester/voice@{repo.commit}"
    assert {"README.md", "manifest.json", "figures/calibration.png"} <= set(repo.files)
    fetch_model.cache_clear()
    assert fetch_model(address).manifest.is_pinned


def test_weights_alone_are_published_unless_the_savedmodel_is_asked_for(
    hub: FakeHub, bundled_model: Path, examples: Path
) -> None:
    clip, answers = examples / "synthetic-angry.flac", []
    for options, parts in (((), {NETWORK}), (("--format", "saved_model"), {NETWORK, SAVED_MODEL})):
        hub.repos.repos.clear()
        hub.repos.new = Repo()
        done = run_cli("publish-model", bundled_model, "tester/voice", *options)
        assert done.exit_code == 0, done.stderr
        files = hub.repos.repos["models/tester/voice"].files
        found = {name.partition("/")[0] for name in files}
        assert found == {"README.md", "manifest.json", "figures", *parts}
        fetch_model.cache_clear()
        answers.append(open_predictor(done.stdout.splitlines()[-1]).predict(clip).probabilities)
    assert answers[0] == pytest.approx(answers[1], abs=1e-4)


def test_a_model_that_others_would_refuse_is_not_published(
    hub: FakeHub, bundled_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundled_model, tmp_path / "model"))
    manifest = Manifest.read(folder)
    bare = {path: value for path, value in manifest.files.items() if path != NETWORK}
    (folder / NETWORK).write_bytes(b"no network")
    for files, complaint in (
        (bare, f"contains no {NETWORK}, only a SavedModel"),
        (bare | {NETWORK: sha256_of(folder / NETWORK)}, f"{NETWORK} cannot be opened"),
    ):
        replace(manifest, files=files).write(folder)
        done = run_cli("publish-model", folder, "tester/voice")
        assert (done.exit_code, hub.requests) == (2, [])
        assert complaint in done.stderr.splitlines()[-1]


def test_what_the_manifest_does_not_name_is_not_published(copy: Path) -> None:
    model = copy / "model" / "compact"
    (model / "recording.wav").write_bytes(b"RIFF")
    assert "recording.wav" not in publishable(model)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model: (model / "README.md").unlink(), r"contains no README\.md"),
        (
            lambda model: replace_in(model / "README.md", "^license: .*", "license: mit"),
            "have license: mit; expected cc-by-nc-sa-4.0",
        ),
    ],
)
def test_a_model_without_a_true_card_is_not_published(
    copy: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(copy / "model" / "compact")
    with pytest.raises(HubError, match=message):
        publishable(copy / "model" / "compact")


def test_a_dry_run_shows_everything_and_sends_nothing(hub: FakeHub) -> None:
    done = run_cli(
        "deploy", "--space", SPACE, "--dry-run", "--skip-smoke-test",
        "--secret", "KEY", "--variable", "A=b", "--hardware", "cpu-basic", KEY="hush",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "smoke test: skipped" in done.stdout
    assert f"  {CLIP}\n" in done.stdout
    for step in (
        "create the Space",
        "the hardware cpu",
        "the secret KEY",
        "A=b",
        "upload",
        "build",
    ):
        assert re.search(f"^would .*{step}", done.stdout, re.M)
    assert "hush" not in done.stdout
    assert hub.requests == []


@pytest.mark.parametrize("name", ["mood", "a/b/c", "a/", "a b/c", ""])
def test_a_name_that_cannot_be_is_refused_at_once(name: str) -> None:
    with pytest.raises(HubError, match=f"^{name} is not a repository name; expected OWNER/NAME"):
        check_name(name)


def test_a_mistake_is_not_called_a_lost_connection() -> None:
    with (
        pytest.raises(HubError, match=r"^Uploading failed: Invalid metadata$"),
        hub_errors("Uploading"),
    ):
        raise ValueError("Invalid metadata")


def test_the_command_stops_before_the_hub_where_there_is_no_token(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    done = run_cli("deploy", "--space", SPACE)
    assert done.exit_code == 2
    assert done.stderr.startswith("moodmirror: There is no Hub token on this machine.")
    assert hub.requests == []


def test_the_commands_publish_a_model_and_deploy_a_space(hub: FakeHub, bundled_model: Path) -> None:
    published = run_cli("publish-model", bundled_model, "tester/voice")
    assert published.exit_code == 0, published.stderr
    assert published.stdout.splitlines()[-1].startswith("hf://tester/voice@")
    done = run_cli("deploy", "--space", SPACE, "--skip-smoke-test")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("live: stand-in 1 recognises angry")
    assert set(hub.repos.repos[PLACE].files) == set(space_files(ROOT))


def test_the_command_line_loads_nothing_of_it_at_start_up() -> None:
    names = ["huggingface_hub", "gradio_client", "ser_core.deploy", "yaml"]
    code = f"import sys, ser_core.cli; print([m for m in {names} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
