"""Which model answers, and how one passes to another."""

import logging
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest

from ser_core import models
from ser_core.errors import ModelError
from ser_core.hub import ENCODER_VARIABLE, OfflineError
from ser_core.labels import LABELS
from ser_core.manifest import Manifest
from ser_core.models import ModelState, ModelSwitch, fetch_parts, open_predictor
from ser_core.prediction import Analysis, Prediction
from tests.accurate import Parts, write_parts

WITHIN_S = 30.0


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
    for opener in (open_predictor, fetch_parts, ModelSwitch.open):
        with pytest.raises(OfflineError, match="no route to host"):
            opener("accurate")


@pytest.mark.usefixtures("bundle")
def test_nothing_is_fetched_for_what_can_do_without() -> None:
    for choice in ("auto", "compact"):
        fetch_parts(choice)


def test_the_choice_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.MODEL_VARIABLE, "compact")
    assert models.chosen_model() == "compact"
    monkeypatch.setenv(models.MODEL_VARIABLE, "")
    assert models.chosen_model() == "auto"


class NamedPredictor:
    """Says its name; where it is given one, it waits for `go` before it answers."""

    def __init__(self, manifest: Manifest, name: str, go: threading.Event | None = None) -> None:
        self.manifest = replace(manifest, name=name)
        self.asked = threading.Event()
        self._go = go

    def predict(self, source: object) -> Prediction:
        return self.analyse(source).prediction

    def analyse(self, _source: object) -> Analysis:
        self.asked.set()
        if self._go is not None:
            assert self._go.wait(WITHIN_S)
        answer = Prediction.from_probabilities(np.eye(8)[0], LABELS, model=self.manifest.name)
        return Analysis(np.zeros(1, np.float32), 16_000, np.zeros((1, 1), np.float32), (), answer)


@pytest.fixture(scope="module")
def manifest(bundled_model: Path) -> Manifest:
    return Manifest.read(bundled_model)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_first_model_answers_until_the_better_one_is_ready(manifest: Manifest) -> None:
    ready = threading.Event()

    def open_better() -> NamedPredictor:
        assert ready.wait(WITHIN_S)
        return NamedPredictor(manifest, "better")

    switch = ModelSwitch(NamedPredictor(manifest, "first"))
    switch.upgrade(open_better)
    assert (switch.predict("clip").model, switch.state) == ("first", ModelState.FETCHING)
    ready.set()
    wait_until(lambda: switch.state is ModelState.SETTLED)
    assert (switch.predict("clip").model, switch.manifest.name) == ("better", "better")


def test_a_clip_is_judged_to_its_end_by_the_model_that_began(manifest: Manifest) -> None:
    go = threading.Event()
    first = NamedPredictor(manifest, "first", go)
    switch = ModelSwitch(first)
    answers: list[str] = []
    visitor = threading.Thread(target=lambda: answers.append(switch.predict("clip").model))
    visitor.start()
    assert first.asked.wait(WITHIN_S)
    switch.upgrade(lambda: NamedPredictor(manifest, "better"))
    wait_until(lambda: switch.state is ModelState.SETTLED)
    go.set()
    visitor.join(WITHIN_S)
    assert answers == ["first"]


@pytest.mark.parametrize(
    ("error", "state", "traced"),
    [
        (OfflineError("The Hub cannot be reached."), ModelState.OFFLINE, False),
        (ModelError("Its hash differs."), ModelState.FAILED, False),
        (ZeroDivisionError("a bug"), ModelState.FAILED, True),
    ],
)
def test_where_the_better_model_stays_away_the_first_goes_on_and_the_log_has_one_line(
    manifest: Manifest,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    state: ModelState,
    traced: bool,
) -> None:
    def open_better() -> NamedPredictor:
        raise error

    switch = ModelSwitch(NamedPredictor(manifest, "first"))
    with caplog.at_level(logging.INFO):
        switch.upgrade(open_better)
        wait_until(lambda: switch.state is not ModelState.FETCHING)
    assert (switch.state, switch.predict("clip").model) == (state, "first")
    (record,) = caplog.records
    assert str(error) in record.getMessage()
    assert bool(record.exc_info) is traced


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


def test_who_asks_before_the_first_model_is_open_waits_for_it(manifest: Manifest) -> None:
    ready = threading.Event()

    def open_first() -> NamedPredictor:
        assert ready.wait(WITHIN_S)
        return NamedPredictor(manifest, "first")

    switch = ModelSwitch(manifest)
    switch.warm_up(open_first)
    assert switch.state is ModelState.WARMING
    assert switch.manifests == (manifest,)
    threading.Timer(0.1, ready.set).start()
    assert switch.predict("clip").model == "first"
    assert switch.state is ModelState.SETTLED


def test_a_first_model_that_cannot_be_opened_is_an_error_for_each_who_asks(
    manifest: Manifest,
) -> None:
    def open_first() -> NamedPredictor:
        raise MemoryError("no room")

    switch = ModelSwitch(manifest)
    switch.warm_up(open_first)
    for _ in range(2):
        with pytest.raises(ModelError, match="cannot be opened: no room"):
            switch.predict("clip")
    assert switch.state is ModelState.FAILED


def test_a_model_that_is_not_open_is_named(manifest: Manifest) -> None:
    switch = ModelSwitch(NamedPredictor(manifest, "first"))
    with pytest.raises(ModelError, match="The other model is not at hand here; first can answer"):
        switch.pick("other")


def test_choosing_a_model_loads_nothing_heavy() -> None:
    heavy = ("tensorflow", "keras", "gradio", "huggingface_hub", "safetensors", "pandas")
    code = f"import sys, ser_core.models; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
