"""The named endpoints: what the page shows, as JSON for programs."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from ser_core.errors import SerError
from ser_core.explain import to_dict
from ser_core.models import ModelSwitch
from ser_core.web import words

Answer = dict[str, Any]


def add_endpoints(models: ModelSwitch, clip: gr.Audio) -> None:
    """Add `/predict`, `/timeline` and `/explain`: one audio file in, JSON out.

    Args:
        models: Who answers.
        clip: The component that a file is sent as.
    """

    def predict(audio: str | None) -> Answer:
        """Judge one recording: eight probabilities, warnings and timings."""
        return _answered(lambda path: models.predict(path).to_dict(), audio)

    def timeline(audio: str | None) -> Answer:
        """Judge each stretch of a recording: where it lies, and its probabilities."""
        return _answered(lambda path: models.analyse(path).timeline(), audio)

    def explain(audio: str | None) -> Answer:
        """Say what each moment did for the answer: how much lower it is without it."""
        return _answered(lambda path: to_dict(*models.explain(path)), audio)

    for endpoint in (predict, timeline, explain):
        answer = gr.JSON(label=words.PREDICTION, visible=False)
        gr.on([], endpoint, clip, answer, api_name=endpoint.__name__)


def _answered(judge: Callable[[str], Answer], audio: str | None) -> Answer:
    """An answer, or an error that the caller can read."""
    if audio is None:
        raise gr.Error(words.NO_CLIP, print_exception=False)
    try:
        return judge(audio)
    except SerError as error:
        raise gr.Error(str(error), print_exception=False) from error
