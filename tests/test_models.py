"""Which model answers."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest

from ser_core import registry as models
from ser_core.registry import download_weights, open_predictor
from ser_core.switch import ModelState, ModelSwitch
from ser_core.whisper.weights import ENCODER_VARIABLE, OfflineError
from tests.accurate import Parts, write_parts


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return write_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests here: what one assembles, the next one finds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def bundle(
    parts: Parts, bundled_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A bundle of both models on a machine without network, encoder and assembly."""
    shutil.copytree(bundled_model, tmp_path / "model" / "compact")
    shutil.copytree(parts.folder, tmp_path / "model" / "accurate")

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(models, "BUNDLED", tmp_path / "model")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", offline)
    monkeypatch.setenv("MOODMIRROR_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv(ENCODER_VARIABLE, raising=False)
    return tmp_path / "model"


@pytest.fixture
def with_encoder(
    bundle: Path, parts: Parts, module_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The same bundle, and the encoder at hand."""
    monkeypatch.setenv("MOODMIRROR_CACHE", str(module_cache))
    monkeypatch.setenv(ENCODER_VARIABLE, str(parts.weights))
    return bundle


@pytest.mark.usefixtures("bundle")
def test_auto_is_the_compact_model_where_the_encoder_is_missing() -> None:
    assert open_predictor("auto").manifest.name == "compact"


@pytest.mark.usefixtures("with_encoder")
def test_auto_is_the_accurate_model_where_the_encoder_is_at_hand() -> None:
    assert open_predictor("auto").manifest.name == "accurate"


def test_auto_is_the_compact_model_where_there_is_no_other(bundle: Path) -> None:
    shutil.rmtree(bundle / "accurate")
    assert open_predictor("auto").manifest.name == "compact"
    switch = ModelSwitch.open("auto")
    assert (switch.pick().manifest.name, switch.state) == ("compact", ModelState.SETTLED)


def test_auto_is_the_compact_model_where_the_other_is_damaged(
    with_encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (with_encoder / "accurate" / "head.keras").unlink()
    assert open_predictor("auto").manifest.name == "compact"
    (record,) = caplog.records
    assert "accurate/head.keras is missing" in record.getMessage()


@pytest.mark.usefixtures("with_encoder")
def test_a_model_is_opened_by_name_or_by_folder(bundle: Path) -> None:
    assert open_predictor("compact").manifest.name == "compact"
    assert open_predictor("accurate").manifest.name == "accurate"
    assert open_predictor(str(bundle / "compact")).manifest.name == "compact"


@pytest.mark.usefixtures("bundle")
def test_the_accurate_model_by_name_needs_its_encoder() -> None:
    for opener in (open_predictor, download_weights, ModelSwitch.open):
        with pytest.raises(OfflineError, match="no route to host"):
            opener("accurate")


@pytest.mark.usefixtures("bundle")
def test_nothing_is_fetched_for_what_can_do_without() -> None:
    for choice in ("auto", "compact"):
        download_weights(choice)


def test_the_choice_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.MODEL_VARIABLE, "compact")
    assert models.chosen_model() == "compact"
    monkeypatch.setenv(models.MODEL_VARIABLE, "")
    assert models.chosen_model() == "auto"


@pytest.mark.usefixtures("with_encoder")
def test_the_app_begins_with_the_compact_model_and_passes_to_the_accurate_one() -> None:
    switch = ModelSwitch.open("auto")
    assert (switch.manifest.name, switch.state) == ("compact", ModelState.WARMING)
    assert switch.pick().manifest.name == "compact"
    deadline = time.monotonic() + 60
    while switch.manifest.name == "compact" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (switch.manifest.name, switch.state) == ("accurate", ModelState.SETTLED)
    assert [manifest.name for manifest in switch.manifests] == ["compact", "accurate"]
    assert switch.pick("compact").manifest.name == "compact"


def test_choosing_a_model_loads_nothing_heavy() -> None:
    heavy = ("tensorflow", "keras", "gradio", "huggingface_hub", "safetensors", "pandas")
    code = f"import sys, ser_core.switch; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
