"""The app: finds the model, builds the page, launches it."""

import logging
import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from ser_core.paths import bundled
from ser_core.registry import chosen_model
from ser_core.switch import ModelState, ModelSwitch
from ser_core.web import drawing, theme, words
from ser_core.web.api import add_endpoints
from ser_core.web.batch_tab import build_many
from ser_core.web.cleanup import DELETED_AFTER_S, share_heaps, sweeping
from ser_core.web.drawing import describe_models
from ser_core.web.language import (
    CATALOGUES,
    ENGLISH,
    TRANSLATIONS,
    Greeting,
    label,
    say,
    translated,
)
from ser_core.web.listen import build_listen
from ser_core.web.live import build_live
from ser_core.web.metrics import watch_app
from ser_core.web.voice import build_voice

LOOK_EVERY_S = 2
"""How often an open page asks whether the better model is there."""

SAY_LANGUAGE = f"""() => {{
  const known = {sorted(CATALOGUES)};
  const asked = navigator.languages.map(name => name.slice(0, 2));
  document.documentElement.lang = asked.find(name => known.includes(name)) || "{ENGLISH}";
}}"""
"""Tells screen readers which language the page is in."""

N_AT_ONCE = 2
MAX_WAITING = 64


def build_page(models: ModelSwitch, *, examples: Path) -> gr.Blocks:
    """Put the page together.

    Args:
        models: Who answers.
        examples: Folder of example clips; may be empty or missing.
    """
    page = gr.Blocks(
        title=words.TITLE,
        analytics_enabled=False,
    )
    with page:
        greetings = [theme.greeting(_header)]
        note = theme.custom_html(_model_note(models), elem_id="model-note")
        voice = gr.State(None)
        with gr.Tabs():
            with gr.Tab(label("listen_tab")):
                greetings += build_listen(
                    models, page, examples=examples, privacy=_privacy, voice=voice
                )
            with gr.Tab(label("live_tab")):
                greetings += build_live(models, page)
            with gr.Tab(label("many_tab")):
                greetings += build_many(models)
            with gr.Tab(label("voice_tab")):
                greetings += build_voice(models, voice)
            with gr.Tab(label("about_tab")):
                about = theme.custom_html(_about(models), elem_id="about")
        greetings.append(theme.greeting(drawing.footer))
        add_endpoints(models)
        _greet(page, greetings)
        _keep_current(page, models, note, about)
    gr.set_static_paths([theme.CARD])
    page.queue(default_concurrency_limit=N_AT_ONCE, max_size=MAX_WAITING)
    return page


def _header() -> str:
    return drawing.header(theme.FAVICON.read_text(encoding="utf-8"))


def _privacy() -> str:
    return drawing.card(*words.privacy(DELETED_AFTER_S))


def _model_note(models: ModelSwitch) -> str:
    return drawing.model_note(words.model_note(models.state, models.manifest))


def _about(models: ModelSwitch) -> str:
    return describe_models(
        models.manifests,
        models.config.audio,
        words.privacy(DELETED_AFTER_S),
    )


def _greet(page: gr.Blocks, greetings: list[Greeting]) -> None:
    """Say what stands on the page in the visitor's language when he arrives."""

    def greet() -> list[Any]:
        return [draw() for _, draw in greetings]

    page.load(
        translated(greet),
        None,
        [component for component, _ in greetings],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _keep_current(page: gr.Blocks, models: ModelSwitch, note: gr.HTML, about: gr.HTML) -> None:
    """Say which model answers when the page opens, and when that changes under it."""
    timer = gr.Timer(LOOK_EVERY_S, active=False)

    def look() -> tuple[str, str, gr.Timer]:
        still = gr.Timer(active=models.state in (ModelState.WARMING, ModelState.FETCHING))
        return _model_note(models), _about(models), still

    gr.on(
        [page.load, timer.tick],
        translated(look),
        None,
        [note, about, timer],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def launch_options(models: ModelSwitch, *, clips: Path) -> dict[str, Any]:
    """Arguments for `Blocks.launch`: our looks, and nothing that reports or records.

    Args:
        models: Their settings say how large a file may be, and whether they are warm.
        clips: Folder of this app alone that Gradio keeps clips in; it is swept.
    """
    return {
        "theme": theme.build_theme(),
        "css_paths": theme.STYLE_SHEET,
        "i18n": TRANSLATIONS,
        "js": SAY_LANGUAGE,
        "head": theme.social_card(words.TITLE, say("tagline")),
        "favicon_path": theme.FAVICON,
        "footer_links": ["api"],
        "max_file_size": models.config.audio.max_bytes,
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "share": False,
        "app_kwargs": watch_app(models) | {"lifespan": sweeping(clips)},
    }


CLIPS = "GRADIO_TEMP_DIR"
"""Environment variable with the folder that Gradio keeps clips in."""
NO_STATISTICS = {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000"}
"""After every event Gradio would put the last ten thousand into a table, for a page that is off."""


def serve(model: str | None = None) -> None:
    """Serve the page until interrupted; GRADIO_SERVER_NAME and _PORT say where.

    Args:
        model: As in `open_predictor`; None for what `MOODMIRROR_MODEL` says.

    Raises:
        ModelError: The model cannot be opened.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    share_heaps()
    models = ModelSwitch.open(model or chosen_model())
    # A polite kill ends like Ctrl-C, so that the visitors' clips are deleted. Gradio's own
    # deletion does not come to its turn while a page is open.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(dir=os.environ.get(CLIPS), prefix="moodmirror-") as clips:
        os.environ |= {CLIPS: clips} | NO_STATISTICS
        page = build_page(models, examples=bundled("examples"))
        page.launch(**launch_options(models, clips=Path(clips)))
