"""The named endpoints: the page's results as JSON for programs."""

import os
from collections.abc import Callable
from copy import deepcopy
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr

from ser_core.batch import batch_to_dict, predict_paths
from ser_core.explain import to_dict
from ser_core.registry import ACCURATE, AUTO, COMPACT
from ser_core.switch import ModelSwitch
from ser_core.web.components import ANALYSIS, BATCH, error_message, uploads_only
from ser_core.web.language import translate

Answer = dict[str, Any]

TOOLS = "GRADIO_MCP_SERVER"
"""Environment variable that makes the endpoints tools of agents where it is true."""


def add_endpoints(models: ModelSwitch) -> None:
    """Add `/predict`, `/timeline`, `/explain`, `/compare` and `/batch`: files in, JSON out."""
    audio = uploads_only(gr.Audio(type="filepath", label="audio", visible=False))
    if os.environ.get(TOOLS, "").lower() == "true" and find_spec("mcp"):
        _accept_lists_of_files()
    files = _described_plainly(
        uploads_only(gr.File(file_count="multiple", label="files", visible=False))
    )
    model = gr.Dropdown([AUTO, ACCURATE, COMPACT], value=AUTO, label="model", visible=False)
    denoise = gr.Checkbox(False, label="denoise", visible=False)
    one_voice = gr.Checkbox(False, label="one_voice", visible=False)

    def predict(audio: str, model: str = AUTO, denoise: bool = False) -> Answer:
        """Analyse one recording: eight probabilities, warnings and timings.

        Args:
            audio: The recording.
            model: auto, accurate or compact.
            denoise: Whether to reduce background noise first.
        """
        return models.analyse(audio, model=model, denoise=denoise).prediction.to_dict()

    def timeline(audio: str, model: str = AUTO, denoise: bool = False) -> Answer:
        """Analyse a recording over time: the probabilities of each window.

        Args:
            audio: The recording.
            model: auto, accurate or compact.
            denoise: Whether to reduce background noise first.
        """
        return models.analyse(audio, model=model, denoise=denoise).timeline()

    def explain(audio: str, model: str = AUTO, denoise: bool = False) -> Answer:
        """Explain a result: how much the probability drops without each moment.

        Args:
            audio: The recording.
            model: auto, accurate or compact.
            denoise: Whether to reduce background noise first.
        """
        return to_dict(*models.explain(audio, model=model, denoise=denoise))

    def compare(audio: str, denoise: bool = False) -> Answer:
        """Analyse one recording with every available model.

        Args:
            audio: The recording.
            denoise: Whether to reduce background noise first.
        """
        analyses = models.compare(audio, denoise=denoise)
        return {"answers": [analysis.prediction.to_dict() for analysis in analyses]}

    def batch(files: list[str], one_voice: bool = False) -> Answer:
        """Analyse many recordings, or zips of them: a row each, and scores for labelled names.

        Args:
            files: Recordings and zip archives.
            one_voice: Whether all are of one speaker, to whose voice the rows are adapted.
        """
        paths = [Path(path) for path in files]
        return batch_to_dict(predict_paths(paths, models, one_voice=one_voice))

    clip = [audio, model, denoise]
    for endpoint, inputs, options in (
        (predict, clip, ANALYSIS),
        (timeline, clip, ANALYSIS),
        (explain, clip, ANALYSIS),
        (compare, [audio, denoise], ANALYSIS),
        (batch, [files, one_voice], BATCH),
    ):
        answer = gr.JSON(visible=False)
        handler = _raises_readably(endpoint)
        gr.on([], handler, inputs, answer, api_name=endpoint.__name__, **options)


def _described_plainly(files: gr.File) -> gr.File:
    """Describe a list of files without references: where tools are described, they lead nowhere.

    It is changed in place.
    """
    described = files.api_info()
    described["items"] = described["$defs"].pop("FileData")
    setattr(files, "api_info", lambda: deepcopy(described))  # noqa: B010
    return files


def _accept_lists_of_files() -> None:
    """Make tools take lists of files: Gradio compares their places with those in the schema."""
    from gradio.mcp import GradioMCPServer

    convert = GradioMCPServer.convert_strings_to_filedata

    @wraps(convert)
    def convert_lists(self: Any, value: Answer, positions: list[list[str | int]]) -> Any:
        lists = [name for name, *rest in positions if rest == ["items"]]
        files = [[name, i] for name in lists for i in range(len(value.get(str(name), ())))]
        return convert(self, value, [*positions, *files])

    setattr(GradioMCPServer, "convert_strings_to_filedata", convert_lists)  # noqa: B010


def _raises_readably(endpoint: Callable[..., Answer]) -> Callable[..., Answer]:
    """Make an endpoint raise its errors as those that Gradio passes on to the caller."""

    @wraps(endpoint)
    def wrapper(source: Any, *options: Any) -> Answer:
        if not source:
            raise gr.Error(translate("no_clip"), print_exception=False)
        try:
            return endpoint(source, *options)
        except Exception as error:
            message = error_message(error)
        # Out of the handler: the error's frames hold the recording, and Gradio would keep them.
        raise gr.Error(message, print_exception=False)

    return wrapper
