"""The page's texts in the visitor's language.

One catalogue per language serves both Gradio's translation of labels in the browser and the
sentences that are made here. A text that a catalogue lacks is given in English.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count, takewhile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gradio as gr
from gradio.i18n import I18nData

ENGLISH = "en"
PARAMETER = "lang"
"""Parameter of the page's address with the language that the visitor chose."""
CATALOGUES: dict[str, dict[str, str]] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(Path(__file__).with_name("languages").glob("*.json"))
}
"""Texts by language and key."""

TRANSLATIONS = gr.I18n(**CATALOGUES)

_language: ContextVar[str] = ContextVar("language", default=ENGLISH)


def translate(key: str, **values: object) -> str:
    """Return a text in the current language.

    Args:
        key: Its key in the catalogues.
        **values: Values of its placeholders.

    Raises:
        KeyError: No catalogue has the key.
    """
    catalogue = CATALOGUES[_language.get()]
    text = catalogue[key] if key in catalogue else CATALOGUES[ENGLISH][key]
    return text.format(**values) if values else text


def translate_all(prefix: str) -> tuple[str, ...]:
    """Return the texts `prefix_1`, `prefix_2` and so on, as many as there are."""
    keys = (f"{prefix}_{i}" for i in count(1))
    return tuple(translate(key) for key in takewhile(CATALOGUES[ENGLISH].__contains__, keys))


def label(key: str) -> I18nData:
    """Return a text that Gradio translates in the browser, for labels, buttons and tabs."""
    return TRANSLATIONS(key)


@contextmanager
def use_language(language: str) -> Iterator[None]:
    """Set the current language to one of `CATALOGUES` for the length of a `with` block."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def requested_language(request: gr.Request | None) -> str:
    """Return the language in the page's address, else the browser's first that has a catalogue.

    Without either it is English.
    """
    if request is None:
        return ENGLISH
    page = parse_qs(urlsplit(request.headers.get("referer", "")).query)
    chosen = str(request.query_params.get(PARAMETER) or page.get(PARAMETER, [""])[0])
    accepted: str = request.headers.get("accept-language", "")
    for choice in (chosen, *accepted.split(",")):
        language = choice.split(";")[0].strip().split("-")[0].lower()
        if language in CATALOGUES:
            return language
    return ENGLISH


def translated(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an event's handler, which may be a generator, to run in the visitor's language.

    Args:
        handler: Takes the event's inputs; a last parameter `request` receives the request.
    """
    takes_request = "request" in inspect.signature(handler).parameters

    def call(request: gr.Request, *inputs: Any) -> Any:
        with use_language(requested_language(request)):
            return handler(*inputs, request) if takes_request else handler(*inputs)

    def stream(request: gr.Request, *inputs: Any) -> Iterator[Any]:
        steps = call(request, *inputs)
        while True:
            # Each step may run in a thread, and so in a context, of its own.
            with use_language(requested_language(request)):
                try:
                    step = next(steps)
                except StopIteration:
                    return
            yield step

    wrapper = stream if inspect.isgeneratorfunction(handler) else call
    wrapper.__name__ = handler.__name__  # Gradio names the event by it
    return wrapper
