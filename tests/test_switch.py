"""How one model passes to another while the app runs."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_core.errors import ModelError
from ser_core.labels import LABELS
from ser_core.model.manifest import Manifest
from ser_core.prediction import Analysis, Prediction
from ser_core.switch import ModelState, ModelSwitch
from ser_core.whisper.weights import OfflineError

WITHIN_S = 30.0


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
    with pytest.raises(ModelError, match="The other model is not available here, only first"):
        switch.get("other")
