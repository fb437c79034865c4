"""The tab "Live" without a browser: what is kept of visits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import soundfile
from gradio.state_holder import StateHolder

from ser_core.web import page
from ser_core.web.language import translate
from tests.conftest import RATE_HZ, make_babble
from tests.test_web import FakeModels


@pytest.fixture
def blocks(tmp_path: Path) -> gr.Blocks:
    return page.build_page(FakeModels(), examples=tmp_path)


@pytest.mark.parametrize("way", ["the page is closed", "no chunk for six seconds"])
def test_sound_of_a_visit_that_left_is_dropped(
    blocks: gr.Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    now_s = [100.0]
    monkeypatch.setattr("ser_core.live.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    events: dict[str, Any] = {str(event.api_name): event.fn for event in blocks.fns.values()}
    left, other = (
        SimpleNamespace(session_hash=name, headers={}, query_params={})
        for name in ("left", "other")
    )
    chunk = tmp_path / "chunk.wav"
    soundfile.write(chunk, make_babble()[RATE_HZ:-RATE_HZ], RATE_HZ)  # no silence at its end

    session, *_ = events["stream"](left, str(chunk), None)
    now_s[0] += 4.0
    beside, *_ = events["stream"](other, str(chunk), None)
    assert session._window is not None
    if way == "the page is closed":
        events["leave"](left)
    else:
        now_s[0] += 2.0
        events["stream"](other, str(chunk), beside)
    assert session._window is None
    assert beside._window is not None


def test_an_emotion_is_announced_once_when_it_settles(blocks: gr.Blocks, tmp_path: Path) -> None:
    (stream,) = (event.fn for event in blocks.fns.values() if event.api_name == "stream")
    visit, session, announced = (
        SimpleNamespace(session_hash="visit", headers={}, query_params={}),
        None,
        [],
    )
    chunk = tmp_path / "chunk.wav"
    soundfile.write(chunk, make_babble()[RATE_HZ:-RATE_HZ], RATE_HZ)
    for _ in range(4):
        session, panel, announcement = stream(visit, str(chunk), session)
        announced += [announcement] if isinstance(announcement, str) else []
    assert announced == [translate("sentence_mostly", first="angry")]
    assert announced[0] in panel


def test_state_of_the_last_visits_alone_is_kept(
    blocks: gr.Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MAX_SESSIONS", 3)
    options = page.launch_options(FakeModels(), clips=tmp_path)
    blocks.state_session_capacity = options["state_session_capacity"]
    holder = StateHolder()
    holder.set_blocks(blocks)
    for visit in "abcab":
        holder[visit].state_data[0] = visit
    holder["d"].state_data[0] = "d"
    assert [*holder.session_data] == ["a", "b", "d"]
