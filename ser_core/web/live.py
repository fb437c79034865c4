"""The tab "Live": results while a visitor talks."""

from collections.abc import Sequence
from html import escape
from typing import Any
from weakref import WeakValueDictionary

import gradio as gr

from ser_core.audio.load import load_native
from ser_core.config import AudioConfig
from ser_core.labels import find_emotion, order_labels
from ser_core.live import LiveAnswer, LiveConfig, LiveSession
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, words
from ser_core.web.components import (
    Localized,
    live_region,
    localized,
    on,
    recorder,
    reveal_after,
    shows_errors,
)
from ser_core.web.language import translate

CHUNK_S = 0.5
N_STREAMS = 32
"""Most visitors who can talk at once; the next one gets a message until a place is free."""
HISTORY_S = 30.0
_CHUNK = AudioConfig(min_duration_s=0.0, max_duration_s=120.0, max_bytes=25_000_000)
"""Limits of a chunk; those that arrive while the server is busy come as one."""


def build_live(models: ModelSwitch, page: gr.Blocks) -> list[Localized]:
    """Add the tab to the page under construction; to close the page ends a session."""
    session = gr.State(None)
    sessions: WeakValueDictionary[str, LiveSession] = WeakValueDictionary()
    with gr.Row(elem_id="live-tool"):
        with gr.Column(elem_id="live-input"):
            microphone, note = recorder(
                "live_clip", elem_id="live-clip", sources=["microphone"], streaming=True
            )
            texts = [note, localized(_hint)]
        panel = live_region(draw_idle(), elem_id="live-result")

    def begin() -> tuple[LiveSession, str]:
        return LiveSession(), draw_idle()  # until there is sound: the microphone may be refused

    def stream(
        chunk: str | None, session: LiveSession | None, request: gr.Request
    ) -> tuple[LiveSession, Any]:
        session = session or LiveSession()
        for one in [*sessions.values()]:
            if one is not session and not one.is_active:
                one.discard_audio()
        others = sum(one.is_active for one in [*sessions.values()] if one is not session)
        if others >= N_STREAMS and not session.is_active:
            return session, _draw_message(translate("live_full", n=N_STREAMS))
        sessions[request.session_hash or ""] = session
        return session, process(models, session, chunk)

    def leave(request: gr.Request) -> None:
        # Gradio keeps the state of a closed page for an hour; no sound may be in it.
        if left := sessions.get(request.session_hash or ""):
            left.discard_audio()

    on(microphone.start_recording, begin, None, [session, panel])
    on(
        microphone.stream,
        stream,
        [microphone, session],
        [session, panel],
        stream_every=CHUNK_S,
        time_limit=None,  # a session has its own; with one, Gradio keeps a task per chunk that long
        concurrency_limit=None,  # Gradio would queue the next visitor for minutes without a word
    )
    reveal_after(on(microphone.stop_recording, summary, session, panel), panel)
    page.unload(leave)
    return [*texts, (panel, draw_idle)]


def _hint() -> str:
    config = LiveConfig()
    every, window, limit = map(words.seconds, (config.every_s, config.window_s, config.limit_s))
    return drawing.small(translate("live_hint", every=every, window=window, limit=limit))


@shows_errors(drawing.failure)
def process(models: ModelSwitch, session: LiveSession, chunk: str | None) -> Any:
    """Process a chunk's file and return the panel as HTML, or no change where nothing is new."""
    if session.is_over:
        return summary(session)
    answer = session.process(*load_native(chunk, _CHUNK), models) if chunk else None
    return draw_newest(session, answer) if answer else gr.skip()


def draw_idle() -> str:
    """Return the panel before a session."""
    eyebrow = f'<p class="mm-eyebrow">{translate("answer_eyebrow")} …</p>'
    return _draw_message(translate("live_empty_heading"), eyebrow)


def _draw_message(text: str, eyebrow: str = "") -> str:
    heading = f'<h2 class="mm-sentence">{text}</h2>'
    return f'<section class="mm-answer mm-empty">{eyebrow}{heading}</section>'


def draw_listening(answers: Sequence[LiveAnswer] = ()) -> str:
    """Return the panel during silence, with the answers before it."""
    return (
        f'<section class="mm-answer"><p class="mm-eyebrow">{translate("answer_eyebrow")}</p>'
        f'<h2 class="mm-sentence">{translate("listening")}</h2>{_history(answers)}</section>'
    )


def draw_newest(session: LiveSession, answer: LiveAnswer) -> str:
    """Return the newest answer and the last half minute."""
    p = answer.prediction
    if p is None:
        return draw_listening(session.answers)
    headline = drawing.headline(translate("answer_eyebrow"), words.sentence(p), p.emotion)
    return (
        f'<section class="mm-answer">{headline}{drawing.bars(p)}{_history(session.answers)}'
        "</section>"
    )


def _history(answers: Sequence[LiveAnswer]) -> str:
    """Return a stroke per answer, as high as its confidence, the newest on the right."""
    if not answers:
        return ""
    newest_s = answers[-1].at_s
    strokes = "".join(
        f'<span style="left:{100 * (1 - (newest_s - answer.at_s) / HISTORY_S):.2f}%;'
        f'height:{100 * p.confidence:.0f}%;background:{find_emotion(p.emotion).colour}" '
        f'title="{escape(words.emotion(p.emotion))}"></span>'
        for answer in answers
        if (p := answer.prediction) and newest_s - answer.at_s < HISTORY_S
    )
    heading = translate("live_history")
    return f'<h3>{heading}</h3><div class="mm-history" aria-hidden="true">{strokes}</div>'


def summary(session: LiveSession | None) -> str:
    """Return a session's shares and its answers as files, and drop its sound."""
    if session is not None:
        session.discard_audio()
    shares = session.shares() if session else {}
    if session is None or not shares:
        return _draw_message(translate("live_nothing"))
    rows = session.rows()
    table = [list(row.values()) for row in rows]
    first = next(iter(shares))
    ordered = {label: shares[label] for label in order_labels([*shares])}
    eyebrow = translate("live_summary_eyebrow")
    return (
        '<section class="mm-answer">'
        f"{drawing.headline(eyebrow, words.live_summary(session), first)}"
        f"{drawing.share_bars(ordered, top=first)}"
        f"{drawing.download_links({'shares': shares, 'answers': rows}, list(rows[0]), table)}"
        "</section>"
    )
