"""The whole page, and how it is launched."""

from pathlib import Path
from typing import Any

import gradio as gr

from ser_core.predictor import Predictor
from ser_core.web import drawing, theme, words
from ser_core.web.listen import build_listen

SWEEP_EVERY_S = 30
CLIP_LIFE_S = 300
DELETED_AFTER_S = SWEEP_EVERY_S + CLIP_LIFE_S
"""A clip outlives its time by at most one round of the sweeper."""

N_AT_ONCE = 2
MAX_WAITING = 64


def build_page(predictor: Predictor, *, examples: Path) -> gr.Blocks:
    """Put the page together.

    Args:
        predictor: Who answers.
        examples: Folder of example clips; may be empty or missing.
    """
    page = gr.Blocks(
        title=words.TITLE,
        analytics_enabled=False,
        delete_cache=(SWEEP_EVERY_S, CLIP_LIFE_S),
    )
    with page:
        theme.fixed_html(drawing.header(theme.FAVICON.read_text(encoding="utf-8")))
        privacy = drawing.card(*words.privacy(DELETED_AFTER_S))
        build_listen(predictor, examples=examples, privacy=privacy)
        theme.fixed_html(
            drawing.notes(
                [
                    words.WHAT_IT_HEARS,
                    words.NEVER_FOR,
                    words.limits(predictor.config.audio),
                    words.about_model(predictor.manifest),
                ]
            )
        )
    page.queue(default_concurrency_limit=N_AT_ONCE, max_size=MAX_WAITING)
    return page


def launch_options(predictor: Predictor) -> dict[str, Any]:
    """Arguments for `Blocks.launch`: our looks, and nothing that reports or records.

    Args:
        predictor: Its settings say how large a file may be.
    """
    return {
        "theme": theme.build_theme(),
        "css_paths": theme.STYLE_SHEET,
        "favicon_path": theme.FAVICON,
        "footer_links": ["api"],
        "max_file_size": predictor.config.audio.max_bytes,
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "share": False,
    }
