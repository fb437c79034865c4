"""Pure functions that draw when in a clip an emotion is heard, and let it be taken home."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from ser_core.explain import Moment
from ser_core.labels import find_emotion
from ser_core.prediction import Analysis, Prediction, Window
from ser_core.web import words
from ser_core.web.files import download_links, player
from ser_core.web.language import say

N_PASSAGES = 3
"""How many passages of a long recording can be heard again."""
ZOOM = "this.closest('section').style.setProperty('--zoom', this.value)"
"""What widens a timeline, the style sheet doing the rest."""


def lane(moments: Sequence[Moment], prediction: Prediction) -> str:
    """Under the waveform, how much each moment did for the answer; nothing without moments.

    Args:
        moments: In order, side by side.
        prediction: Their answer.
    """
    if not moments:
        return ""
    most = max(max(abs(moment.weight) for moment in moments), np.finfo(float).tiny)
    cells = "".join(_cell(moment, most, prediction) for moment in moments)
    strongest = max(moments, key=lambda moment: moment.weight)
    sentence = words.strongest_moment(strongest, prediction)
    return (
        f'<div class="mm-lane" role="img" aria-label="{escape(sentence)}">{cells}</div>'
        f'<p class="mm-small">{escape(sentence)} {say("moments_method")}</p>'
    )


def _cell(moment: Moment, most: float, prediction: Prediction) -> str:
    left, width = _span(moment.start_s, moment.end_s, prediction.duration_s)
    kind = "mm-for" if moment.weight >= 0 else "mm-against"
    height = 50 * abs(moment.weight) / most
    return (
        f'<span class="{kind}" title="{escape(words.moment(moment))}" '
        f'style="left:{left:.2f}%;width:{width:.2f}%">'
        f'<i style="height:{height:.0f}%"></i></span>'
    )


def timeline(analysis: Analysis) -> str:
    """How a long recording goes: a row an emotion, a column a window; nothing for a short one."""
    windows, prediction = analysis.windows, analysis.prediction
    if len(windows) < 2:
        return ""
    edges_s = _edges(windows)
    rows = []
    for i, label in enumerate(prediction.labels):
        cells = "".join(
            _heat(windows[k], edges_s[k], edges_s[k + 1], i, prediction)
            for k in range(len(windows))
        )
        rows.append(
            f'<li><span class="mm-sign" aria-hidden="true">{find_emotion(label).sign}</span>'
            f'<span class="mm-label">{words.emotion(label)}</span>'
            f'<span class="mm-heat">{cells}</span></li>'
        )
    course = escape(words.course(analysis))
    return (
        f'<section class="mm-timeline"><h3>{say("timeline_heading")}</h3><p>{course}</p>'
        f'<label class="mm-zoom">{say("timeline_zoom")} <input type="range" min="1" max="10" '
        f'step="0.5" value="1" oninput="{ZOOM}"/></label>'
        f'<div class="mm-scroll" tabindex="0" role="region" aria-label="{say("timeline_heading")}">'
        f'<ul aria-hidden="true">{"".join(rows)}</ul></div></section>'
    )


def _edges(windows: Sequence[Window]) -> list[float]:
    """Borders of the columns: halfway between the middles of overlapping windows."""
    middles = [(window.start_s + window.end_s) / 2 for window in windows]
    between = [(a + b) / 2 for a, b in pairwise(middles)]
    return [windows[0].start_s, *between, windows[-1].end_s]


def _heat(window: Window, start_s: float, end_s: float, i: int, prediction: Prediction) -> str:
    label, probability = prediction.labels[i], window.probabilities[i]
    left, width = _span(start_s, end_s, prediction.duration_s)
    title = say(
        "heat",
        stretch=words.stretch(window.start_s, window.end_s),
        emotion=words.emotion(label),
        percent=words.percent(probability),
    )
    return (
        f'<span style="left:{left:.2f}%;width:{width:.2f}%;opacity:{probability:.3f};'
        f'background:{find_emotion(label).colour}" title="{escape(title)}"></span>'
    )


def _span(start_s: float, end_s: float, duration_s: float) -> tuple[float, float]:
    """Where a stretch begins and how wide it is, in per cent of the clip."""
    return 100 * start_s / duration_s, 100 * (end_s - start_s) / duration_s


def passages(analysis: Analysis) -> str:
    """The strongest stretches of a long recording, each to be heard; nothing for a short one."""
    if len(analysis.windows) < 2:
        return ""
    items = "".join(_passage(analysis, window) for window in strongest(analysis.windows))
    return (
        f'<section><h3>{say("passages_heading")}</h3><ul class="mm-passages">{items}</ul></section>'
    )


def strongest(windows: Sequence[Window]) -> list[Window]:
    """The surest windows of which none overlaps another, in order."""
    chosen: list[Window] = []
    for window in sorted(windows, key=lambda window: -max(window.probabilities)):
        apart = all(
            window.end_s <= other.start_s or window.start_s >= other.end_s for other in chosen
        )
        if apart and len(chosen) < N_PASSAGES:
            chosen.append(window)
    return sorted(chosen, key=lambda window: window.start_s)


def _passage(analysis: Analysis, window: Window) -> str:
    k = int(np.argmax(window.probabilities))
    label = analysis.prediction.labels[k]
    caption = say(
        "passage",
        stretch=words.stretch(window.start_s, window.end_s),
        emotion=words.emotion(label),
        percent=words.percent(window.probabilities[k]),
    )
    rate_hz = analysis.sample_rate_hz
    samples = analysis.waveform[round(window.start_s * rate_hz) : round(window.end_s * rate_hz)]
    return (
        f"<li><span>{find_emotion(label).sign} {escape(caption)}</span>"
        f"{player(samples, rate_hz, caption)}</li>"
    )


def downloads(analysis: Analysis, moments: Sequence[Moment]) -> str:
    """The answer as files, which the page itself holds: none lies on the server."""
    answer = analysis.prediction.to_dict() | {
        "timeline": analysis.timeline(),
        "moments": [[moment.start_s, moment.end_s, moment.weight] for moment in moments],
    }
    header = ["start_s", "end_s", *analysis.prediction.labels]
    table = [[window.start_s, window.end_s, *window.probabilities] for window in analysis.windows]
    return download_links(answer, header, table)
