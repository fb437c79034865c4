"""The tab on which a visitor teaches the page his voice, and corrections of single answers.

The profile lives in the session alone; the visitor may keep it as a file of his own.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from ser_core.errors import SerError
from ser_core.labels import find_emotion
from ser_core.prediction import Prediction
from ser_core.registry import AUTO
from ser_core.speaker import MAX_CORRECTIONS, SpeakerError, SpeakerProfile
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, theme, words
from ser_core.web.files import data_uri, recorder, sent_only
from ser_core.web.language import Greeting, label, say, translated

logger = logging.getLogger(__name__)

MAX_PROFILE_BYTES = 100_000
Told = tuple[SpeakerProfile | None, str]


def build_voice(models: ModelSwitch, voice: gr.State) -> list[Greeting]:
    """Add the tab to the page that is being built.

    Args:
        models: Who listens.
        voice: Holds the visitor's `SpeakerProfile`, or None.

    Returns:
        What is to be said in the visitor's language.
    """
    hint = theme.greeting(drawing.teach_hint)
    with gr.Row(elem_id="voice-tool"):
        with gr.Column():
            clip = recorder("voice_clip", elem_id="voice-clip")
            learn = gr.Button(label("voice_learn"), variant="primary", size="lg")
        with gr.Column():
            note = theme.live_region(status(None), elem_id="voice-note")
            file = sent_only(
                gr.File(
                    label=label("voice_load"),
                    file_types=[".json"],
                    elem_id="voice-file",
                    height=140,
                )
            )
            forget = gr.Button(label("voice_forget"))

    def teach(path: str | None, known: SpeakerProfile | None) -> Told:
        return teach_voice(models, path, known)

    gr.on(
        [learn.click, clip.stop_recording],
        translated(teach),
        [clip, voice],
        [voice, note],
        api_visibility="private",
    )
    file.upload(translated(load_profile), [file, voice], [voice, note], api_visibility="private")
    forget.click(
        translated(lambda: (None, status(None))),
        None,
        [voice, note],
        show_progress="hidden",
        api_visibility="private",
    )
    voice.change(translated(status), voice, note, show_progress="hidden", api_visibility="private")
    return [hint, (note, lambda: status(None))]


def build_correction(voice: gr.State, heard: gr.State, labels: Sequence[str]) -> Greeting:
    """Add «that was really …», which shows once a voice has been taught.

    Args:
        voice: Holds the visitor's `SpeakerProfile`, or None.
        heard: Holds the last answer of one model, or None.
        labels: What a clip may really have been.

    Returns:
        What is to be said in the visitor's language.
    """
    with gr.Group(visible=False, elem_id="correction") as group:
        emotion = gr.Dropdown(
            emotion_choices(labels),
            label=label("correction"),
            value=None,
        )
        correct = gr.Button(label("correct"))
        note = theme.live_region("", elem_id="correction-note")
    correct.click(
        translated(correct_voice),
        [voice, heard, emotion],
        [voice, note, emotion],
        show_progress="hidden",
        api_visibility="private",
    )
    voice.change(
        lambda profile: gr.Group(visible=profile is not None),
        voice,
        group,
        show_progress="hidden",
        api_visibility="private",
    )
    return emotion, lambda: gr.Dropdown(choices=emotion_choices(labels))


def emotion_choices(labels: Sequence[str]) -> list[tuple[str, str]]:
    """What some emotions are called, with their signs, and what they mean."""
    return [(f"{find_emotion(name).sign} {words.emotion(name)}", name) for name in labels]


def teach_voice(models: ModelSwitch, clip: str | None, known: SpeakerProfile | None) -> Told:
    """Learn a voice from a clip; what is known stays where that fails.

    Args:
        models: Who listens.
        clip: Path of 10 to 20 s of ordinary speech, None when there is none.
        known: The profile so far.
    """
    if clip is None or not Path(clip).exists():
        return known, drawing.failure(say("voice_no_clip"))
    try:
        listener = models.pick(AUTO)
        profile = SpeakerProfile.of(listener.analyse(clip), listener.manifest.calm_reference)
    except SerError as error:
        return known, drawing.failure(str(error))
    except Exception:
        logger.exception("A voice profile could not be made")
        return known, drawing.failure(say("apology"))
    return profile, status(profile)


def load_profile(path: str | None, known: SpeakerProfile | None) -> Told:
    """Read a profile from the visitor's disk; what is known stays where that fails."""
    if path is None:
        return known, status(known)
    try:
        if Path(path).stat().st_size > MAX_PROFILE_BYTES:
            raise SpeakerError(say("voice_too_large"))
        profile = SpeakerProfile.from_json(Path(path).read_text(encoding="utf-8", errors="replace"))
    except (SerError, OSError) as error:
        return known, drawing.failure(str(error))
    return profile, status(profile)


def correct_voice(
    profile: SpeakerProfile | None, heard: Prediction | None, emotion: str | None
) -> tuple[SpeakerProfile | None, str, None]:
    """Add one correction, and say what became of it."""
    if profile is None or heard is None or emotion is None:
        return profile, drawing.status(say("correction_needs")), None
    try:
        corrected = profile.corrected(heard, emotion)
    except SpeakerError as error:
        return profile, drawing.status(str(error)), None
    told = say("corrected", n=len(corrected.corrections), most=MAX_CORRECTIONS)
    return corrected, drawing.status(told), None


def status(profile: SpeakerProfile | None) -> str:
    """What is known of the visitor's voice, and the file to keep it in."""
    if profile is None:
        return drawing.status(say("voice_unknown"))
    uri = data_uri(profile.to_json().encode(), "application/json")
    return (
        f'<section class="mm-answer">{drawing.status(words.voice_known(profile))}'
        f'<p class="mm-small"><a download="moodmirror-voice.json" href="{uri}">'
        f"moodmirror-voice.json</a> {say('voice_keep')}</p></section>"
    )
