"""The closer views of a clip, without a browser."""

import base64
import io
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_core.predictor import PipelineTrace
from ser_core.web import inspect, words
from ser_core.web.language import translate
from tests.test_web import NBSP, FakeModels, parse, text_of


def test_the_player_of_a_long_step_says_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = (np.full(n_s * 100, 0.1, np.float32) for n_s in (31, 30))
    trace = PipelineTrace({"loaded": long, "trimmed": short}, 100, np.zeros((9, 2)), 0.1)
    models = FakeModels()
    monkeypatch.setattr(models, "pipeline", lambda **_options: None, raising=False)
    monkeypatch.setattr(inspect, "trace_pipeline", lambda *_arguments: trace)
    html = inspect.draw_steps(models, str(tmp_path), model="auto", denoise=False)
    steps = [text_of(ET.tostring(step, "unicode")) for step in parse(html).findall(".//ol/li")]
    holds = translate("stage_played", duration=words.seconds(30)).replace(NBSP, " ")
    assert [holds in step for step in steps] == [True, False, False]
    players = parse(html).findall(".//audio")
    sound = base64.b64decode(players[0].get("src", "").partition(",")[2])
    assert soundfile.info(io.BytesIO(sound)).duration == 30.0
