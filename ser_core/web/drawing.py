"""Pure functions that draw the tab about the models, their figures, limits and licences."""

from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from ser_core.config import AudioConfig
from ser_core.explain import Moment
from ser_core.labels import LABELS, find_emotion
from ser_core.model.manifest import Manifest
from ser_core.prediction import Analysis, Prediction
from ser_core.quality import QualityWarning
from ser_core.speaker import SpeakerProfile
from ser_core.web import drawing, words
from ser_core.web import timeline as moments
from ser_core.web.language import say

N_COLUMNS = 90
"""Strokes in a drawn waveform: the most that stay apart on a phone."""
MAX_TICKS = 6
TICK_STEPS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)


def waveform(analysis: Analysis) -> str:
    """The clip as an inline SVG, the part that was used set off, with a time axis."""
    prediction = analysis.prediction
    heights = envelope(analysis.waveform)
    start, end = (
        N_COLUMNS * moment_s / prediction.duration_s
        for moment_s in (prediction.speech_start_s, prediction.speech_end_s)
    )
    centres = np.arange(N_COLUMNS, dtype=np.float64) + 0.5
    used = (centres >= start) & (centres <= end)
    caption = words.used_part(prediction)
    return (
        f'<figure class="mm-waveform"><figcaption><h3>{say("waveform_heading")}</h3>'
        f"<span>{caption}</span></figcaption>"
        f'<svg viewBox="0 0 {N_COLUMNS} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="{say("waveform")} {caption}">'
        f'<rect class="mm-span" x="{start:.2f}" width="{end - start:.2f}" height="100"/>'
        f'<path class="mm-unused" d="{_strokes(centres[~used], heights[~used])}"/>'
        f'<path class="mm-used" d="{_strokes(centres[used], heights[used])}"/>'
        f'<path class="mm-edges" d="M{start:.2f} 0V100M{end:.2f} 0V100"/></svg>'
        f"{_axis(prediction.duration_s)}</figure>"
    )


def plain_waveform(samples: npt.NDArray[np.float32]) -> str:
    """A waveform alone; what is said beside it describes it."""
    centres = np.arange(N_COLUMNS, dtype=np.float64) + 0.5
    path = _strokes(centres, envelope(samples) * min(1.0, float(np.abs(samples).max())))
    return (
        f'<div class="mm-waveform"><svg viewBox="0 0 {N_COLUMNS} 100" preserveAspectRatio="none" '
        f'aria-hidden="true"><path class="mm-used" d="{path}"/></svg></div>'
    )


def envelope(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Loudest sample of each of `N_COLUMNS` stretches, relative to the loudest of all.

    Args:
        samples: (n_samples,) with at least `N_COLUMNS` samples.

    Returns:
        (N_COLUMNS,) between 0 and 1.
    """
    starts = np.linspace(0, len(samples), N_COLUMNS, endpoint=False, dtype=int)
    peaks = np.maximum.reduceat(np.abs(samples), starts)
    return np.asarray(peaks / max(float(peaks.max()), np.finfo(np.float32).tiny), np.float32)


def _strokes(centres: npt.NDArray[np.float64], heights: npt.NDArray[np.float32]) -> str:
    """Vertical strokes around the middle line; the faintest still shows as a dot."""
    reach = np.maximum(44.0 * heights, 0.5)
    pairs = zip(centres, reach, strict=True)
    return "".join(f"M{x:g} {50 - r:.1f}V{50 + r:.1f}" for x, r in pairs)


def ticks(duration_s: float) -> tuple[float, ...]:
    """Moments to label on a time axis: round numbers, at most `MAX_TICKS`."""
    step_s = next(
        (step for step in TICK_STEPS_S if duration_s / step < MAX_TICKS), TICK_STEPS_S[-1]
    )
    return tuple(i * step_s for i in range(int(duration_s / step_s) + 1))


def _axis(duration_s: float) -> str:
    labels = "".join(
        f'<span style="left:{100 * moment_s / duration_s:.2f}%">{words.seconds(moment_s)}</span>'
        for moment_s in ticks(duration_s)
    )
    return f'<div class="mm-axis" aria-hidden="true">{labels}</div>'


def answer(
    analysis: Analysis, explained: Sequence[Moment] = (), *, voice: SpeakerProfile | None = None
) -> str:
    """Everything about one analysed clip.

    Args:
        analysis: The clip and its answer.
        explained: What its moments did for the answer.
        voice: The visitor's voice, which the answer is then given relative to, too.
    """
    prediction = analysis.prediction
    return (
        f'<section class="mm-answer">{_relative(prediction, voice)}'
        f"{headline(say('answer_eyebrow'), words.sentence(prediction), prediction.emotion)}"
        f"{warning_list(prediction.warnings)}"
        f"{bars(prediction)}"
        f"{waveform(analysis)}"
        f"{moments.lane(explained, prediction)}"
        f"{moments.timeline(analysis)}"
        f"{moments.passages(analysis)}"
        f"{moments.downloads(analysis, explained)}"
        f'<p class="mm-model">{escape(words.answered_by(prediction))}</p>'
        "</section>"
    )


def _relative(prediction: Prediction, voice: SpeakerProfile | None) -> str:
    """The answer relative to the visitor's voice, above the one that knows no voice."""
    if voice is None:
        return ""
    if not voice.fits(prediction):
        return small(say("voice_unfit", model=voice.model))
    relative = voice.adapt(prediction)
    sentence = words.sentence(relative)
    return (
        f'<section class="mm-relative">{headline(say("voice_eyebrow"), sentence, relative.emotion)}'
        f"{bars(relative)}</section>"
    )


def comparison(analyses: Sequence[Analysis]) -> str:
    """The answers of several models to one clip, side by side.

    Args:
        analyses: One a model; all of the same clip.
    """
    answers = [analysis.prediction for analysis in analyses]
    columns = "".join(
        f"<section>{headline(escape(p.model), words.sentence(p), p.emotion)}{bars(p)}"
        f'<p class="mm-model">{escape(words.answered_by(p))}</p></section>'
        for p in answers
    )
    return (
        f'<section class="mm-answer"><p class="mm-eyebrow">{escape(words.agreement(answers))}</p>'
        f'<div class="mm-side">{columns}</div>{warning_list(answers[0].warnings)}'
        f"{waveform(analyses[0])}</section>"
    )


def headline(eyebrow: str, sentence: str, emotion: str) -> str:
    """An answer in words, with the sign of its emotion."""
    return (
        f'<p class="mm-eyebrow">{eyebrow}</p>'
        f'<h2 class="mm-sentence"><span aria-hidden="true">{find_emotion(emotion).sign}</span>'
        f"<span>{escape(sentence)}</span></h2>"
    )


def failure(message: str) -> str:
    """A clip that could not be judged, and what to do."""
    return (
        '<section class="mm-answer"><div class="mm-failure" role="alert">'
        f"<h2>{say('failure_heading')}</h2><p>{escape(message)}</p></div>{_hints()}</section>"
    )


def empty(labels: Sequence[str] = LABELS) -> str:
    """What to do while nothing has been analysed yet, laid out like the answer to come.

    Args:
        labels: Emotions of the model that will answer.
    """
    rows = "".join(f"<li>{_row(label)}</li>" for label in labels)
    return (
        '<section class="mm-answer mm-empty">'
        f'<p class="mm-eyebrow">{say("answer_eyebrow")} …</p>'
        f'<h2 class="mm-sentence">{say("empty_heading")}</h2><p>{say("empty_text")}</p>'
        f'<h3>{say("bars_heading")}</h3><ul class="mm-bars">{rows}</ul>'
        f"{_hints()}</section>"
    )


def _hints() -> str:
    return f'<h3>{say("hints_heading")}</h3><ul class="mm-list">{_items(words.texts("hint"))}</ul>'


def warning_list(warnings: Sequence[QualityWarning]) -> str:
    """What makes the answer less sure; nothing for a good recording."""
    if not warnings:
        return ""
    items = _items([warning.message for warning in warnings])
    return (
        f'<div class="mm-warnings" role="note"><h3>{say("warnings_heading")}</h3>'
        f"<ul>{items}</ul></div>"
    )


def bars(prediction: Prediction) -> str:
    """One bar an emotion, in the model's order: sign, word, bar, percentage."""
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    rows = "".join(bar(label, p, top=label == prediction.emotion) for label, p in pairs)
    return f'<h3>{say("bars_heading")}</h3><ul class="mm-bars">{rows}</ul>'


def bar(label: str, probability: float, *, top: bool) -> str:
    """One emotion's sign, word, bar and percentage; the likeliest is set off."""
    value = escape(words.percent(probability))
    meter = (
        f'role="meter" aria-label="{words.emotion(label)}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * probability:.1f}" aria-valuetext="{value}"'
    )
    colour = find_emotion(label).colour
    fill = f'<span style="width:{100 * probability:.2f}%;background:{colour}"></span>'
    kind = ' class="mm-top"' if top else ""
    return f"<li{kind}>{_row(label, meter=meter, fill=fill, value=value)}</li>"


def _row(label: str, *, meter: str = "", fill: str = "", value: str = "") -> str:
    return (
        f'<span class="mm-sign" aria-hidden="true">{find_emotion(label).sign}</span>'
        f'<span class="mm-label">{words.emotion(label)}</span>'
        f'<span class="mm-track" {meter}>{fill}</span>'
        f'<span class="mm-percent" aria-hidden="true">{value}</span>'
    )


def header(logo_svg: str) -> str:
    """Logo, name and what the page does."""
    return (
        f'<header class="mm-header"><span class="mm-logo" aria-hidden="true">{logo_svg}</span>'
        f"<div><h1>{words.TITLE}</h1><p>{say('tagline')}</p></div></header>"
    )


def footer() -> str:
    """What must not be forgotten, under every tab."""
    return f'<p class="mm-small mm-footer">{escape(say("footer"))}</p>'


def model_note(text: str) -> str:
    """Which model answers."""
    return f'<p class="mm-small" role="status">{escape(text)}</p>'


def status(text: str) -> str:
    """A line on how things stand."""
    return f'<p class="mm-status">{escape(text)}</p>'


def small(text: str) -> str:
    """A hint."""
    return f'<p class="mm-small">{escape(text)}</p>'


def teach_hint() -> str:
    """What it is good for to teach one's voice, and how it is done."""
    return f'<ul class="mm-list mm-hints">{_items(words.texts("voice_hint"))}</ul>'


def progress(n_done: int, n_all: int) -> str:
    """How far a batch is, as a bar and in words.

    Args:
        n_done: Files that are done.
        n_all: All files.
    """
    text = escape(words.many_progress(n_done, n_all))
    return (
        f'<p class="mm-status">{text}</p><div class="mm-progress" role="progressbar" '
        f'aria-label="{text}" aria-valuemin="0" aria-valuemax="{n_all}" '
        f'aria-valuenow="{n_done}"><span style="width:{100 * n_done / n_all:.1f}%"></span></div>'
    )


def example_hint() -> str:
    """What the examples are."""
    return small(say("examples_hint"))


def card(heading: str, text: str) -> str:
    """One boxed note."""
    return f'<section class="mm-card"><h2>{escape(heading)}</h2><p>{escape(text)}</p></section>'


def table(kind: str, caption: str, heads: Sequence[str], rows: Sequence[tuple[str, str]]) -> str:
    """A table that scrolls sideways by itself where it is wider than the page.

    Args:
        kind: Its class in the style sheet.
        caption: What it shows.
        heads: Heads of its columns.
        rows: Of each row its head, and the HTML of its cells.
    """
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>' for name, cells in rows)
    return (
        f'<div class="mm-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def notes(sections: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """Notes below the tool: a heading and its points each."""
    notes = "".join(
        f'<section><h2>{escape(heading)}</h2><ul class="mm-list">{_items(points)}</ul></section>'
        for heading, points in sections
    )
    return f'<div class="mm-notes">{notes}</div>'


def _items(texts: Sequence[str]) -> str:
    return "".join(f"<li>{escape(text)}</li>" for text in texts)


def describe_models(
    manifests: Sequence[Manifest], audio: AudioConfig, privacy: tuple[str, str]
) -> str:
    """Everything that a visitor may want to know before he believes an answer.

    Args:
        manifests: Of the models that are open.
        audio: What the page can take.
        privacy: Heading and text on what becomes of a clip.
    """
    sections: list[words.Note] = [
        words.what_it_hears(),
        words.never_for(),
        words.limits(audio),
        (privacy[0], (privacy[1],)),
    ]
    models = "".join(_model(manifest) for manifest in manifests)
    return f'{drawing.notes(sections)}<div class="mm-models">{models}</div>'


def _model(manifest: Manifest) -> str:
    heading, points = words.about_model(manifest)
    items = "".join(f"<li>{escape(point)}</li>" for point in points)
    return (
        f'<section class="mm-about"><h2>{escape(heading)}</h2><ul class="mm-list">{items}</ul>'
        f"{_figures(manifest)}</section>"
    )


def _figures(manifest: Manifest) -> str:
    """Measured figures: each tested corpus, then each emotion; nothing where none is known."""
    test = manifest.metrics.get("test", {})
    by_corpus = test.get("by_corpus", {})
    if not by_corpus:
        return ""
    corpora = [
        [
            name,
            f"{part['n_clips']:,}",
            words.percent(part["uar"]),
            words.between(*part["uar_interval"]),
            words.percent(part["war"]),
            f"{part['ece']:.3f}",
        ]
        for name, part in by_corpus.items()
    ]
    emotions = [
        [
            words.emotion(emotion),
            str(int(row["support"])),
            words.percent(row["recall"]),
            words.percent(row["precision"]),
        ]
        for emotion, row in test.get("per_emotion", {}).items()
    ]
    corpus_heads = heads("corpus", "clips", "UAR", "interval", "accuracy", "ECE")
    emotion_heads = heads("emotion", "clips", "heard", "precision")
    return (
        f"{_table(say('figures_by_corpus'), corpus_heads, corpora)}"
        f"{_table(say('figures_by_emotion'), emotion_heads, emotions)}"
        f'<p class="mm-small">{escape(say("figures_meaning"))} '
        f"<code>{escape(str(test.get('command', '')))}</code></p>"
    )


def heads(*names: str) -> list[str]:
    """Heads of columns; what is no word of a catalogue is called alike in every language."""
    return [name if name.isupper() else say(f"head_{name}") for name in names]


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [(first, "".join(f"<td>{escape(c)}</td>" for c in rest)) for first, *rest in rows]
    return drawing.table("mm-table", caption, heads, lines)
