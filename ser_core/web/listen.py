"""The tab "Recording": one clip, recorded, uploaded or picked from the examples."""

import json
import time
from collections.abc import Iterator, Sequence
from functools import wraps
from html import escape
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
from gradio.events import Dependency

from ser_core.change import find_parts
from ser_core.explain import Moment, explain
from ser_core.labels import LABELS, column_of, find_emotion
from ser_core.prediction import Analysis, Prediction, Window
from ser_core.registry import ACCURATE, AUTO, COMPACT
from ser_core.speaker import SpeakerProfile
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, timeline, words
from ser_core.web.about import privacy_card
from ser_core.web.components import (
    ANALYSIS,
    Localized,
    check_clip,
    ends_recording,
    error_message,
    live_region,
    localized,
    on,
    recorder,
    reveal_after,
)
from ser_core.web.inspect import BOTH, build_inspect
from ser_core.web.language import label, translate
from ser_core.web.segments import (
    CUTS,
    OWN,
    SPEAKERS,
    WINDOWS,
    Found,
    SegmentOptions,
    build_segment_options,
    draw_files,
    draw_segments,
    find_segments,
    from_windows,
)
from ser_core.web.voice import build_correction

Explained = tuple[Analysis, Sequence[Moment], Sequence[Window]]
"""A clip and its prediction, the effect of each moment on it, and parts of different emotions."""
Answer = dict[str, Any]
Shown = tuple[str, Prediction | None]
"""The panel of the result as HTML, and the prediction of a single model."""

MODELS = (AUTO, ACCURATE, COMPACT, BOTH)
_BY_UTTERANCE, _NOTHING = SegmentOptions(), Found()
EXAMPLE_SUFFIXES = (".flac", ".wav")
WINDOWS_AT_ONCE = 4
"""Windows in a batch: the fewer, the more often the page can show them, or stop."""
SHOWN_EVERY_S, SHOWN_SHARE = 0.5, 0.03
"""Least time between two states of a result that grows, alone and as a share of the time so far."""
LEFT_FROM = 0.02
"""Share of a step from which the time left is told."""


def build_listen(
    models: ModelSwitch, page: gr.Blocks, *, examples: Path, voice: gr.State
) -> list[Localized]:
    """Add the tab to the page under construction.

    Args:
        models: The models to choose from.
        page: The page, which a shared link may open.
        examples: Folder of example clips; may be empty or missing.
        voice: Holds the visitor's `SpeakerProfile`, or None.
    """
    prediction = gr.State(None)
    labels = models.manifest.labels
    with gr.Row(elem_id="tool"):
        with gr.Column(elem_id="input"):
            clip, microphone = recorder("clip", elem_id="clip")
            analyse = ends_recording("analyse", clip)
            model, denoise, chosen, option_texts = _build_options(clip)
            correction = build_correction(voice, prediction, labels)
        result = live_region(drawing.empty(labels), elem_id="result")
        with gr.Column(elem_id="extras"):
            example_loaded, texts = _build_examples(clip, examples)
            texts.append(localized(privacy_card))
    stop = gr.Button(visible="hidden", elem_id="stop-analysis")
    reset_views = build_inspect(models, clip, model, denoise)
    running: dict[str, Event] = {}  # by session; set to stop the analysis

    def show(
        path: str | None,
        model: str,
        denoise: bool,
        cut: str | None,
        speakers: str | None,
        own: str | None,
        voice: SpeakerProfile | None,
        request: gr.Request,
    ) -> Iterator[Shown]:
        session, stopped = request.session_hash or "", Event()
        running[session] = stopped
        meant = example_emotion(path, examples)
        options = SegmentOptions(cut or CUTS[0], speakers or SPEAKERS[0], own)
        steps = describe(
            models, path, model=model, denoise=denoise, options=options, voice=voice, meant=meant,
            stopped=stopped,
        )  # fmt: skip
        for step in steps:
            if running.get(session) is not stopped:  # of another clip, or the visitor has left
                yield gr.skip(), gr.skip()  # Gradio empties what gets no value at all
                return
            yield step
        del running[session]

    def show_nothing() -> Shown:
        return drawing.empty(labels), None

    @wraps(show)  # Gradio reads the signature
    def show_again(path: str | None, *others: Any) -> Iterator[Shown]:
        yield from show(path, *others) if path else [show_nothing()]

    @wraps(show)
    def show_linked(path: str | None, *others: Any) -> Iterator[Shown]:
        is_own = path and example_emotion(path, examples) is None  # given while the page loaded
        yield from [(gr.skip(), gr.skip())] if is_own else show_again(path, *others)

    def stop_analysis(request: gr.Request) -> None:
        if stopped := running.get(request.session_hash or ""):
            stopped.set()

    def forget_analysis(request: gr.Request) -> None:
        running.pop(request.session_hash or "", None)

    def follow_link(request: gr.Request) -> tuple[Any, str, bool]:
        return read_link(dict(request.query_params), examples)

    inputs, outputs = [clip, *chosen, voice], [result, prediction]
    shown = ANALYSIS | {"show_progress": "full"}
    new_clip = [analyse.click, clip.stop_recording, clip.upload]
    shows = [on(new_clip, show, inputs, outputs, **shown, trigger_mode="always_last")]
    if example_loaded:
        shows.append(on(example_loaded.then, show, inputs, outputs, **shown))
    for event in shows:
        reset_views(event)
        reveal_after(event, result)
    arrived = on(page.load, follow_link, None, [clip, model, denoise])
    on(arrived.then, show_linked, inputs, outputs, **ANALYSIS)
    on(voice.change, show_again, inputs, outputs, **ANALYSIS)
    on(stop.click, stop_analysis, None, None, queue=False)
    on(clip.clear, forget_analysis, None, None, queue=False)
    on(clip.clear, show_nothing, None, outputs)
    page.unload(forget_analysis)
    return [*texts, microphone, *option_texts, correction]


def describe(
    models: ModelSwitch,
    clip: str | None,
    *,
    model: str = AUTO,
    denoise: bool = False,
    options: SegmentOptions = _BY_UTTERANCE,
    voice: SpeakerProfile | None = None,
    meant: str | None = None,
    stopped: Event | None = None,
) -> Iterator[Shown]:
    """Analyse a clip and yield the result as HTML; errors, too.

    Args:
        models: The models to choose from.
        clip: Path of the clip, None where there is none.
        model: One of `MODELS`.
        denoise: Whether to reduce steady background noise first.
        options: How the clip is cut into segments; several models have none.
        voice: The visitor's profile, if there is one.
        meant: Emotion that an example aims for; None for other clips.
        stopped: Set to end the analysis with what is done.

    Yields:
        Of a long clip first the result so far, several times; then the result, and the prediction
        of a single model for a correction.
    """
    try:
        path = check_clip(clip)
        predictors = models.get_each() if model == BOTH else (models.get(model),)
        stopped = stopped or Event()
        explained: list[Explained] = []
        clock = _Clock()
        for predictor in predictors:
            steps = predictor.analyse_stepwise(path, denoise=denoise, at_once=WINDOWS_AT_ONCE)
            for analysis in steps:
                if stopped.is_set():
                    break
                if not analysis.is_whole and clock.is_due():
                    share = analysis.prediction.speech_end_s / analysis.prediction.duration_s
                    yield draw_growing(analysis, left_s=clock.left_s(share)), None
            network = predictor.model
            explained.append((analysis, explain(analysis, network), find_parts(analysis, network)))
            if stopped.is_set():
                break
        note = _outdated(model, denoise, options)
        if model == BOTH:
            yield note + draw_comparison(explained, meant=meant), None
            return
        found = Found()
        if analysis.is_whole and options.kind == WINDOWS:
            found = from_windows(analysis)
        elif analysis.is_whole:
            for found in find_segments(
                Path(path), predictor, options, denoise=denoise, stopped=stopped,
                every_s=SHOWN_EVERY_S,
            ):  # fmt: skip
                is_growing = not found.is_whole and not stopped.is_set()
                if is_growing and len(analysis.windows) > 1 and clock.is_due():
                    yield draw_growing(analysis, found, left_s=clock.left_s(found.share)), None
        drawn = draw_result(*explained[0], voice, meant=meant, found=found, recording=Path(path))
        yield note + drawn, analysis.prediction
    except Exception as error:
        yield drawing.failure(error_message(error)), None


class _Clock:
    """Says when a result that grows is shown again, and how much time the rest of a step takes."""

    def __init__(self) -> None:
        self._start_s = self._shown_s = time.monotonic()
        self._first = self._last = (self._start_s, 0.0)

    def is_due(self) -> bool:
        """Return whether the time between two states is over; it grows, as the states do."""
        now_s = time.monotonic()
        interval_s = max(SHOWN_EVERY_S, SHOWN_SHARE * (now_s - self._start_s))
        if now_s - self._shown_s < interval_s:
            return False
        self._shown_s = now_s
        return True

    def left_s(self, share: float) -> float | None:
        """Return the time that the rest of a step takes; None where it is not known yet.

        Args:
            share: Share of the step that is done; less than before at the start of the next one.
        """
        now_s = time.monotonic()
        if share < self._last[1] or not self._last[1]:
            self._first = now_s, share
        self._last = now_s, share
        done = share - self._first[1]
        return (now_s - self._first[0]) * (1.0 - share) / done if done >= LEFT_FROM else None


def _outdated(model: str, denoise: bool, options: SegmentOptions) -> str:
    """Return a note that page.js shows while other options are chosen than those of a result."""
    chosen = [model, denoise, options.cut, options.speakers, options.own]
    told = json.dumps(chosen, separators=(",", ":"), ensure_ascii=False)
    return (
        f'<p class="mm-outdated" role="status" data-options="{escape(told)}" '
        f'hidden="hidden">{translate("outdated")} '
        f"<button>{translate('analyse_again')}</button></p>"
    )


def draw_result(
    analysis: Analysis,
    moments: Sequence[Moment] = (),
    parts: Sequence[Window] = (),
    voice: SpeakerProfile | None = None,
    *,
    meant: str | None = None,
    found: Found = _NOTHING,
    recording: Path | None = None,
) -> str:
    """Return everything about one analysed clip as HTML.

    Args:
        analysis: The clip and its prediction.
        moments: The effect of each moment on the prediction.
        parts: Its parts of different emotions; fewer than two for a clip of one.
        voice: The visitor's profile; the prediction relative to it is compared with the other.
        meant: Emotion that an example aims for.
        found: Its segments; a single utterance is the clip itself, and not shown.
        recording: The clip, whose name files of segments contain.
    """
    prediction, segments = analysis.prediction, found.segments
    listed, files = "", ""
    if len(segments) > 1 or (segments and found.kind == OWN):
        note = "" if found.is_whole else _stopped_at(segments[-1].end_s, prediction)
        listed = draw_segments(found, note=note)
        files = draw_files(_to_dict(analysis, moments, parts), segments, recording)
    lanes = segments if found.kind != WINDOWS else ()
    course = words.course(prediction.labels, parts if len(parts) > 1 else analysis.windows)
    return (
        f"<section{_attributes(prediction)}>"
        f"{_meant(meant)}{_answer(analysis, parts, voice)}{_stopped(analysis)}"
        f"{timeline.waveform(analysis)}"
        f"{timeline.lane(moments, prediction)}"
        f"{timeline.timeline(analysis, lanes, text=course)}"
        f"{listed}{timeline.passages(analysis, parts)}"
        f"{files or _downloads([(analysis, moments, parts)])}"
        f"{drawing.analysed_by(prediction)}</section>"
    )


def draw_growing(
    analysis: Analysis, found: Found | None = None, *, left_s: float | None = None
) -> str:
    """Return the result so far of a recording that is being analysed, and how far that is.

    Args:
        analysis: Of the whole recording, or of the part that has been analysed.
        found: Its segments so far; None before they are looked for.
        left_s: Time that the rest takes, where it is known.
    """
    left = "" if left_s is None else f" {translate('time_left', duration=words.seconds(left_s))}"
    prediction = analysis.prediction
    if found is None:
        done_s, all_s = prediction.speech_end_s, prediction.duration_s
        text = translate("growing", done=words.seconds(done_s), all=words.seconds(all_s))
        bar = drawing.progress(text + left, round(done_s, 1), round(all_s, 1))
    else:
        key = "growing_speakers" if found.step == "speakers" else "growing_segments"
        text = translate(key, n=words.number(len(found.segments)))
        bar = drawing.progress(text + left, round(found.share, 3), 1.0)
    return (
        f'<section{_attributes(prediction)} aria-busy="true">'
        f'<h2 class="mm-sentence">{translate("growing_heading")}</h2>{bar}'
        f'<p><button class="mm-stop">{translate("stop")}</button></p>'
        f"{drawing.bars(prediction, played=timeline.clearest_by_label(analysis))}"
        f"{timeline.waveform(analysis)}"
        f"{timeline.timeline(analysis, found.segments if found else ())}</section>"
    )


def _attributes(prediction: Prediction) -> str:
    """Return the attributes of a result that holds stretches of a recording to play."""
    return f' class="mm-answer" style="--duration:{prediction.duration_s:.3f}"'


def _stopped(analysis: Analysis) -> str:
    """Return a note on a result that the visitor stopped; nothing for a whole one."""
    if analysis.is_whole:
        return ""
    return _stopped_at(analysis.prediction.speech_end_s, analysis.prediction)


def _stopped_at(done_s: float, prediction: Prediction) -> str:
    done, whole = words.seconds(done_s), words.seconds(prediction.duration_s)
    return f'<p class="mm-stopped">{escape(translate("stopped", done=done, all=whole))}</p>'


def _answer(analysis: Analysis, parts: Sequence[Window], voice: SpeakerProfile | None) -> str:
    """Return headline, warnings and bars, where there is a profile relative to that voice."""
    prediction = analysis.prediction
    shown, eyebrow, note = prediction, "answer_eyebrow", ""
    if voice and voice.fits(prediction):
        shown, eyebrow = voice.adapt(prediction), "voice_eyebrow"
        note = drawing.small(translate("voice_without", sentence=words.sentence(prediction)))
    elif voice:
        note = drawing.small(translate("voice_unfit", model=words.model(voice.model)))
    compared = None if shown is prediction else prediction
    played = timeline.clearest_by_label(analysis)
    headline = drawing.headline(translate(eyebrow), words.sentence(shown), shown.emotion)
    if len(parts) > 1:
        headline, overall = _mixed(prediction.labels, parts), words.sentence(shown)
        note = drawing.small(translate("mixed_overall", sentence=overall)) + note
    return (
        f"{headline}{_intensity(prediction)}"
        f"{drawing.warning_list(prediction.warnings)}"
        f"{drawing.bars(shown, compared=compared, played=played)}{note}"
    )


def _intensity(prediction: Prediction) -> str:
    """Return a line on how strongly the clip is spoken; nothing where it is not known."""
    text = words.intensity(prediction)
    return drawing.small(text) if text else ""


def _mixed(labels: Sequence[str], parts: Sequence[Window]) -> str:
    """Return the headline of a clip whose emotion changes: its course."""
    emotions = [part.emotion(labels) for part in parts]
    sentence = words.mixed(labels, parts)
    return drawing.headline(translate("answer_eyebrow"), sentence, *dict.fromkeys(emotions))


def _meant(emotion: str | None) -> str:
    """Return a line on what an example aims for; nothing for other clips."""
    if emotion is None:
        return ""
    text = translate("example_meant", emotion=words.emotion(emotion))
    return f'<p class="mm-eyebrow">{escape(text)}</p>'


def _to_dict(analysis: Analysis, moments: Sequence[Moment], parts: Sequence[Window]) -> Answer:
    """Return all about a clip in plain JSON types."""
    return analysis.prediction.to_dict() | {
        "timeline": analysis.timeline(),
        "moments": [[moment.start_s, moment.end_s, moment.weight] for moment in moments],
        "parts": [
            [part.start_s, part.end_s, part.emotion(analysis.prediction.labels)] for part in parts
        ],
    }


def _downloads(explained: Sequence[Explained]) -> str:
    """Return the results of one model, or of several, as files."""
    results = [_to_dict(*one) for one in explained]
    is_single = len(results) == 1
    rows = [
        ({} if is_single else {"model": analysis.prediction.model})
        | {"start_s": window.start_s, "end_s": window.end_s, "intensity": window.intensity}
        | dict(zip(map(column_of, analysis.prediction.labels), window.probabilities, strict=True))
        for analysis, *_ in explained
        for window in analysis.windows
    ]
    header = list(dict.fromkeys(name for row in rows for name in row))
    table = [[row.get(name) for name in header] for row in rows]
    result = results[0] if is_single else results
    return drawing.download_links(result, header, table, card=is_single)


def draw_comparison(explained: Sequence[Explained], *, meant: str | None = None) -> str:
    """Return several models' results for the same clip, side by side, as HTML."""
    predictions = [analysis.prediction for analysis, *_ in explained]
    columns = "".join(
        f"<section>{drawing.headline(escape(words.model(p.model)), words.sentence(p), p.emotion)}"
        f"{_intensity(p)}"
        f"{drawing.small(words.mixed(p.labels, parts)) if len(parts) > 1 else ''}"
        f"{drawing.bars(p, played=timeline.clearest_by_label(analysis))}{_stopped(analysis)}"
        f"{timeline.lane(moments, p)}{drawing.analysed_by(p)}</section>"
        for p, (analysis, moments, parts) in zip(predictions, explained, strict=True)
    )
    agreement = escape(words.agreement(predictions))
    return (
        f"<section{_attributes(predictions[0])}>{_meant(meant)}"
        f'<p class="mm-eyebrow">{agreement}</p>'
        f'<div class="mm-side">{columns}</div>{drawing.warning_list(predictions[0].warnings)}'
        f"{timeline.waveform(explained[0][0])}{_downloads(explained)}</section>"
    )


def _build_options(
    clip: gr.Audio,
) -> tuple[gr.Radio, gr.Checkbox, list[gr.Radio | gr.Checkbox | gr.File], list[Localized]]:
    """Place the choice of a model, noise reduction, how a clip is cut, and a link to the first two.

    Returns:
        The choice of a model, noise reduction, all options, and the texts to localize.
    """
    with gr.Accordion(label("options"), open=False, elem_id="options"):
        model = gr.Radio(
            _model_choices(), value=AUTO, label=label("model_choice"), elem_id="model-choice"
        )
        denoise = gr.Checkbox(False, label=label("denoise"), info=label("denoise_hint"))
        segments, texts = build_segment_options()
        share = gr.Button(label("share"), size="sm")
        texts.append(localized(_share_texts))
        link = live_region("", elem_id="share-link")
    chosen = [model, denoise, *segments]
    on(share.click, None, [clip, model, denoise], link, js="(...all) => moodmirror.share(...all)")
    on(clip.change, None, clip, [share, link], js="clip => moodmirror.offerLink(clip)")
    changes = [one.change for one in chosen]
    on(changes, None, chosen, None, js="(...all) => moodmirror.mark(...all)")
    texts.append((model, lambda: gr.Radio(choices=_model_choices())))
    return model, denoise, chosen, texts


def _share_texts() -> str:
    copied, refused = escape(translate("share_copied")), escape(translate("share_refused"))
    return (
        f'<p id="share-texts" data-copied="{copied}" data-refused="{refused}" hidden="hidden"></p>'
    )


def _model_choices() -> list[tuple[str, str]]:
    return [(translate(f"model_{name}"), name) for name in MODELS]


def read_link(query: dict[str, str], examples: Path) -> tuple[Any, str, bool]:
    """Return the settings in a shared link, which never holds a visitor's own clip.

    Args:
        query: The link's query.
        examples: Folder of example clips.

    Returns:
        The example's path or no change, one of `MODELS`, and whether to reduce noise. An
        unknown example or model is ignored.
    """
    by_name = {path.stem: path for path, _ in find_examples(examples)}
    example = by_name.get(f"synthetic-{query.get('example', '')}")
    model = query.get("model", AUTO)
    return (
        str(example) if example else gr.skip(),
        model if model in MODELS else AUTO,
        query.get("denoise") == "1",
    )


def _build_examples(clip: gr.Audio, folder: Path) -> tuple[Dependency | None, list[Localized]]:
    """Place buttons that load an example into the recorder, if there are any.

    Returns:
        The event that loads one, and the texts to localize.
    """
    found = find_examples(folder)
    if not found:
        return None, []
    # Served from their own folder: copies in Gradio's cache would be deleted like visitors' clips.
    gr.set_static_paths([path for path, _ in found])
    examples = gr.Examples(
        [[str(path)] for path, _ in found],
        clip,
        label=label("examples"),
        example_labels=[caption for _, caption in found],
        cache_examples=False,
        api_visibility="private",
    )
    hint = localized(lambda: drawing.small(translate("examples_hint")))

    def captions() -> gr.Dataset:
        return gr.Dataset(sample_labels=[caption for _, caption in find_examples(folder)])

    return examples.load_input_event, [hint, (examples.dataset, captions)]


def example_emotion(clip: str | None, folder: Path) -> str | None:
    """Return the emotion that a clip aims for where it is an example of a folder, else None."""
    return dict(_examples(folder)).get(Path(clip)) if clip else None


def find_examples(folder: Path) -> list[tuple[Path, str]]:
    """Return the clips `synthetic-<emotion>.flac` or `.wav` and their captions, in label order."""
    return [
        (path, f"{find_emotion(emotion).sign} {words.emotion(emotion)}")
        for path, emotion in _examples(folder)
    ]


def _examples(folder: Path) -> list[tuple[Path, str]]:
    return [
        (path, emotion)
        for emotion in LABELS
        for suffix in EXAMPLE_SUFFIXES
        if (path := folder / f"synthetic-{emotion}{suffix}").is_file()
    ]
