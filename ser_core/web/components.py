"""Gradio's components and events with the defaults of this page."""

import asyncio
import errno
import logging
from collections.abc import Callable
from functools import partial, wraps
from html import escape
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from gradio.events import Dependency
from gradio_client.utils import is_http_url_like

from ser_core.errors import AudioError, SerError
from ser_core.web import words
from ser_core.web.language import label, translate, translated

logger = logging.getLogger(__name__)

Localized = tuple[gr.components.Component, Callable[[], Any]]
"""A component, and a function that makes its value in the current language."""

ANALYSIS: dict[str, Any] = {"concurrency_id": "analysis"}
"""Option of events that run a model: all of them together share the limit on concurrency."""
BATCH: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 1}
"""Likewise for batches, which take long, so that single recordings need not queue behind them."""

MICROPHONE_PROBLEMS = ("none", "busy", "lost", "insecure")
BROWSERS = ("chromium", "firefox", "safari", "ios")
"""Browsers that differ in how a microphone is allowed."""

Receiver = TypeVar("Receiver", gr.Audio, gr.File)
Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def custom_html(
    value: str, *, elem_id: str | None = None, js_on_load: str | None = None
) -> gr.HTML:
    """Place HTML that only the page's own style sheet styles."""
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False, js_on_load=js_on_load)


def live_region(value: str, *, elem_id: str) -> gr.HTML:
    """Place HTML whose changes screen readers announce."""
    announce = "element.setAttribute('aria-live', 'polite')"
    return custom_html(value, elem_id=elem_id, js_on_load=announce)


def localized(draw: Callable[[], str]) -> Localized:
    """Place HTML that is drawn again in the visitor's language when the page opens."""
    return custom_html(draw()), draw


def recorder(
    key: str, *, elem_id: str, limit_s: float | None = None, **options: Any
) -> tuple[gr.Audio, Localized]:
    """Place a recorder, and below it the state of the microphone, which page.js shows.

    Args:
        key: Catalogue key of its label.
        elem_id: Its id.
        limit_s: Time after which page.js ends a recording.
        **options: Further arguments of `gr.Audio`; by default it takes uploads, too.
    """
    settings: dict[str, Any] = {"sources": ["microphone", "upload"], "editable": False} | options
    audio = gr.Audio(
        type="filepath",  # Gradio would decode any other without our limits
        label=label(key),
        buttons=[],
        elem_id=elem_id,
        elem_classes="mm-recorder",
        **settings,
    )
    way_out = "microphone_upload" if "upload" in settings["sources"] else "microphone_upload_tab"
    return uploads_only(audio), localized(lambda: microphone_states(way_out, limit_s))


def microphone_states(way_out: str, limit_s: float | None = None) -> str:
    """Return an empty line that holds a sentence for each state of the microphone.

    Args:
        way_out: Catalogue key of what a visitor without one can do.
        limit_s: Time after which page.js ends a recording.
    """
    upload = translate(way_out, tab=translate("listen_tab"))
    denied = translate("microphone_denied")
    problems = {state: translate(f"microphone_{state}") for state in MICROPHONE_PROBLEMS} | {
        f"denied-{browser}": f"{denied} {translate(f'microphone_allow_{browser}')}"
        for browser in BROWSERS
    }
    states = {
        "asking": translate("microphone_asking"),
        "listening": translate("listening"),
        "paused": translate("microphone_paused"),
    } | {state: f"{text} {upload}" for state, text in problems.items()}
    data = " ".join(f'data-{state}="{escape(text)}"' for state, text in states.items())
    data += f' data-limit-s="{limit_s:g}"' if limit_s else ""
    return (
        f'<p class="mm-microphone" {data}><span role="status"></span> '
        '<span class="mm-watch" aria-hidden="true"></span></p>'
    )


def ends_recording(key: str, clip: gr.Audio) -> gr.Button:
    """Place a button for a clip, inactive without one; it ends a recording first (page.js)."""
    button = gr.Button(
        label(key),
        variant="primary",
        size="lg",
        interactive=False,
        elem_id=key,
        elem_classes="mm-ends-recording",
    )
    activate = "{__type__: 'update', interactive: %s}"
    on(clip.change, None, clip, button, js=f"clip => ({activate % 'clip !== null'})")
    on(clip.start_recording, None, None, button, js=f"() => ({activate % 'true'})")
    return button


def uploads_only(component: Receiver) -> Receiver:
    """Make a component refuse URLs, which Gradio would download from this server.

    It is changed in place: for a subclass, Gradio would write a file beside this module.
    """
    move = component.async_move_resource_to_block_cache

    async def move_upload(url_or_file_path: str | Path | None) -> str | None:
        if is_http_url_like(str(url_or_file_path)):
            raise gr.Error(translate("no_address"), print_exception=False)
        await asyncio.sleep(0)  # Gradio needs milliseconds a file, in the loop that serves everyone
        return await move(url_or_file_path)

    setattr(component, "async_move_resource_to_block_cache", move_upload)  # noqa: B010
    return component


def refuse_odd_inputs(page: gr.Blocks) -> None:
    """Make events with values that the components cannot read end in a sentence, without a trace.

    The page is changed in place.
    """
    preprocess = page.preprocess_data

    async def preprocess_data(event: Any, inputs: list[Any], *rest: Any, **options: Any) -> Any:
        known = event.fn is not None and all(
            value is not None
            for component, value in zip(event.inputs, inputs, strict=False)
            if isinstance(component, gr.Dataset)
        )
        try:
            if known:
                return await preprocess(event, inputs, *rest, **options)
            message = translate("refused_odd")
        except Exception as error:
            message = error.message if isinstance(error, gr.Error) else translate("refused_odd")
        raise gr.Error(message, print_exception=False)

    setattr(page, "preprocess_data", preprocess_data)  # noqa: B010


def check_clip(path: str | None) -> str:
    """Return the path of an uploaded clip.

    Raises:
        AudioError: There is no clip, or it has been deleted since.
    """
    if path is None:
        raise AudioError(translate("no_clip"))
    if not Path(path).exists():
        raise AudioError(translate("clip_gone"))
    return path


def on(
    trigger: Any, handler: Callable[..., Any] | None, inputs: Any, outputs: Any, **options: Any
) -> Dependency:
    """Run a handler in the visitor's language at an event, which the API does not show.

    Args:
        trigger: A listener such as `button.click`, or a list of them.
        handler: Takes the inputs' values; None for JavaScript alone.
        inputs: One component, several, or None.
        outputs: Likewise.
        **options: Further arguments of the listener; progress is hidden unless they show it.
    """
    listen = partial(gr.on, trigger) if isinstance(trigger, list) else trigger
    options = {"show_progress": "hidden", "api_visibility": "private"} | options
    event: Dependency = listen(handler and translated(handler), inputs, outputs, **options)
    return event


def reveal_after(event: Dependency, panel: gr.HTML) -> None:
    """Bring a panel into view when an event has changed it, and focus its headline (page.js)."""
    on(event.then, None, None, None, js=f"() => moodmirror.reveal('{panel.elem_id}')")


def shows_errors(
    draw: Callable[[str], Any],
) -> Callable[[Callable[Inputs, Output]], Callable[Inputs, Output]]:
    """Make a handler return an error's message instead of raising the error.

    Args:
        draw: Makes the handler's return value from the message.
    """

    def decorate(handler: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
        @wraps(handler)
        def wrapper(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Any:
            try:
                return handler(*args, **kwargs)
            except Exception as error:
                return draw(error_message(error))

        return wrapper

    return decorate


def error_message(error: Exception) -> str:
    """Return the sentence that the page shows for an error; a bug's trace goes to the log."""
    if isinstance(error, SerError):
        return words.error(str(error))
    if is_full(error):
        return translate("refused_disk_full")
    logger.error("An event of the page failed.", exc_info=error)
    return translate("apology")


def is_full(error: BaseException) -> bool:
    """Return whether an error says that the disk is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
