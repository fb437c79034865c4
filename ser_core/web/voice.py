"""The tab "My voice", where a visitor creates a voice profile, and the correction of a result.

The profile lives in the session alone; the visitor may save it as a file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ser_core.errors import AudioError
from ser_core.labels import find_emotion
from ser_core.prediction import Prediction
from ser_core.speaker import MAX_CORRECTIONS, SpeakerError, SpeakerProfile
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, words
from ser_core.web.components import (
    ANALYSIS,
    Localized,
    check_clip,
    ends_recording,
    live_region,
    localized,
    on,
    recorder,
    reveal_after,
    shows_errors,
    uploads_only,
)
from ser_core.web.language import label, translate, translate_all

MAX_PROFILE_BYTES = 100_000


def _keep_profile(message: str) -> tuple[Any, str]:
    return gr.skip(), drawing.failure(message, "voice_failed")


def _refuse_file(message: str) -> tuple[Any, str]:
    return gr.skip(), drawing.failure(message, "voice_file_failed", hints=False)


def build_voice(models: ModelSwitch, voice: gr.State) -> list[Localized]:
    """Add the tab, whose profile goes to the state `voice`, to the page under construction."""
    texts = [localized(_hints)]
    with gr.Row(elem_id="voice-tool"):
        with gr.Column():
            clip, microphone = recorder("voice_clip", elem_id="voice-clip")
            create = ends_recording("voice_create", clip)
        with gr.Column():
            note = live_region(status(None), elem_id="voice-note")
            file = uploads_only(
                gr.File(
                    label=label("voice_load"),
                    file_types=[".json"],
                    elem_id="voice-file",
                    height=140,
                )
            )
            delete = gr.Button(label("voice_delete"))

    @shows_errors(_keep_profile)
    def enroll(path: str | None) -> tuple[SpeakerProfile, str]:
        if path is None or not Path(path).exists():
            raise AudioError(translate("voice_no_clip"))
        predictor = models.get()
        reference = predictor.manifest.neutral_reference
        profile = SpeakerProfile.enroll(predictor.analyse(path), reference)
        return profile, status(profile)

    shown = {"show_progress": "full"}
    outputs, clicks = [voice, note], [create.click, clip.stop_recording]
    reveal_after(on(clicks, enroll, clip, outputs, **ANALYSIS, **shown), note)
    reveal_after(on(file.upload, load_profile, file, outputs, **shown), note)
    on(delete.click, lambda: (None, status(None)), None, [voice, note])
    on(delete.click, None, None, [clip, file], js="() => [null, null]")
    on(voice.change, status, voice, note)
    return [*texts, microphone, (note, lambda: status(None))]


def _hints() -> str:
    return f'<ul class="mm-list mm-hints">{drawing.items(translate_all("voice_hint"))}</ul>'


@shows_errors(_refuse_file)
def load_profile(path: str) -> tuple[SpeakerProfile, str]:
    """Return a profile that the visitor saved, and its status; the old one stays on an error."""
    path = check_clip(path)
    if Path(path).stat().st_size > MAX_PROFILE_BYTES:
        raise SpeakerError(translate("voice_too_large"))
    profile = SpeakerProfile.from_json(Path(path).read_text(encoding="utf-8", errors="replace"))
    return profile, status(profile)


def status(profile: SpeakerProfile | None) -> str:
    """Return the state of the visitor's profile, and the profile as a file."""
    if profile is None:
        return drawing.status(translate("voice_unknown"))
    uri = drawing.data_uri(profile.to_json().encode(), "application/json")
    known = translate("voice_known", model=words.model(profile.model), n=len(profile.corrections))
    return (
        f'<section class="mm-answer">{drawing.status(known)}'
        f'<p class="mm-small"><a download="moodmirror-voice.json" href="{uri}">'
        f"moodmirror-voice.json</a> {translate('voice_keep')}</p></section>"
    )


def build_correction(voice: gr.State, prediction: gr.State, labels: Sequence[str]) -> Localized:
    """Add the correction of a result, which shows once there is a profile.

    Args:
        voice: Holds the visitor's `SpeakerProfile`, or None.
        prediction: Holds the last prediction of a single model, or None.
        labels: The emotions to choose from.
    """

    def choices() -> list[tuple[str, str]]:
        return [(f"{find_emotion(name).sign} {words.emotion(name)}", name) for name in labels]

    def show(profile: SpeakerProfile | None) -> tuple[gr.Group, Any]:
        return gr.Group(visible=profile is not None), gr.skip() if profile else ""

    with gr.Group(visible=False, elem_id="correction") as group:
        emotion = gr.Dropdown(choices(), label=label("correction"), value=None)
        save = gr.Button(label("correct"))
        note = live_region("", elem_id="correction-note")
    on(save.click, correct, [voice, prediction, emotion], [voice, note, emotion])
    on(voice.change, show, voice, [group, note])
    return emotion, lambda: gr.Dropdown(choices=choices())


@shows_errors(lambda message: (gr.skip(), drawing.status(message), None))
def correct(
    profile: SpeakerProfile | None, prediction: Prediction | None, emotion: str | None
) -> tuple[SpeakerProfile, str, None]:
    """Return the profile with one more correction, the status, and an empty choice."""
    if profile is None or prediction is None or emotion is None:
        raise SpeakerError(translate("correction_needs"))
    profile = profile.corrected(prediction, emotion)
    saved = translate("corrected", n=len(profile.corrections), most=MAX_CORRECTIONS)
    return profile, drawing.status(saved), None
