"""The named endpoints: what the page shows, as JSON for programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from ser_core.batch import batch_to_dict, predict_paths
from ser_core.errors import SerError
from ser_core.explain import to_dict
from ser_core.registry import ACCURATE, AUTO, COMPACT
from ser_core.switch import ModelSwitch
from ser_core.web.files import sent_only
from ser_core.web.language import say

Answer = dict[str, Any]
Source = TypeVar("Source")


def add_endpoints(models: ModelSwitch) -> None:
    """Add `/predict`, `/timeline`, `/explain`, `/compare` and `/batch`: files in, JSON out.

    Args:
        models: Who answers.
    """
    audio = sent_only(gr.Audio(type="filepath", label="audio", visible=False))
    files = sent_only(gr.File(file_count="multiple", label="files", visible=False))
    model = gr.Dropdown([AUTO, ACCURATE, COMPACT], value=AUTO, label="model", visible=False)
    denoise = gr.Checkbox(False, label="denoise", visible=False)

    def predict(audio: str | None, model: str = AUTO, denoise: bool = False) -> Answer:
        """Analyse one recording: eight probabilities, warnings and timings.

        Args:
            audio: The recording.
            model: auto, accurate or compact.
            denoise: Whether to reduce background noise first.
        """
        return _answered(
            lambda path: models.analyse(path, model=model, denoise=denoise).prediction.to_dict(),
            audio,
        )

    def timeline(audio: str | None, model: str = AUTO, denoise: bool = False) -> Answer:
        """Analyse a recording over time: the probabilities of each window.

        Args:
            audio: The recording.
            model: auto, accurate or compact.
            denoise: Whether to reduce background noise first.
        """
        return _answered(
            lambda path: models.analyse(path, model=model, denoise=denoise).timeline(), audio
        )

    def explain(audio: str | None, model: str = AUTO, denoise: bool = False) -> Answer:
        """Explain a result: how much the probability drops without each moment.

        Args:
            audio: The recording.
            model: auto, accurate or compact.
            denoise: Whether to reduce background noise first.
        """
        return _answered(
            lambda path: to_dict(*models.explain(path, model=model, denoise=denoise)), audio
        )

    def compare(audio: str | None, denoise: bool = False) -> Answer:
        """Analyse one recording with every available model.

        Args:
            audio: The recording.
            denoise: Whether to reduce background noise first.
        """
        return _answered(
            lambda path: {
                "answers": [a.prediction.to_dict() for a in models.compare(path, denoise=denoise)]
            },
            audio,
        )

    def batch(files: list[str] | None) -> Answer:
        """Analyse many recordings, or zips of them: a row each, and scores for labelled names.

        Args:
            files: Recordings and zip archives.
        """
        return _answered(
            lambda paths: batch_to_dict(predict_paths([Path(path) for path in paths], models)),
            files or None,
        )

    clip = [audio, model, denoise]
    for endpoint, inputs in (
        (predict, clip),
        (timeline, clip),
        (explain, clip),
        (compare, [audio, denoise]),
        (batch, [files]),
    ):
        answer = gr.JSON(visible=False)
        gr.on([], endpoint, inputs, answer, api_name=endpoint.__name__)


def _answered(judge: Callable[[Source], Answer], source: Source | None) -> Answer:
    """An answer, or an error that the caller can read."""
    if source is None:
        raise gr.Error(say("no_clip"), print_exception=False)
    try:
        return judge(source)
    except SerError as error:
        raise gr.Error(str(error), print_exception=False) from error
