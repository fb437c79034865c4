"""A closer look at a clip, drawn when it is opened: its pictures, and the path step by step."""

import io
import logging
from collections.abc import Callable
from html import escape
from pathlib import Path

import gradio as gr
import soundfile
from gradio.events import Dependency

from ser_core.errors import SerError
from ser_core.models import ModelSwitch
from ser_core.plots import draw_features, draw_sound
from ser_core.preprocess import Waveform
from ser_core.stages import walk_through
from ser_core.web import drawing, theme, words
from ser_core.web.downloads import data_uri
from ser_core.web.waveform import plain_waveform

logger = logging.getLogger(__name__)

MAX_HEARD_S = 30.0
"""How much of a long recording each step lets hear."""


def build_closer(
    models: ModelSwitch, clip: gr.Audio, denoise: gr.Checkbox
) -> Callable[[Dependency], None]:
    """Add both looks to the page that is being built.

    Args:
        models: Whose path is shown.
        clip: Holds the clip.
        denoise: Whether noise is taken off.

    Returns:
        Closes both after an event that has judged another clip.
    """
    with gr.Accordion(words.SEE, open=False, elem_id="see") as see:
        pictures = theme.told_html(drawing.waiting(words.SEE_WAIT), elem_id="see-pictures")
    with gr.Accordion(words.STEPS, open=False, elem_id="steps") as steps:
        stages = theme.told_html(drawing.waiting(words.STEPS_WAIT), elem_id="steps-stages")

    def look(path: str | None) -> str:
        return _told(path, lambda source: show_sound(models, source))

    def walk(path: str | None, quiet: bool) -> str:
        return _told(path, lambda source: show_steps(models, source, denoise=quiet))

    see.expand(look, clip, pictures, show_progress="hidden", api_visibility="private")
    steps.expand(walk, [clip, denoise], stages, show_progress="hidden", api_visibility="private")

    def forget(event: Dependency) -> None:
        event.then(
            lambda: (
                gr.Accordion(open=False),
                drawing.waiting(words.SEE_WAIT),
                gr.Accordion(open=False),
                drawing.waiting(words.STEPS_WAIT),
            ),
            None,
            [see, pictures, steps, stages],
            show_progress="hidden",
            api_visibility="private",
        )

    return forget


def _told(path: str | None, show: Callable[[str], str]) -> str:
    """What is to be seen, or why there is nothing."""
    if path is None:
        return drawing.waiting(words.NO_CLIP)
    if not Path(path).exists():
        return drawing.waiting(words.CLIP_GONE)
    try:
        return show(path)
    except SerError as error:
        return drawing.waiting(str(error))
    except Exception:
        logger.exception("A clip could not be drawn")
        return drawing.waiting(words.APOLOGY)


def show_sound(models: ModelSwitch, path: str) -> str:
    """Every picture of a clip, with what it shows."""
    walk = walk_through(path, models.config)
    figures = "".join(
        _figure(words.PICTURES[picture.name], picture.png)
        for picture in draw_sound(walk.stages[0].waveform, walk.sample_rate_hz)
    )
    return f'<div class="mm-pictures">{figures}</div>'


def show_steps(models: ModelSwitch, path: str, *, denoise: bool) -> str:
    """A clip after each stage of the path, to be heard and seen, and what the network sees."""
    walk = walk_through(path, models.pick().path(denoise=denoise))
    steps = "".join(
        _step(i, words.STAGES[stage.name], stage.waveform, walk.sample_rate_hz)
        for i, stage in enumerate(walk.stages, 1)
    )
    seen = _figure(words.SEEN_BY_NETWORK, draw_features(walk.features, walk.hop_s))
    return f'<ol class="mm-steps">{steps}<li>{seen}</li></ol>'


def _figure(caption: tuple[str, str], png: bytes) -> str:
    heading, text = caption
    return (
        f"<figure><figcaption><h3>{escape(heading)}</h3><p>{escape(text)}</p></figcaption>"
        f'<img alt="{escape(heading)}" src="{data_uri(png, "image/png")}"/></figure>'
    )


def _step(number: int, caption: tuple[str, str], waveform: Waveform, rate_hz: int) -> str:
    heading, text = caption
    sound = io.BytesIO()
    heard = waveform[: round(MAX_HEARD_S * rate_hz)]
    soundfile.write(sound, heard.clip(-1.0, 1.0), rate_hz, format="FLAC")
    duration_s = len(waveform) / rate_hz
    return (
        f"<li><h3>{number}. {escape(heading)}</h3><p>{escape(text)} "
        f"{words.seconds(duration_s)}.</p>{plain_waveform(waveform)}"
        f'<audio controls="controls" preload="none" aria-label="{escape(heading)}" '
        f'src="{data_uri(sound.getvalue(), "audio/flac")}"></audio></li>'
    )
