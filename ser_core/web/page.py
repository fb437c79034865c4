"""The whole page: its layout, the options of its launch, and the server."""

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from ser_core.live import LiveSessions
from ser_core.paths import built_browser_page, bundled, temporary_folder
from ser_core.registry import chosen_model, chosen_trust
from ser_core.switch import ModelState, ModelSwitch
from ser_core.web import theme, words
from ser_core.web.about import DEVICE, draw_about
from ser_core.web.access import Access
from ser_core.web.address import check_port
from ser_core.web.api import add_endpoints
from ser_core.web.batch_tab import build_batch
from ser_core.web.cleanup import cleanup_lifespan, limit_heaps
from ser_core.web.components import (
    custom_html,
    localized,
    microphone_states,
    on,
    refuse_odd_inputs,
)
from ser_core.web.connections import (
    CompressedPage,
    LimitedProtocol,
    PageHead,
    StreamEnds,
    WithoutHls,
)
from ser_core.web.language import (
    CATALOGUES,
    ENGLISH,
    PARAMETER,
    TRANSLATIONS,
    label,
    translate,
)
from ser_core.web.limits import API, RequestLimits
from ser_core.web.listen import build_listen
from ser_core.web.live import build_live
from ser_core.web.metrics import monitor_app
from ser_core.web.routes import build_api
from ser_core.web.stream import MESSAGE_BYTES, LiveStreams
from ser_core.web.voice import build_voice

TITLE = "MoodMirror"
POLL_EVERY_S = 2
"""Time between two checks of an open page for the better model."""
MAX_CONCURRENT = 2
MAX_WAITING = 64
MAX_STREAMS = 32
"""Most visitors who can talk at once; the next one gets a message until a place is free."""
MAX_THREADS = 128
"""Most events at a time: more than all places of the live tab, so that other events never wait."""
MAX_SESSIONS = 1_000
"""Visits whose state is kept, 0.1 to 0.2 MB each; those that were used last."""
_STOP_POLL_S = 1.0
"""Time between two looks for a signal where waiting for it cannot be interrupted (Windows)."""
SPACES_PROXIES = "10.0.0.0/8"
"""Addresses of the proxies before a Space."""
PROXIES = "FORWARDED_ALLOW_IPS"
"""Environment variable of uvicorn with the proxies whose X-Forwarded-For counts."""
CLIPS = "GRADIO_TEMP_DIR"
"""Environment variable with the folder that Gradio keeps clips in."""
NO_STATISTICS = {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000"}
"""After every event Gradio would put the last ten thousand into a table, for a page that is off."""
SET_LANGUAGE = f"""() => {{
  const known = {sorted(CATALOGUES)};
  const wanted = navigator.languages.map(name => name.slice(0, 2));
  document.documentElement.lang = wanted.find(name => known.includes(name)) || "{ENGLISH}";
}}"""
"""JavaScript that sets the page's language for screen readers."""


def build_page(
    models: ModelSwitch, *, examples: Path, sessions: LiveSessions | None = None
) -> gr.Blocks:
    """Return the page.

    Args:
        models: Analyse the recordings.
        examples: Folder of example clips, and of the page that runs in the browser; may be empty
            or missing.
        sessions: Places of the live tab; None for its own.
    """
    page = gr.Blocks(title=TITLE, analytics_enabled=False)
    with page:
        texts = [localized(_header)]
        note = custom_html(draw_model_note(models), elem_id="model-note")
        voice = gr.State(None)
        with gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab(label("listen_tab"), elem_id="listen-tab"):
                texts += build_listen(models, page, examples=examples, voice=voice)
            with gr.Tab(label("live_tab"), elem_id="live-tab"):
                texts += build_live(models, page, sessions or LiveSessions(MAX_STREAMS))
            with gr.Tab(label("batch_tab"), elem_id="batch-tab"):
                texts += build_batch(models)
            with gr.Tab(label("voice_tab"), elem_id="voice-tab"):
                texts += build_voice(models, voice)
            with gr.Tab(label("about_tab"), elem_id="about-tab"):
                draw = partial(draw_about, has_device_page=built_browser_page(examples) is not None)
                about = custom_html(draw(models), elem_id="about")
        texts.append(localized(_footer))
        add_endpoints(models)
        components = [component for component, _ in texts]
        on(page.load, lambda: [draw() for _, draw in texts], None, components, queue=False)
        _keep_current(page, models, note, about, draw)
    gr.set_static_paths([theme.CARD])
    page.queue(default_concurrency_limit=MAX_CONCURRENT, max_size=MAX_WAITING, api_open=False)
    refuse_odd_inputs(page)
    return page


def _header() -> str:
    logo = theme.FAVICON.read_text(encoding="utf-8")
    return (
        f'<header class="mm-header"><span class="mm-logo" aria-hidden="true">{logo}</span>'
        f"<div><h1>{TITLE}</h1><p>{translate('tagline')}</p></div>{_languages()}</header>"
    )


def _languages() -> str:
    """Return links to the page in each language; page.js keeps the rest of the address."""
    links = ""
    for language, texts in CATALOGUES.items():
        code = texts["language_code"]
        current = ' aria-current="true"' if code == translate("language_code") else ""
        name = texts["language_name"]
        links += f'<a href="?{PARAMETER}={code}" lang="{language}"{current}>{name}</a>'
    return f'<nav class="mm-languages" aria-label="{translate("language")}">{links}</nav>'


def _draw_start(address: str) -> tuple[str, str]:
    """Return the start of the page's head and body: its preview, and a recorder to start with."""
    card = theme.social_card(TITLE, translate("tagline"), address)
    logo = theme.FAVICON.read_text(encoding="utf-8")
    record, stop = escape(translate("early_record")), escape(translate("early_stop"))
    return card + theme.early_style() + theme.script(), (
        f'<main id="early"><div class="mm-brand">{logo}{TITLE}</div><div class="mm-record">'
        f'<button data-stop="{stop}">{record}</button>{microphone_states("microphone_upload")}'
        f"<p>{escape(translate('early_loading'))}</p></div></main>"
    )


def draw_model_note(models: ModelSwitch) -> str:
    """Return which model is in use, and why no better one, as HTML."""
    text = translate(f"note_{models.state.name.lower()}", name=words.model(models.manifest.name))
    return f'<p class="mm-small" role="status">{escape(text)}</p>'


def _footer() -> str:
    return f'<p class="mm-small mm-footer">{escape(translate("footer"))}</p>'


def _keep_current(
    page: gr.Blocks,
    models: ModelSwitch,
    note: gr.HTML,
    about: gr.HTML,
    draw: Callable[[ModelSwitch], str],
) -> None:
    """Show which model is in use when the page opens, and when that changes."""
    timer = gr.Timer(POLL_EVERY_S, active=False)

    def update() -> tuple[str, str, gr.Timer]:
        changing = models.state in (ModelState.WARMING, ModelState.FETCHING)
        return draw_model_note(models), draw(models), gr.Timer(active=changing)

    on([page.load, timer.tick], update, None, [note, about, timer], queue=False)


def launch_options(
    models: ModelSwitch,
    *,
    clips: Path,
    sessions: LiveSessions | None = None,
    device_page: Path | None = None,
) -> dict[str, Any]:
    """Return the arguments of `Blocks.launch`, with nothing that reports or records.

    Args:
        models: Their settings limit the size of a file, and their state is monitored.
        clips: Gradio's folder of clips, which no other app uses; old files in it are deleted.
        sessions: Places of the API's streams; None for their own.
        device_page: Folder of the page that runs in the browser; None where it is not built.

    Raises:
        SerError: A setting of the API cannot be read.
    """
    app = monitor_app(models)
    access = Access.from_environment()
    streams = LiveStreams(models, sessions or LiveSessions(MAX_STREAMS), access)
    app["routes"].append(Mount(API, build_api(models, access, streams.serve)))
    if device_page is not None:
        app["routes"].append(Mount(f"/{DEVICE}", StaticFiles(directory=device_page, html=True)))
    served = [
        Middleware(RequestLimits, clips=clips),
        Middleware(StreamEnds),
        Middleware(CompressedPage),
        Middleware(PageHead, draw=_draw_start),
        Middleware(WithoutHls),
    ]
    return {
        "theme": theme.build_theme(),
        "css_paths": theme.STYLE_SHEET,
        "i18n": TRANSLATIONS,
        "js": SET_LANGUAGE,
        "favicon_path": theme.FAVICON,
        "footer_links": ["api"],
        "max_file_size": models.config.audio.max_bytes,
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "share": False,
        "max_threads": MAX_THREADS,
        "state_session_capacity": MAX_SESSIONS,
        "app_kwargs": app
        | {"middleware": [*app["middleware"], *served], "lifespan": cleanup_lifespan(clips)},
    }


def serve(model: str | None = None, *, trust: bool | None = None) -> None:
    """Serve the page until interrupted, at GRADIO_SERVER_NAME and GRADIO_SERVER_PORT.

    Args:
        model: As in `open_predictor`; None for the choice in `MOODMIRROR_MODEL`.
        trust: As in `open_predictor`; None for that of `MOODMIRROR_TRUST`.

    Raises:
        ModelError: The model cannot be opened.
        SerError: The port is not available.
        OutputError: The folder for clips cannot be written.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    limit_heaps()
    check_port()
    trust = chosen_trust() if trust is None else trust
    models = ModelSwitch.open(chosen_model() if model is None else model, trust=trust)
    if "SPACE_ID" in os.environ:
        os.environ.setdefault(PROXIES, SPACES_PROXIES)
    with temporary_folder(Path(os.environ.get(CLIPS) or tempfile.gettempdir())) as folder:
        tempfile.tempdir = str(folder)  # for all that is unpacked
        stopped = _stop_by_signal()
        page = start(models, folder)
        while not stopped.wait(_STOP_POLL_S):
            pass
        page.close(verbose=False)


def _stop_by_signal() -> threading.Event:
    """Return what Ctrl-C and SIGTERM set from now on; the second of a kind interrupts.

    The page ends in order at any time, also while it starts, so that streams are told and the
    visitors' clips are deleted: Gradio's own deletion does not run while a page is open.
    """
    stopped = threading.Event()

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.default_int_handler)
        stopped.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopped


def start(models: ModelSwitch, folder: Path) -> gr.Blocks:
    """Serve the page in a thread, with the visitors' files in `folder`, and return it."""
    clips = folder / "clips"
    clips.mkdir()
    os.environ |= {CLIPS: str(clips)} | NO_STATISTICS
    if agents := sys.modules.get("gradio.mcp"):  # it has read the variable already
        agents.DEFAULT_TEMP_DIR = str(clips)  # type: ignore[attr-defined]
    sessions = LiveSessions(MAX_STREAMS)
    examples = bundled("examples")
    page = build_page(models, examples=examples, sessions=sessions)
    device_page = built_browser_page(examples)
    options = launch_options(models, clips=clips, sessions=sessions, device_page=device_page)
    page.launch(**options, prevent_thread_lock=True)
    page.server.config.http_protocol_class = LimitedProtocol
    page.server.config.ws_max_size = MESSAGE_BYTES
    for chatty in ("uvicorn.error", "python_multipart.multipart"):  # a line per odd request
        logging.getLogger(chatty).setLevel(logging.ERROR)
    return page
