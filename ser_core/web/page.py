"""The whole page, and how it is launched."""

from pathlib import Path
from typing import Any

import gradio as gr

from ser_core.models import ModelState, ModelSwitch
from ser_core.web import drawing, theme, words
from ser_core.web.about import describe_models
from ser_core.web.api import add_endpoints
from ser_core.web.listen import build_listen
from ser_core.web.live import build_live
from ser_core.web.many import build_many
from ser_core.web.voice import build_voice

SWEEP_EVERY_S = 30
CLIP_LIFE_S = 300
DELETED_AFTER_S = SWEEP_EVERY_S + CLIP_LIFE_S
"""A clip outlives its time by at most one round of the sweeper."""

LOOK_EVERY_S = 2
"""How often an open page asks whether the better model is there."""

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
        delete_cache=(SWEEP_EVERY_S, CLIP_LIFE_S),
    )
    with page:
        theme.own_html(drawing.header(theme.FAVICON.read_text(encoding="utf-8")))
        note = theme.own_html(_model_note(models), elem_id="model-note")
        privacy = drawing.card(*words.privacy(DELETED_AFTER_S))
        voice = gr.State(None)
        with gr.Tabs():
            with gr.Tab(words.LISTEN_TAB):
                build_listen(models, page, examples=examples, privacy=privacy, voice=voice)
            with gr.Tab(words.LIVE_TAB):
                build_live(models)
            with gr.Tab(words.MANY_TAB):
                build_many(models)
            with gr.Tab(words.VOICE_TAB):
                build_voice(models, voice)
            with gr.Tab(words.ABOUT_TAB):
                about = theme.own_html(_about(models), elem_id="about")
        theme.own_html(drawing.footer())
        add_endpoints(models)
        _keep_current(page, models, note, about)
    page.queue(default_concurrency_limit=N_AT_ONCE, max_size=MAX_WAITING)
    return page


def _model_note(models: ModelSwitch) -> str:
    return drawing.model_note(words.model_note(models.state, models.manifest))


def _about(models: ModelSwitch) -> str:
    return describe_models(
        [models.pick(name).manifest for name in models.names],
        models.config.audio,
        words.privacy(DELETED_AFTER_S),
    )


def _keep_current(page: gr.Blocks, models: ModelSwitch, note: gr.HTML, about: gr.HTML) -> None:
    """Say which model answers when the page opens, and when that changes under it."""
    timer = gr.Timer(LOOK_EVERY_S, active=False)

    def look() -> tuple[str, str, gr.Timer]:
        still = gr.Timer(active=models.state is ModelState.FETCHING)
        return _model_note(models), _about(models), still

    gr.on(
        [page.load, timer.tick],
        look,
        None,
        [note, about, timer],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def launch_options(models: ModelSwitch) -> dict[str, Any]:
    """Arguments for `Blocks.launch`: our looks, and nothing that reports or records.

    Args:
        models: Their settings say how large a file may be.
    """
    return {
        "theme": theme.build_theme(),
        "css_paths": theme.STYLE_SHEET,
        "favicon_path": theme.FAVICON,
        "footer_links": ["api"],
        "max_file_size": models.config.audio.max_bytes,
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "share": False,
    }
