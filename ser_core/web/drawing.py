"""Pure functions that draw an answer as HTML and inline SVG.

Colours come from the theme's CSS variables, so that one string serves light and
dark. Whatever comes from outside (file names in messages) is escaped.
"""

from collections.abc import Sequence
from html import escape

from ser_core.explain import Moment
from ser_core.labels import LABELS, find_emotion
from ser_core.prediction import Analysis, Prediction
from ser_core.quality import QualityWarning
from ser_core.voice import VoiceProfile
from ser_core.web import moments, words
from ser_core.web.language import say
from ser_core.web.waveform import waveform


def answer(
    analysis: Analysis, explained: Sequence[Moment] = (), *, voice: VoiceProfile | None = None
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


def _relative(prediction: Prediction, voice: VoiceProfile | None) -> str:
    """The answer relative to the visitor's voice, above the one that knows no voice."""
    if voice is None:
        return ""
    if not voice.fits(prediction):
        return small(say("voice_unfit", model=voice.model))
    relative = voice.relative(prediction)
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
