"""Pure functions that draw an answer as HTML and inline SVG.

Colours come from the theme's CSS variables, so that one string serves light and
dark. Whatever comes from outside (file names in messages) is escaped.
"""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from ser_core.explain import Moment
from ser_core.labels import BY_NAME, EMOTIONS
from ser_core.predictor import Analysis, Prediction
from ser_core.quality import QualityWarning
from ser_core.web import moments, words

N_COLUMNS = 90
"""Strokes in a drawn waveform: the most that stay apart on a phone."""
MAX_TICKS = 6
TICK_STEPS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)


def answer(analysis: Analysis, explained: Sequence[Moment] = ()) -> str:
    """Everything about one analysed clip.

    Args:
        analysis: The clip and its answer.
        explained: What its moments did for the answer.
    """
    prediction = analysis.prediction
    return (
        '<section class="mm-answer">'
        f"{headline(words.ANSWER_EYEBROW, words.sentence(prediction), prediction.emotion)}"
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


def headline(eyebrow: str, sentence: str, emotion: str) -> str:
    """An answer in words, with the sign of its emotion."""
    return (
        f'<p class="mm-eyebrow">{eyebrow}</p>'
        f'<h2 class="mm-sentence"><span aria-hidden="true">{BY_NAME[emotion].sign}</span>'
        f"<span>{escape(sentence)}</span></h2>"
    )


def failure(message: str) -> str:
    """A clip that could not be judged, and what to do."""
    return (
        '<section class="mm-answer"><div class="mm-failure" role="alert">'
        f"<h2>{words.FAILURE_HEADING}</h2><p>{escape(message)}</p></div>{_hints()}</section>"
    )


def empty() -> str:
    """What to do while nothing has been analysed yet, laid out like the answer to come."""
    rows = "".join(f"<li>{_row(emotion.name)}</li>" for emotion in EMOTIONS)
    return (
        '<section class="mm-answer mm-empty">'
        f'<p class="mm-eyebrow">{words.ANSWER_EYEBROW} …</p>'
        f'<h2 class="mm-sentence">{words.EMPTY_HEADING}</h2><p>{words.EMPTY_TEXT}</p>'
        f'<h3>{words.BARS_HEADING}</h3><ul class="mm-bars">{rows}</ul>'
        f"{_hints()}</section>"
    )


def _hints() -> str:
    return f'<h3>{words.HINTS_HEADING}</h3><ul class="mm-list">{_items(words.HINTS)}</ul>'


def warning_list(warnings: Sequence[QualityWarning]) -> str:
    """What makes the answer less sure; nothing for a good recording."""
    if not warnings:
        return ""
    items = _items([warning.message for warning in warnings])
    return (
        f'<div class="mm-warnings" role="note"><h3>{words.WARNINGS_HEADING}</h3>'
        f"<ul>{items}</ul></div>"
    )


def bars(prediction: Prediction) -> str:
    """One bar an emotion, in the model's order: sign, word, bar, percentage."""
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    rows = "".join(bar(label, p, top=label == prediction.emotion) for label, p in pairs)
    return f'<h3>{words.BARS_HEADING}</h3><ul class="mm-bars">{rows}</ul>'


def bar(label: str, probability: float, *, top: bool) -> str:
    """One emotion's sign, word, bar and percentage; the likeliest is set off."""
    value = escape(words.percent(probability))
    meter = (
        f'role="meter" aria-label="{label}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * probability:.1f}" aria-valuetext="{value}"'
    )
    fill = (
        f'<span style="width:{100 * probability:.2f}%;background:{BY_NAME[label].colour}"></span>'
    )
    kind = ' class="mm-top"' if top else ""
    return f"<li{kind}>{_row(label, meter=meter, fill=fill, value=value)}</li>"


def _row(label: str, *, meter: str = "", fill: str = "", value: str = "") -> str:
    return (
        f'<span class="mm-sign" aria-hidden="true">{BY_NAME[label].sign}</span>'
        f'<span class="mm-label">{label}</span><span class="mm-track" {meter}>{fill}</span>'
        f'<span class="mm-percent" aria-hidden="true">{value}</span>'
    )


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
        f'<figure class="mm-waveform"><figcaption><h3>{words.WAVEFORM_HEADING}</h3>'
        f"<span>{caption}</span></figcaption>"
        f'<svg viewBox="0 0 {N_COLUMNS} 100" preserveAspectRatio="none" role="img" '
        f'aria-label="Waveform. {caption}">'
        f'<rect class="mm-span" x="{start:.2f}" width="{end - start:.2f}" height="100"/>'
        f'<path class="mm-unused" d="{_strokes(centres[~used], heights[~used])}"/>'
        f'<path class="mm-used" d="{_strokes(centres[used], heights[used])}"/>'
        f'<path class="mm-edges" d="M{start:.2f} 0V100M{end:.2f} 0V100"/></svg>'
        f"{_axis(prediction.duration_s)}</figure>"
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


def header(logo_svg: str) -> str:
    """Logo, name and what the page does."""
    return (
        f'<header class="mm-header"><span class="mm-logo" aria-hidden="true">{logo_svg}</span>'
        f"<div><h1>{words.TITLE}</h1><p>{words.TAGLINE}</p></div></header>"
    )


def model_note(text: str) -> str:
    """Which model answers."""
    return f'<p class="mm-small" role="status">{escape(text)}</p>'


def status(text: str) -> str:
    """A line on how things stand."""
    return f'<p class="mm-status">{escape(text)}</p>'


def progress(n_done: int, n_all: int, say: Callable[[int, int], str]) -> str:
    """How far a batch is, as a bar and in words.

    Args:
        n_done: Files that are done.
        n_all: All files.
        say: Both numbers to words.
    """
    text = escape(say(n_done, n_all))
    return (
        f'<p class="mm-status">{text}</p><div class="mm-progress" role="progressbar" '
        f'aria-label="{text}" aria-valuemin="0" aria-valuemax="{n_all}" '
        f'aria-valuenow="{n_done}"><span style="width:{100 * n_done / n_all:.1f}%"></span></div>'
    )


def example_hint() -> str:
    """What the examples are."""
    return f'<p class="mm-small">{words.EXAMPLES_HINT}</p>'


def card(heading: str, text: str) -> str:
    """One boxed note."""
    return f'<section class="mm-card"><h2>{escape(heading)}</h2><p>{escape(text)}</p></section>'


def notes(sections: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    """Notes below the tool: a heading and its points each."""
    notes = "".join(
        f'<section><h2>{escape(heading)}</h2><ul class="mm-list">{_items(points)}</ul></section>'
        for heading, points in sections
    )
    return f'<div class="mm-notes">{notes}</div>'


def _items(texts: Sequence[str]) -> str:
    return "".join(f"<li>{escape(text)}</li>" for text in texts)
