"""A closer look at a clip, drawn when it is opened: its pictures, and the path step by step."""

import logging
from collections.abc import Callable
from html import escape
from pathlib import Path

import gradio as gr
from gradio.events import Dependency

from ser_core.audio.load import load_audio
from ser_core.errors import SerError
from ser_core.plots import draw_features, draw_sound
from ser_core.predictor import trace_pipeline
from ser_core.preprocess import Waveform
from ser_core.registry import AUTO
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, theme, words
from ser_core.web.drawing import plain_waveform
from ser_core.web.files import data_uri, player
from ser_core.web.language import label, say, translated

logger = logging.getLogger(__name__)

BOTH = "both"
"""Choice of every model that is open; the path shown is then that of the one that answers now."""
MAX_HEARD_S = 30.0
"""How much of a long recording each step lets hear."""


def build_closer(
    models: ModelSwitch, clip: gr.Audio, model: gr.Radio, denoise: gr.Checkbox
) -> Callable[[Dependency], None]:
    """Add both looks to the page that is being built.

    Args:
        models: Whose path is shown.
        clip: Holds the clip.
        model: Which model answers, by name, or `BOTH`.
        denoise: Whether noise is taken off.

    Returns:
        Closes both after an event that has judged another clip.
    """
    with gr.Accordion(label("see"), open=False, elem_id="see") as see:
        pictures = theme.live_region(drawing.small(say("see_wait")), elem_id="see-pictures")
    with gr.Accordion(label("steps"), open=False, elem_id="steps") as steps:
        stages = theme.live_region(drawing.small(say("steps_wait")), elem_id="steps-stages")

    def look(path: str | None) -> str:
        return _told(path, lambda source: show_sound(models, source))

    def walk(path: str | None, chosen: str, quiet: bool) -> str:
        name = AUTO if chosen == BOTH else chosen
        return _told(path, lambda source: show_steps(models, source, model=name, denoise=quiet))

    see.expand(translated(look), clip, pictures, show_progress="hidden", api_visibility="private")
    steps.expand(
        translated(walk),
        [clip, model, denoise],
        stages,
        show_progress="hidden",
        api_visibility="private",
    )

    def forget(event: Dependency) -> None:
        event.then(
            translated(
                lambda: (
                    gr.Accordion(open=False),
                    drawing.small(say("see_wait")),
                    gr.Accordion(open=False),
                    drawing.small(say("steps_wait")),
                )
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
        return drawing.small(say("no_clip"))
    if not Path(path).exists():
        return drawing.small(say("clip_gone"))
    try:
        return show(path)
    except SerError as error:
        return drawing.small(str(error))
    except Exception:
        logger.exception("A clip could not be plotted")
        return drawing.small(say("apology"))


def show_sound(models: ModelSwitch, path: str) -> str:
    """Every picture of a clip, with what it shows; a clip without speech has them, too."""
    audio = models.config.audio
    waveform = load_audio(path, audio)
    figures = "".join(
        _figure(picture_text(picture.name), picture.png)
        for picture in draw_sound(waveform, audio.sample_rate_hz)
    )
    return f'<div class="mm-pictures">{figures}</div>'


def show_steps(models: ModelSwitch, path: str, *, model: str, denoise: bool) -> str:
    """A clip after each stage of a model's path, to be heard and seen, and what it sees."""
    walk = trace_pipeline(path, models.pick(model).path(denoise=denoise))
    steps = "".join(
        _step(i, stage_text(stage.name), stage.waveform, walk.sample_rate_hz)
        for i, stage in enumerate(walk.stages, 1)
    )
    seen = _figure(picture_text("features"), draw_features(walk.features, walk.hop_s))
    return f'<ol class="mm-steps">{steps}<li>{seen}</li></ol>'


def picture_text(name: str) -> tuple[str, str]:
    """Heading and text of a picture."""
    key = f"picture_{name.replace(' ', '_').lower()}"
    return say(key), say(f"{key}_text")


def stage_text(name: str) -> tuple[str, str]:
    """Heading and text of a stage."""
    return say(f"stage_{name}"), say(f"stage_{name}_text")


def _figure(caption: tuple[str, str], png: bytes) -> str:
    heading, text = caption
    return (
        f"<figure><figcaption><h3>{escape(heading)}</h3><p>{escape(text)}</p></figcaption>"
        f'<img alt="{escape(heading)}" src="{data_uri(png, "image/png")}"/></figure>'
    )


def _step(number: int, caption: tuple[str, str], waveform: Waveform, rate_hz: int) -> str:
    heading, text = caption
    heard = waveform[: round(MAX_HEARD_S * rate_hz)]
    duration_s = len(waveform) / rate_hz
    return (
        f"<li><h3>{number}. {escape(heading)}</h3><p>{escape(text)} "
        f"{words.seconds(duration_s)}.</p>{plain_waveform(waveform)}"
        f"{player(heard, rate_hz, heading)}</li>"
    )
