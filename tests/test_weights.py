"""Whisper's weights: found, fetched from a Hub on loopback, and proven true."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from ser_core.errors import ModelError
from ser_core.whisper import weights as hub
from ser_core.whisper.spec import EncoderConfig
from ser_core.whisper.weights import OfflineError, find_encoder, read_tensors, tensors_sha256
from tests.accurate import made_up_tensors, write_weights
from tests.conftest import ROOT
from tests.fake_hub import CONFIG, PATH, FakeHub, serve_hub

BOUND_S = 2 * hub.HUB_TIMEOUT_S
FETCH = """
import time
from ser_core.errors import ModelError
from ser_core.whisper.weights import fetch_encoder
from ser_core.whisper.spec import EncoderConfig
start = time.monotonic()
try:
    outcome = fetch_encoder(EncoderConfig(blocks=(1,)))
except ModelError as error:
    outcome = f"{type(error).__name__}: {error}"
print(time.monotonic() - start)
print(outcome)
"""


def fetch(url: str, cache: Path, **environment: str) -> tuple[str, float, str]:
    """Outcome, seconds and complaints of a fetch in a fresh process with its own cache."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "MOODMIRROR_"))}
    done = subprocess.run(
        [sys.executable, "-c", FETCH],
        cwd=ROOT,
        env=inherited | {"HF_ENDPOINT": url, "HF_HOME": str(cache)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, outcome = done.stdout.splitlines()
    return outcome, float(seconds), done.stderr


@pytest.fixture
def fake_hub() -> FakeHub:
    with serve_hub(b"made-up weights " * 1_000) as hub:
        yield hub


@pytest.fixture(autouse=True)
def no_encoder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(hub.ENCODER_VARIABLE, raising=False)


def test_the_file_is_fetched_once_and_then_found_without_the_network(
    fake_hub: FakeHub, tmp_path: Path
) -> None:
    path, _, _ = fetch(fake_hub.url, tmp_path)
    assert Path(path).read_bytes() == fake_hub.content
    n_requests = len(fake_hub.requests)
    again, _, complaints = fetch(fake_hub.url, tmp_path, HF_HUB_OFFLINE="1")
    assert (again, complaints) == (path, "")
    assert len(fake_hub.requests) == n_requests


def test_no_token_of_the_user_leaves_the_machine(fake_hub: FakeHub, tmp_path: Path) -> None:
    fetch(fake_hub.url, tmp_path, HF_TOKEN="hf_made_up")
    assert fake_hub.requests
    assert not fake_hub.authorised


def test_a_dead_port_is_offline_at_once(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
    outcome, seconds, complaints = fetch(dead, tmp_path)
    assert outcome.startswith("OfflineError: model.safetensors of openai/whisper-tiny.en is not on")
    assert seconds < BOUND_S
    assert complaints == ""


def test_a_hub_that_never_answers_is_offline_after_five_seconds(
    fake_hub: FakeHub, tmp_path: Path
) -> None:
    fake_hub.answers.clear()
    outcome, seconds, complaints = fetch(fake_hub.url, tmp_path)
    assert outcome.startswith("OfflineError: ")
    assert seconds < BOUND_S
    assert fake_hub.requests.count(f"HEAD {PATH}") == 1
    assert complaints == ""


def test_a_name_that_is_looked_up_forever_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *_, **__: time.sleep(60))
    monkeypatch.setattr(hub, "HUB_TIMEOUT_S", 0.2)
    start = time.monotonic()
    with pytest.raises(OfflineError, match=r"no answer within 0\.2 s"):
        hub.fetch_encoder(CONFIG)
    assert time.monotonic() - start < 30.0


def test_offline_mode_asks_nobody(fake_hub: FakeHub, tmp_path: Path) -> None:
    outcome, seconds, complaints = fetch(fake_hub.url, tmp_path, HF_HUB_OFFLINE="1")
    assert outcome.startswith("OfflineError: ")
    assert seconds < hub.HUB_TIMEOUT_S
    assert (fake_hub.requests, complaints) == ([], "")


def test_a_hub_without_the_file_is_not_called_offline(fake_hub: FakeHub, tmp_path: Path) -> None:
    fake_hub.content = b""
    outcome, _, _ = fetch(fake_hub.url, tmp_path)
    assert outcome.startswith("ModelError: ")
    assert "cannot be fetched" in outcome
    assert "404" in outcome


@pytest.mark.slow
def test_a_download_that_stalls_ends(fake_hub: FakeHub, tmp_path: Path) -> None:
    fake_hub.sends.clear()
    outcome, seconds, _ = fetch(fake_hub.url, tmp_path, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert outcome.startswith("ModelError: ")
    assert seconds < 30


def test_a_path_in_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / CONFIG.file
    file.touch()
    for named in (file, tmp_path):
        monkeypatch.setenv(hub.ENCODER_VARIABLE, str(named))
        assert find_encoder(CONFIG) == file


def test_a_path_that_leads_nowhere_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hub.ENCODER_VARIABLE, str(tmp_path / "gone.safetensors"))
    with pytest.raises(ModelError, match=r"gone\.safetensors, which is not a file"):
        find_encoder(CONFIG)


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    return made_up_tensors()


@pytest.fixture(scope="module")
def config(tensors: dict[str, np.ndarray]) -> EncoderConfig:
    """Pins the made-up weights."""
    return replace(CONFIG, tensors_sha256=tensors_sha256(tensors))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_copies_in_either_precision_are_the_same_weights(
    tensors: dict[str, np.ndarray], config: EncoderConfig, tmp_path: Path, dtype: type
) -> None:
    read = read_tensors(write_weights(tmp_path / "w.safetensors", tensors, dtype=dtype), config)
    assert set(read) == set(tensors)
    for name, tensor in read.items():
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, tensors[name])


def test_one_changed_value_makes_other_weights(
    tensors: dict[str, np.ndarray], config: EncoderConfig, tmp_path: Path
) -> None:
    changed = tensors | {"conv1.bias": tensors["conv1.bias"] + np.eye(1, 384)[0]}
    file = write_weights(tmp_path / "w.safetensors", changed)
    with pytest.raises(ModelError, match=r"is not the encoder of openai/whisper-tiny\.en"):
        read_tensors(file, config)


@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_a_file_that_is_no_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_tensors(tmp_path / "w.safetensors", CONFIG)


@pytest.mark.needs_data
def test_the_pinned_hash_is_that_of_the_published_encoder(whisper_weights: Path) -> None:
    assert len(read_tensors(whisper_weights, EncoderConfig(blocks=(1,)))) == 67


def test_a_space_preloads_the_weights_that_the_app_looks_for() -> None:
    preloaded = f"  - {CONFIG.repo} {CONFIG.file} {CONFIG.revision}\n"
    assert f"preload_from_hub:\n{preloaded}" in (ROOT / "README.md").read_text(encoding="utf-8")
