"""Which model answers."""

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest

from ser_core import registry
from ser_core.errors import ModelError
from ser_core.model import emotion_model
from ser_core.model.manifest import PINNED, Manifest, digest_of
from ser_core.registry import open_predictor, resolve
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

    monkeypatch.setattr(registry, "BUNDLED", tmp_path / "model")
    monkeypatch.setitem(PINNED, "accurate", Manifest.parse(parts.folder).digest)
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
    assert (switch.get().manifest.name, switch.state) == ("compact", ModelState.SETTLED)


def test_auto_is_the_compact_model_where_the_other_is_damaged(
    with_encoder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (with_encoder / "accurate" / "head.keras").unlink()
    assert open_predictor("auto").manifest.name == "compact"
    (record,) = caplog.records
    assert "accurate/head.keras is missing" in record.getMessage()


@pytest.mark.usefixtures("with_encoder")
def test_auto_falls_back_where_the_accurate_model_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ModelError("the disk is full")

    monkeypatch.setattr(emotion_model, "assemble", fail)
    monkeypatch.setattr(emotion_model, "find_assembly", lambda _: None)
    assert open_predictor("auto").manifest.name == "compact"
    assert "The accurate model cannot be used: the disk is full" in caplog.text
    with pytest.raises(ModelError, match="the disk is full"):
        open_predictor("accurate")


@pytest.mark.usefixtures("with_encoder")
def test_a_model_is_opened_by_name_or_by_folder(bundle: Path) -> None:
    assert open_predictor("compact").manifest.name == "compact"
    assert open_predictor("accurate").manifest.name == "accurate"
    assert open_predictor(str(bundle / "compact")).manifest.name == "compact"


@pytest.mark.usefixtures("bundle")
def test_the_accurate_model_by_name_needs_its_encoder() -> None:
    model = resolve("accurate").model
    assert not model.is_local
    for fails in (
        lambda: open_predictor("accurate"),
        lambda: ModelSwitch.open("accurate"),
        model.download_weights,
    ):
        with pytest.raises(OfflineError, match="no route to host"):
            fails()


@pytest.mark.usefixtures("bundle")
def test_nothing_is_downloaded_for_a_complete_model() -> None:
    for choice in ("auto", "compact"):
        resolved = resolve(choice)
        resolved.model.download_weights()
        assert (resolved.choice, resolved.model.is_local) == ("compact", True)


def test_the_choice_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.MODEL_VARIABLE, "compact")
    assert registry.chosen_model() == "compact"
    monkeypatch.setenv(registry.MODEL_VARIABLE, "")
    assert registry.chosen_model() == "auto"


@pytest.mark.usefixtures("with_encoder")
def test_the_app_begins_with_the_compact_model_and_passes_to_the_accurate_one() -> None:
    switch = ModelSwitch.open("auto")
    assert (switch.manifest.name, switch.state) == ("compact", ModelState.WARMING)
    assert switch.get().manifest.name == "compact"
    deadline = time.monotonic() + 60
    while switch.manifest.name == "compact" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (switch.manifest.name, switch.state) == ("accurate", ModelState.SETTLED)
    assert [manifest.name for manifest in switch.manifests] == ["compact", "accurate"]
    assert switch.get("compact").manifest.name == "compact"


def test_choosing_a_model_loads_nothing_heavy() -> None:
    heavy = ("tensorflow", "keras", "gradio", "huggingface_hub", "safetensors", "pandas")
    code = f"import sys, ser_core.switch; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_a_bundled_model_is_the_one_pinned_in_the_code(bundle: Path, name: str) -> None:
    path = bundle / name / "manifest.json"
    stored = json.loads(path.read_text()) | {"seed": 99}
    path.write_text(json.dumps(stored | {"digest": digest_of(stored)}))
    with pytest.raises(ModelError, match=rf"is not the {name} model of this version.*its folder"):
        resolve(name)
    assert resolve(str(bundle / name)).model.manifest.seed == 99


def test_no_flipped_bit_of_a_bundled_manifest_is_accepted(bundle: Path) -> None:
    path = bundle / "compact" / "manifest.json"
    whole, expected = path.read_bytes(), resolve("compact").model.manifest
    chance, n_refused = random.Random(0), 0
    for _ in range(200):
        content = bytearray(whole)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        try:
            assert resolve("compact").model.manifest == expected
        except ModelError:
            n_refused += 1
    assert n_refused > 100


@pytest.mark.parametrize(("value", "trust"), [("1", True), ("0", False), ("", False)])
def test_trust_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, trust: bool
) -> None:
    monkeypatch.setenv(registry.TRUST_VARIABLE, value)
    assert registry.chosen_trust() is trust
    monkeypatch.setenv(registry.TRUST_VARIABLE, "maybe")
    with pytest.raises(ModelError, match="MOODMIRROR_TRUST is maybe; expected 1"):
        registry.chosen_trust()
