"""The tab "Live": results while a visitor talks."""

from html import escape
from typing import Any

import gradio as gr

from ser_core.audio.load import load_native
from ser_core.config import AudioConfig
from ser_core.labels import find_emotion, order_labels
from ser_core.live import LiveConfig, LiveSession, LiveSessions
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, words
from ser_core.web.components import (
    Localized,
    custom_html,
    live_region,
    localized,
    on,
    recorder,
    reveal_after,
    shows_errors,
)
from ser_core.web.language import translate

CHUNK_S = 0.5
HISTORY_S = 30.0
LOST_FROM_S = 1.0
"""Least loss that the page mentions."""
_CHUNK = AudioConfig(min_duration_s=0.0, max_duration_s=120.0, max_bytes=25_000_000)
"""Limits of a chunk; those that arrive while the server is busy come as one."""


def build_live(models: ModelSwitch, page: gr.Blocks, sessions: LiveSessions) -> list[Localized]:
    """Add the tab to the page under construction; to close the page ends a session."""
    session = gr.State(None)
    with gr.Row(elem_id="live-tool"):
        with gr.Column(elem_id="live-input"):
            microphone, note = recorder(
                "live_clip",
                elem_id="live-clip",
                limit_s=LiveConfig().limit_s,
                sources=["microphone"],
                streaming=True,
            )
            texts = [note]
        panel = custom_html(draw_idle(), elem_id="live-result")
        texts.append(localized(_hint))
    # The panel changes twice a second; screen readers announce an emotion that has settled.
    announcement = live_region("", elem_id="live-announcement")

    def begin() -> tuple[LiveSession, str, str]:
        return LiveSession(), draw_idle(), ""  # no sound yet: the microphone may be refused

    def stream(
        chunk: str | None, session: LiveSession | None, request: gr.Request
    ) -> tuple[LiveSession, Any, Any]:
        session = session or LiveSession()
        if not sessions.admit(request.session_hash or "", session):
            text = translate("live_full", n=sessions.n_places)
            return session, _draw_message(text), drawing.small(text)
        settled = session.settled
        panel = process(models, session, chunk)
        if session.settled == settled:
            return session, panel, gr.skip()
        return session, panel, words.live_sentence(session.settled) if session.settled else ""

    def leave(request: gr.Request) -> None:
        # Gradio keeps the state of a closed page for an hour; no sound may be in it.
        sessions.leave(request.session_hash or "")

    outputs = [session, panel, announcement]
    # Gradio's recorder sends ten chunks a second, whatever `stream_every` of the event is.
    set_pace = f"() => ({{__type__: 'update', stream_every: {CHUNK_S}}})"
    on(microphone.start_recording, None, None, microphone, js=set_pace)
    on(microphone.start_recording, begin, None, outputs)
    on(
        microphone.stream,
        stream,
        [microphone, session],
        outputs,
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
    return draw_session(session) if answer else gr.skip()


def draw_idle() -> str:
    """Return the panel before a session."""
    eyebrow = f'<p class="mm-eyebrow">{translate("answer_eyebrow")} …</p>'
    return _draw_message(translate("live_empty_heading"), eyebrow)


def _draw_message(text: str, eyebrow: str = "") -> str:
    heading = f'<h2 class="mm-sentence">{text}</h2>'
    return f'<section class="mm-answer mm-empty">{eyebrow}{heading}</section>'


def draw_session(session: LiveSession) -> str:
    """Return the settled emotion, the newest probabilities, and the last half minute."""
    headline = f'<h2 class="mm-sentence">{translate("listening")}</h2>'
    if session.settled:
        sentence = words.live_sentence(session.settled)
        headline = drawing.headline(translate("answer_eyebrow"), sentence, session.settled)
    known = [answer.prediction for answer in session.answers if answer.prediction]
    bars = drawing.bars(known[-1]) if session.answers[-1].prediction else ""
    if known and not bars:  # a silence
        bars = drawing.share_bars(dict.fromkeys(known[-1].labels, 0.0), top="")
    return (
        f'<section class="mm-answer">{headline}{bars}'
        f"{_history(session, translate('live_history'), HISTORY_S)}{_lost(session)}</section>"
    )


def _history(session: LiveSession, heading: str, span_s: float) -> str:
    """Return a stroke per answer, as high as its confidence, the newest on the right."""
    newest_s = session.answers[-1].at_s
    width = 75 * session.config.every_s / span_s
    strokes = "".join(
        f'<span style="left:{100 * (1 - (newest_s - answer.at_s) / span_s):.2f}%;'
        f"width:{width:.2f}%;height:{100 * p.confidence:.0f}%;"
        f'background:{find_emotion(p.emotion).colour}" '
        f'title="{escape(words.emotion(p.emotion))}"></span>'
        for answer in session.answers
        if (p := answer.prediction) and newest_s - answer.at_s < span_s
    )
    return f'<h3>{heading}</h3><div class="mm-history" aria-hidden="true">{strokes}</div>'


def _lost(session: LiveSession) -> str:
    if session.lost_s < LOST_FROM_S:
        return ""
    return drawing.small(translate("live_lost", duration=words.seconds(session.lost_s)))


def summary(session: LiveSession | None) -> str:
    """Return a session's shares, its history and its answers as files, and drop its sound."""
    if session is not None:
        session.discard_audio()
    shares = session.shares() if session else {}
    if session is None or not shares:
        return _draw_message(translate("live_nothing"))
    rows = session.rows()
    table = [list(row.values()) for row in rows]
    first = next(iter(shares))
    ordered = {label: shares[label] for label in order_labels([*shares])}
    eyebrow, heading = translate("live_summary_eyebrow"), translate("timeline_heading")
    result = {"shares": shares, "lost_s": session.lost_s, "answers": rows}
    return (
        '<section class="mm-answer">'
        f"{drawing.headline(eyebrow, words.live_summary(session), first)}"
        f"{drawing.share_bars(ordered, top=first)}"
        f"{_history(session, heading, session.received_s)}{_lost(session)}"
        f"{drawing.download_links(result, list(rows[0]), table)}"
        "</section>"
    )
