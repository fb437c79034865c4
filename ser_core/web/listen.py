"""The tab that judges one clip: recorded, uploaded or picked from the examples."""

import logging
from pathlib import Path

import gradio as gr
from gradio.events import Dependency

from ser_core.errors import SerError
from ser_core.labels import EMOTIONS
from ser_core.models import ModelSwitch
from ser_core.web import drawing, theme, words
from ser_core.web.api import add_endpoints

logger = logging.getLogger(__name__)

SUFFIXES = (".flac", ".wav")


def build_listen(models: ModelSwitch, *, examples: Path, privacy: str) -> None:
    """Add the tab to the page that is being built.

    Args:
        models: Who answers.
        examples: Folder of example clips; may be empty or missing.
        privacy: HTML that says what becomes of a clip.
    """
    with gr.Row(elem_id="tool"):
        with gr.Column(elem_id="input"):
            clip = _recorder()
            analyse = gr.Button(words.ANALYSE, variant="primary", size="lg")
        result = theme.told_html(drawing.empty(), elem_id="result")
        with gr.Column(elem_id="extras"):
            example_loaded = _add_examples(clip, examples)
            theme.own_html(privacy)

    def show(path: str | None) -> str:
        return describe(models, path)

    gr.on(
        [analyse.click, clip.stop_recording, clip.upload],
        show,
        clip,
        result,
        trigger_mode="always_last",
        api_visibility="private",
    )
    if example_loaded:
        example_loaded.then(show, clip, result, api_visibility="private")
    clip.clear(drawing.empty, None, result, show_progress="hidden", api_visibility="private")
    add_endpoints(models, clip)


def _recorder() -> gr.Audio:
    return gr.Audio(
        sources=["microphone", "upload"],
        type="filepath",
        label=words.CLIP,
        editable=False,
        buttons=[],
        elem_id="clip",
    )


def describe(models: ModelSwitch, clip: str | None) -> str:
    """Judge a clip and say the outcome as HTML, whatever the outcome is.

    Args:
        models: Who answers.
        clip: Path of the clip, None when there is none.
    """
    if clip is None:
        return drawing.failure(words.NO_CLIP)
    if not Path(clip).exists():
        return drawing.failure(words.CLIP_GONE)
    try:
        return drawing.answer(*models.explain(clip))
    except SerError as error:
        return drawing.failure(str(error))
    except Exception:
        logger.exception("A clip could not be judged")
        return drawing.failure(words.APOLOGY)


def find_examples(folder: Path) -> list[tuple[Path, str]]:
    """Example clips and what their buttons say, in the order of the labels.

    Args:
        folder: Folder of clips named `synthetic-<emotion>.flac` or `.wav`.
    """
    candidates = [
        (folder / f"synthetic-{emotion.name}{suffix}", f"{emotion.sign} {emotion.name}")
        for emotion in EMOTIONS
        for suffix in SUFFIXES
    ]
    return [(path, caption) for path, caption in candidates if path.is_file()]


def _add_examples(clip: gr.Audio, folder: Path) -> Dependency | None:
    """Buttons that load an example into the recorder; returns the event that does so, if any."""
    found = find_examples(folder)
    if not found:
        return None
    # Served from where they lie: copies in Gradio's cache would be deleted like visitors' clips.
    gr.set_static_paths([path for path, _ in found])
    examples = gr.Examples(
        [[str(path)] for path, _ in found],
        clip,
        label=words.EXAMPLES,
        example_labels=[caption for _, caption in found],
        cache_examples=False,
        api_visibility="private",
    )
    theme.own_html(drawing.example_hint())
    loaded: Dependency = examples.load_input_event
    return loaded
