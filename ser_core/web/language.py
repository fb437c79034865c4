"""The visitor's language: which one his browser asks for, and the texts in it.

One catalogue a language serves both Gradio's own translation of labels in the browser and
the sentences that are made here. A text that a catalogue lacks is said in English.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

ENGLISH = "en"
CATALOGUES: dict[str, dict[str, str]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(Path(__file__).with_name("languages").glob("*.json"))
}
"""Texts by language and key."""

TRANSLATIONS = gr.I18n(**CATALOGUES)

Greeting = tuple[gr.components.Component, Callable[[], Any]]
"""A component that is said anew in the visitor's language when he arrives, and how."""

_spoken: ContextVar[str] = ContextVar("spoken", default=ENGLISH)


def say(key: str, **values: object) -> str:
    """A text in the language that is being spoken.

    Args:
        key: Its key in the catalogues.
        **values: What its placeholders stand for.
    """
    catalogue = CATALOGUES[_spoken.get()]
    text = catalogue[key] if key in catalogue else CATALOGUES[ENGLISH][key]
    return text.format(**values) if values else text


def label(key: str) -> I18nData:
    """A text that Gradio translates in the browser, for labels, buttons and tabs."""
    return TRANSLATIONS(key)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak a language, one of `CATALOGUES`, for a while."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def asked_for(request: gr.Request | None) -> str:
    """The first language of a request that there is a catalogue for, else English."""
    wanted = request.headers.get("accept-language", "") if request else ""
    for choice in wanted.split(","):
        language = choice.split(";")[0].strip().split("-")[0].lower()
        if language in CATALOGUES:
            return language
    return ENGLISH


def translated(handler: Callable[..., Any]) -> Callable[..., Any]:
    """An event's handler that speaks the visitor's language; generators, too.

    Args:
        handler: Takes the event's inputs; a last parameter `request` gets the request.
    """
    takes_request = "request" in inspect.signature(handler).parameters

    def start(request: gr.Request, given: tuple[Any, ...]) -> Any:
        return handler(*given, request) if takes_request else handler(*given)

    if inspect.isgeneratorfunction(handler):

        @wraps(handler)
        def stream(request: gr.Request, *given: Any) -> Iterator[Any]:
            language, steps = asked_for(request), start(request, given)
            while True:
                # Each step may run in a thread, and so in a context, of its own.
                with speaking(language):
                    try:
                        step = next(steps)
                    except StopIteration:
                        return
                yield step

        return _bare(stream)

    @wraps(handler)
    def answer(request: gr.Request, *given: Any) -> Any:
        with speaking(asked_for(request)):
            return start(request, given)

    return _bare(answer)


def _bare(wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """Gradio reads the wrapper's own signature, which asks for the request."""
    del wrapper.__wrapped__  # type: ignore[attr-defined]
    wrapper.__annotations__ = {"request": gr.Request}
    return wrapper
