"""The tab that judges one clip: recorded, uploaded or picked from the examples."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import Dependency

from ser_core.errors import SerError
from ser_core.labels import EMOTIONS
from ser_core.prediction import Prediction
from ser_core.registry import ACCURATE, AUTO, COMPACT
from ser_core.speaker import SpeakerProfile
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, theme, words
from ser_core.web.files import recorder
from ser_core.web.inspect import BOTH, build_closer
from ser_core.web.language import Greeting, label, say, translated
from ser_core.web.voice import build_correction

logger = logging.getLogger(__name__)

SUFFIXES = (".flac", ".wav")
CHOICES = (AUTO, ACCURATE, COMPACT, BOTH)
SHARE_LINK = Path(__file__).with_name("share_link.js")


@dataclass(frozen=True, slots=True)
class Judged:
    """A clip's fate.

    Attributes:
        html: What the page says.
        heard: What one model heard in it, as a correction needs it; else None.
    """

    html: str
    heard: Prediction | None = None


def build_listen(
    models: ModelSwitch,
    page: gr.Blocks,
    *,
    examples: Path,
    privacy: Callable[[], str],
    voice: gr.State,
) -> list[Greeting]:
    """Add the tab to the page that is being built.

    Args:
        models: Who answers.
        page: The page, which may be opened by a shared link.
        examples: Folder of example clips; may be empty or missing.
        privacy: Draws what becomes of a clip.
        voice: Holds the visitor's `SpeakerProfile`, or None.

    Returns:
        What is to be said in the visitor's language.
    """
    heard = gr.State(None)
    labels = models.manifest.labels

    def nothing_yet() -> str:
        return drawing.empty(labels)

    with gr.Row(elem_id="tool"):
        with gr.Column(elem_id="input"):
            clip = recorder("clip", elem_id="clip")
            analyse = gr.Button(label("analyse"), variant="primary", size="lg")
            model, denoise = _options(clip)
            correction = build_correction(voice, heard, labels)
        result = theme.live_region(nothing_yet(), elem_id="result")
        with gr.Column(elem_id="extras"):
            example_loaded, greetings = _add_examples(clip, examples)
            greetings.append(theme.greeting(privacy))
    forget = build_closer(models, clip, model, denoise)

    def show(
        path: str | None, chosen: str, quiet: bool, profile: SpeakerProfile | None
    ) -> tuple[str, Prediction | None]:
        judged = describe(models, path, model=chosen, denoise=quiet, voice=profile)
        return judged.html, judged.heard

    settings = [clip, model, denoise, voice]
    shown = gr.on(
        [analyse.click, clip.stop_recording, clip.upload],
        translated(show),
        settings,
        [result, heard],
        trigger_mode="always_last",
        api_visibility="private",
    )
    forget(shown)
    if example_loaded:
        shown = example_loaded.then(
            translated(show), settings, [result, heard], api_visibility="private"
        )
        forget(shown)

    def arrive(request: gr.Request) -> tuple[Any, str, bool]:
        return arrival(dict(request.query_params), examples)

    page.load(
        arrive, None, [clip, model, denoise], show_progress="hidden", api_visibility="private"
    ).then(
        translated(lambda *given: show(*given) if given[0] else (nothing_yet(), None)),
        settings,
        [result, heard],
        show_progress="hidden",
        api_visibility="private",
    )
    clip.clear(
        translated(lambda: (nothing_yet(), None)),
        None,
        [result, heard],
        show_progress="hidden",
        api_visibility="private",
    )
    choices = (model, lambda: gr.Radio(choices=model_choices()))
    return [*greetings, choices, correction]


def _options(clip: gr.Audio) -> tuple[gr.Radio, gr.Checkbox]:
    """Which model answers, whether noise is taken off, and a link to just that."""
    with gr.Accordion(label("options"), open=False, elem_id="options"):
        model = gr.Radio(
            model_choices(), value=AUTO, label=label("model_choice"), elem_id="model-choice"
        )
        denoise = gr.Checkbox(False, label=label("denoise"), info=label("denoise_hint"))
        share = gr.Button(label("share"), size="sm")
        link = theme.live_region("", elem_id="share-link")
    share.click(
        None,
        [clip, model, denoise],
        link,
        js=SHARE_LINK.read_text(encoding="utf-8"),
        api_visibility="private",
    )
    return model, denoise


def model_choices() -> list[tuple[str, str]]:
    """What the choice of models is called, and what it means."""
    return [(say(f"model_{name}"), name) for name in CHOICES]


def describe(
    models: ModelSwitch,
    clip: str | None,
    *,
    model: str = AUTO,
    denoise: bool = False,
    voice: SpeakerProfile | None = None,
) -> Judged:
    """Judge a clip and say the outcome as HTML, whatever the outcome is.

    Args:
        models: Who answers.
        clip: Path of the clip, None when there is none.
        model: One of `CHOICES`.
        denoise: Whether steady noise is taken off first.
        voice: The visitor's voice, where he has taught it.
    """
    if clip is None:
        return Judged(drawing.failure(say("no_clip")))
    if not Path(clip).exists():
        return Judged(drawing.failure(say("clip_gone")))
    try:
        if model == BOTH:
            return Judged(drawing.comparison(models.compare(clip, denoise=denoise)))
        analysis, moments = models.explain(clip, model=model, denoise=denoise)
        return Judged(drawing.answer(analysis, moments, voice=voice), analysis.prediction)
    except SerError as error:
        return Judged(drawing.failure(str(error)))
    except Exception:
        logger.exception("A clip could not be analysed")
        return Judged(drawing.failure(say("apology")))


def arrival(asked: dict[str, str], examples: Path) -> tuple[Any, str, bool]:
    """What a shared link asks for: an example, a model, noise reduction; never a voice.

    Args:
        asked: The link's query.
        examples: Folder of example clips.

    Returns:
        The example's path or no change, one of `CHOICES`, and whether noise is reduced.
        What the link asks for and is not there, is left as it is.
    """
    by_name = {path.stem: path for path, _ in find_examples(examples)}
    example = by_name.get(f"synthetic-{asked.get('example', '')}")
    model = asked.get("model", AUTO)
    return (
        str(example) if example else gr.skip(),
        model if model in CHOICES else AUTO,
        asked.get("denoise") == "1",
    )


def find_examples(folder: Path) -> list[tuple[Path, str]]:
    """Example clips and what their buttons say, in the order of the labels.

    Args:
        folder: Folder of clips named `synthetic-<emotion>.flac` or `.wav`.
    """
    candidates = [
        (
            folder / f"synthetic-{emotion.name}{suffix}",
            f"{emotion.sign} {words.emotion(emotion.name)}",
        )
        for emotion in EMOTIONS
        for suffix in SUFFIXES
    ]
    return [(path, caption) for path, caption in candidates if path.is_file()]


def _add_examples(clip: gr.Audio, folder: Path) -> tuple[Dependency | None, list[Greeting]]:
    """Buttons that load an example into the recorder.

    Returns:
        The event that loads one, if there are any, and what is to be said in the visitor's
        language.
    """
    found = find_examples(folder)
    if not found:
        return None, []
    # Served from where they lie: copies in Gradio's cache would be deleted like visitors' clips.
    gr.set_static_paths([path for path, _ in found])
    examples = gr.Examples(
        [[str(path)] for path, _ in found],
        clip,
        label=label("examples"),
        example_labels=[caption for _, caption in found],
        cache_examples=False,
        api_visibility="private",
    )
    hint = theme.greeting(drawing.example_hint)

    def captions() -> gr.Dataset:
        return gr.Dataset(sample_labels=[caption for _, caption in find_examples(folder)])

    return examples.load_input_event, [hint, (examples.dataset, captions)]
