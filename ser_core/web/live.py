"""The tab that answers while somebody talks."""

import logging
from collections.abc import Sequence
from html import escape
from weakref import WeakValueDictionary

import gradio as gr

from ser_core.errors import SerError
from ser_core.labels import find_emotion, order_labels
from ser_core.live import Chunk, LiveAnswer, LiveConfig, LiveSession
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, theme, words
from ser_core.web.files import download_links, sent_only
from ser_core.web.language import Greeting, label, say, translated

logger = logging.getLogger(__name__)

CHUNK_S = 0.5
N_STREAMS = 32
"""Visitors who can talk at once; the next one is told so, and heard once a place is free."""
HISTORY_S = 30.0


def build_live(
    models: ModelSwitch, page: gr.Blocks, config: LiveConfig | None = None
) -> list[Greeting]:
    """Add the tab to the page that is being built.

    Args:
        models: Who answers.
        page: The page, whose closing ends a session.
        config: How a stream is judged.

    Returns:
        What is to be said in the visitor's language.
    """
    settings = config or LiveConfig()
    session = gr.State(None)
    talking: WeakValueDictionary[str, LiveSession] = WeakValueDictionary()
    with gr.Row(elem_id="live-tool"):
        with gr.Column(elem_id="live-input"):
            microphone = sent_only(
                gr.Audio(
                    sources=["microphone"],
                    streaming=True,
                    type="numpy",
                    label=label("live_clip"),
                    elem_id="live-clip",
                    buttons=[],
                )
            )
            hint = theme.greeting(lambda: drawing.small(words.live_hint(settings)))
        panel = theme.live_region(idle(), elem_id="live-result")

    def begin() -> tuple[LiveSession, str]:
        return LiveSession(settings), listening()

    def hear(
        chunk: tuple[int, Chunk] | None, session: LiveSession | None, request: gr.Request
    ) -> tuple[LiveSession, str | gr.HTML]:
        session = session or LiveSession(settings)
        others = sum(one.is_talking for one in [*talking.values()] if one is not session)
        if others >= N_STREAMS and not session.is_talking:
            return session, crowded()
        talking[request.session_hash or ""] = session
        return session, follow(models, session, chunk)

    def leave(request: gr.Request) -> None:
        # Gradio keeps the state of a closed page for an hour; no sound may be in it.
        if left := talking.get(request.session_hash or ""):
            left.forget_sound()

    microphone.start_recording(
        translated(begin), None, [session, panel], show_progress="hidden", api_visibility="private"
    )
    microphone.stream(
        translated(hear),
        [microphone, session],
        [session, panel],
        stream_every=CHUNK_S,
        time_limit=None,  # the session has its own; with one Gradio keeps a task a chunk that long
        concurrency_limit=None,  # Gradio would let the next one wait for minutes, without a word
        show_progress="hidden",
        api_visibility="private",
    )
    microphone.stop_recording(
        translated(summary), session, panel, show_progress="hidden", api_visibility="private"
    )
    page.unload(leave)
    return [hint, (panel, idle)]


def follow(
    models: ModelSwitch, session: LiveSession, chunk: tuple[int, Chunk] | None
) -> "str | gr.HTML":
    """Hear a chunk and say what is to be shown; what is there stays where nothing is new."""
    if session.is_over:
        return summary(session)
    try:
        answer = session.process(*chunk, models) if chunk else None
    except SerError as error:
        return drawing.failure(str(error))
    except Exception:
        logger.exception("A chunk could not be analysed")
        return drawing.failure(say("apology"))
    return now(session, answer) if answer else gr.skip()


def idle() -> str:
    """What to do before a session."""
    return (
        f'<section class="mm-answer mm-empty"><p class="mm-eyebrow">{say("answer_eyebrow")} …</p>'
        f'<h2 class="mm-sentence">{say("live_empty_heading")}</h2></section>'
    )


def crowded() -> str:
    """Too many talk; this visitor is not heard yet."""
    return (
        '<section class="mm-answer mm-empty">'
        f'<h2 class="mm-sentence">{say("live_full", n=N_STREAMS)}</h2></section>'
    )


def listening(answers: Sequence[LiveAnswer] = ()) -> str:
    """Nobody has spoken yet, or nobody speaks.

    Args:
        answers: What was heard before.
    """
    return (
        f'<section class="mm-answer"><p class="mm-eyebrow">{say("answer_eyebrow")}</p>'
        f'<h2 class="mm-sentence">{say("listening")}</h2>{history(answers)}</section>'
    )


def now(session: LiveSession, answer: LiveAnswer) -> str:
    """The newest answer, and the last half minute."""
    if answer.prediction is None:
        return listening(session.answers)
    prediction = answer.prediction
    return (
        '<section class="mm-answer">'
        f"{drawing.headline(say('answer_eyebrow'), words.sentence(prediction), prediction.emotion)}"
        f"{drawing.bars(prediction)}{history(session.answers)}</section>"
    )


def history(answers: Sequence[LiveAnswer]) -> str:
    """One stroke an answer, as high as it is sure, the newest on the right; nothing for none."""
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
    return (
        f'<h3>{say("live_history")}</h3><div class="mm-history" aria-hidden="true">{strokes}</div>'
    )


def summary(session: LiveSession | None) -> str:
    """The whole session: shares, and the answers to take home; its sound is let go."""
    if session is not None:
        session.forget_sound()
    shares = session.shares() if session else {}
    if session is None or not shares:
        return (
            f'<section class="mm-answer mm-empty"><h2 class="mm-sentence">{say("live_nothing")}'
            "</h2></section>"
        )
    rows = session.rows()
    table = [list(row.values()) for row in rows]
    first = next(iter(shares))
    bars = "".join(
        drawing.bar(label, shares[label], top=label == first) for label in order_labels([*shares])
    )
    return (
        '<section class="mm-answer">'
        f"{drawing.headline(say('live_summary_eyebrow'), words.live_summary(session), first)}"
        f'<h3>{say("bars_heading")}</h3><ul class="mm-bars">{bars}</ul>'
        f"{download_links({'shares': shares, 'answers': rows}, list(rows[0]), table)}"
        "</section>"
    )
