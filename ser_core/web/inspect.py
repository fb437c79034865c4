"""Two closer views of a clip, drawn when they are opened: its plots, and the pipeline by steps."""

from collections.abc import Callable
from html import escape

import gradio as gr
from gradio.events import Dependency

from ser_core.audio.load import load_audio
from ser_core.plots import draw_features, draw_sound
from ser_core.predictor import trace_pipeline
from ser_core.registry import AUTO
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, words
from ser_core.web.components import ANALYSIS, check_clip, live_region, on, shows_errors
from ser_core.web.language import label, translate
from ser_core.web.timeline import plain_waveform

BOTH = "both"
"""Choice of every model that is open; the steps are then those of the default model."""
MAX_PLAYED_S = 30.0
"""Longest sound of a step's player."""


def build_inspect(
    models: ModelSwitch, clip: gr.Audio, model: gr.Radio, denoise: gr.Checkbox
) -> Callable[[Dependency], None]:
    """Add both views to the page under construction.

    Args:
        models: The models whose pipelines are shown.
        clip: Holds the clip.
        model: Name of a model, or `BOTH`.
        denoise: Whether noise is reduced.

    Returns:
        A function that makes an event close and empty both views.
    """

    def waiting(key: str) -> str:
        return drawing.small(translate(key))

    with gr.Accordion(label("see"), open=False, elem_id="see") as see:
        plots = live_region(waiting("see_wait"), elem_id="see-pictures")
    with gr.Accordion(label("steps"), open=False, elem_id="steps") as steps:
        stages = live_region(waiting("steps_wait"), elem_id="steps-stages")

    @shows_errors(drawing.small)
    def show_plots(path: str | None) -> str:
        return draw_plots(models, check_clip(path))

    @shows_errors(drawing.small)
    def show_steps(path: str | None, choice: str, denoise: bool) -> str:
        name = AUTO if choice == BOTH else choice
        return draw_steps(models, check_clip(path), model=name, denoise=denoise)

    def reset() -> tuple[gr.Accordion, str, gr.Accordion, str]:
        closed = gr.Accordion(open=False)
        return closed, waiting("see_wait"), closed, waiting("steps_wait")

    def reset_after(event: Dependency) -> None:
        on(event.then, reset, None, [see, plots, steps, stages])

    on(see.expand, show_plots, clip, plots, **ANALYSIS)
    on(steps.expand, show_steps, [clip, model, denoise], stages, **ANALYSIS)
    return reset_after


def draw_plots(models: ModelSwitch, path: str) -> str:
    """Return every plot of a clip with its explanation, for a clip without speech too."""
    audio = models.config.audio
    waveform = load_audio(path, audio)
    figures = "".join(
        _figure(picture.name, picture.png) for picture in draw_sound(waveform, audio.sample_rate_hz)
    )
    return f'<div class="mm-pictures">{figures}</div>'


def draw_steps(models: ModelSwitch, path: str, *, model: str, denoise: bool) -> str:
    """Return a clip after each stage of a model's pipeline, to listen to, and its features."""
    trace = trace_pipeline(path, models.get(model).pipeline(denoise=denoise))
    rate_hz = trace.sample_rate_hz
    steps = []
    for i, (name, waveform) in enumerate(trace.stages.items(), 1):
        heading, text = caption("stage", name)
        text = f"{text} {words.seconds(len(waveform) / rate_hz)}."
        played = waveform[: round(MAX_PLAYED_S * rate_hz)]
        if len(played) < len(waveform):
            text += " " + translate("stage_played", duration=words.seconds(MAX_PLAYED_S))
        steps.append(
            f"<li><h3>{i}. {escape(heading)}</h3><p>{escape(text)}</p>"
            f"{plain_waveform(waveform)}{drawing.player(played, rate_hz, heading)}</li>"
        )
    features = _figure("features", draw_features(trace.features, trace.hop_s))
    return f'<ol class="mm-steps">{"".join(steps)}<li>{features}</li></ol>'


def _figure(name: str, png: bytes) -> str:
    heading, text = caption("picture", name)
    return (
        f"<figure><figcaption><h3>{escape(heading)}</h3><p>{escape(text)}</p></figcaption>"
        f'<img alt="{escape(heading)}" src="{drawing.data_uri(png, "image/png")}"/></figure>'
    )


def caption(kind: str, name: str) -> tuple[str, str]:
    """Return the heading and the explanation of a `picture` or a `stage`."""
    key = f"{kind}_{name.replace(' ', '_').lower()}"
    return translate(key), translate(f"{key}_text")
