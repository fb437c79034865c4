"""Pure functions that draw a clip over time: waveform, moments, windows, segments and passages."""

import math
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ser_core.explain import Moment
from ser_core.labels import find_emotion
from ser_core.prediction import Analysis, Prediction, Window
from ser_core.preprocess import Waveform
from ser_core.segments import Segment
from ser_core.web import words
from ser_core.web.drawing import Stretch, plays
from ser_core.web.language import translate

N_COLUMNS = 90
"""Strokes of a waveform: more would run together on a phone."""
MAX_TICKS = 6
TICK_STEPS_S = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0),
    *(120.0, 300.0, 600.0, 1_200.0, 3_600.0, 7_200.0),
)
NEAR_END = 0.95
"""Share of an axis from which a label ends at its time, to stay within the page."""
N_PASSAGES = 3
MAX_CELLS = 300
"""Most cells of an emotion: in an hour, each has the mean of four windows."""
MAX_LANES = 6
"""Most speakers with lanes of their own; more share one."""
ZOOMS = (1, 3, 10)
"""Zooms of a timeline from which its axis has more labels."""
ZOOM = (
    "const one = this.closest('section'); one.style.setProperty('--zoom', this.value);"
    f"one.dataset.fine = {list(ZOOMS[1:])}.filter(zoom => this.value >= zoom).length"
)
"""JavaScript that widens a timeline by way of the style sheet."""


def waveform(analysis: Analysis) -> str:
    """Return the clip as an inline SVG with a time axis and the analysed part emphasised."""
    prediction = analysis.prediction
    heights = envelope(analysis.waveform)
    start, end = (
        N_COLUMNS * moment_s / prediction.duration_s
        for moment_s in (prediction.speech_start_s, prediction.speech_end_s)
    )
    centres = np.arange(N_COLUMNS) + 0.5
    used = (centres >= start) & (centres <= end)
    caption = words.used_part(prediction)
    return (
        f'<figure class="mm-waveform"><figcaption><h3>{translate("waveform_heading")}</h3>'
        f"<span>{caption}</span></figcaption>"
        f'<div class="mm-time"><svg viewBox="0 0 {N_COLUMNS} 100" preserveAspectRatio="none" '
        f'role="img" aria-label="{translate("waveform")} {caption}">'
        f'<rect class="mm-span" x="{start:.2f}" width="{end - start:.2f}" height="100"/>'
        f'<path class="mm-unused" d="{_strokes(centres[~used], heights[~used])}"/>'
        f'<path class="mm-used" d="{_strokes(centres[used], heights[used])}"/>'
        f'<path class="mm-edges" d="M{start:.2f} 0V100M{end:.2f} 0V100"/></svg>'
        f"{_seek(prediction.duration_s)}</div>{_axis(prediction.duration_s)}</figure>"
    )


def _seek(duration_s: float) -> str:
    """Return the control over a waveform from which a click or a key plays (player.js)."""
    return (
        f'<div class="mm-seek" role="slider" tabindex="0" aria-label="{translate("seek")}" '
        f'aria-valuemin="0" aria-valuemax="{duration_s:.1f}" aria-valuenow="0" '
        'aria-valuetext="0:00.0"></div>'
    )


def plain_waveform(samples: Waveform) -> str:
    """Return a waveform alone, for a place where the text beside it describes it."""
    heights = envelope(samples) * min(1.0, float(np.abs(samples).max()))
    path = _strokes(np.arange(N_COLUMNS) + 0.5, heights)
    return (
        f'<div class="mm-waveform"><svg viewBox="0 0 {N_COLUMNS} 100" preserveAspectRatio="none" '
        f'aria-hidden="true"><path class="mm-used" d="{path}"/></svg></div>'
    )


def envelope(samples: Waveform) -> Waveform:
    """Return the peak of each of `N_COLUMNS` stretches, relative to the highest.

    Args:
        samples: (n_samples,) with at least `N_COLUMNS` samples.

    Returns:
        (N_COLUMNS,) between 0 and 1.
    """
    starts = np.linspace(0, len(samples), N_COLUMNS, endpoint=False, dtype=int)
    peaks = np.maximum.reduceat(np.abs(samples), starts)
    return np.asarray(peaks / max(float(peaks.max()), np.finfo(np.float32).tiny), np.float32)


def _strokes(centres: npt.NDArray[np.floating], heights: Waveform) -> str:
    reach = np.maximum(44.0 * heights, 0.5)  # the faintest still shows as a dot
    pairs = zip(centres, reach, strict=True)
    return "".join(f"M{x:g} {50 - r:.1f}V{50 + r:.1f}" for x, r in pairs)


def _axis(duration_s: float, zooms: Sequence[int] = (1,), *, start_s: float = 0.0) -> str:
    """Return an axis of times, with more labels for each of the zooms (page.css)."""
    level: dict[float, int] = {}
    for i, zoom in enumerate(zooms):
        for tick_s in ticks(duration_s, MAX_TICKS * zoom, start_s=start_s):
            level.setdefault(tick_s, i)
    end_s = start_s + NEAR_END * duration_s
    labels = "".join(
        f'<span class="mm-fine-{i}{" mm-last" if tick_s > end_s else ""}" '
        f'style="--from:{tick_s:g}">{words.seconds(tick_s)}</span>'
        for tick_s, i in sorted(level.items())
    )
    return f'<div class="mm-axis" aria-hidden="true">{labels}</div>'


def ticks(duration_s: float, most: int = MAX_TICKS, *, start_s: float = 0.0) -> tuple[float, ...]:
    """Return round times for the labels of an axis, at most `most`."""
    step_s = next((step for step in TICK_STEPS_S if duration_s / step < most), TICK_STEPS_S[-1])
    first, last = math.ceil(start_s / step_s), int((start_s + duration_s) / step_s)
    return tuple(round(i * step_s, 1) for i in range(first, last + 1))


def lane(moments: Sequence[Moment], prediction: Prediction) -> str:
    """Return the effect of each moment, to be placed under the waveform; nothing for none.

    Those of a small part of the recording have a scale and an axis of their own.

    Args:
        moments: Adjacent, in order.
        prediction: The prediction that they explain.
    """
    if not moments:
        return ""
    most = max(max(abs(moment.weight) for moment in moments), np.finfo(float).tiny)
    cells = "".join(_moment(moment, most) for moment in moments)
    sentence = words.strongest_moment(max(moments, key=lambda m: m.weight), prediction)
    label = escape(sentence)
    drawn = f'<div class="mm-lane" role="img" aria-label="{label}">{cells}</div>'
    start_s, end_s = moments[0].start_s, moments[-1].end_s
    if end_s - start_s < prediction.duration_s / 2:  # moments of a long clip have their own scale
        axis = _axis(end_s - start_s, start_s=start_s)
        scale = f"--start:{start_s:g};--duration:{end_s - start_s:.3f}"
        drawn = f'<div class="mm-close" style="{scale}">{drawn}{axis}</div>'
    return f'{drawn}<p class="mm-small">{label} {translate("moments_method")}</p>'


def _moment(moment: Moment, most: float) -> str:
    kind = "mm-for" if moment.weight >= 0 else "mm-against"
    return (
        f"<span{plays(moment.start_s, moment.end_s, kind=kind)} "
        f'title="{escape(words.moment(moment))}">'
        f'<i style="height:{50 * abs(moment.weight) / most:.0f}%"></i></span>'
    )


def timeline(
    analysis: Analysis, segments: Sequence[Segment] = (), *, text: str | None = None
) -> str:
    """Return a row per emotion with a cell per window, and a lane per speaker with its segments.

    Args:
        analysis: Of a recording, or of the part that has been analysed.
        segments: Its segments so far; of one alone there is no lane.
        text: A sentence about it; None while more is to come.

    Returns:
        HTML; nothing for a short recording of one segment.
    """
    has_windows = len(analysis.windows) > 1 or not analysis.is_whole
    if not has_windows and len(segments) < 2:
        return ""
    rows = _heat_rows(analysis) if has_windows else ""
    rows += _lanes(segments) if len(segments) > 1 else ""
    heading, axis = translate("timeline_heading"), _axis(analysis.prediction.duration_s, ZOOMS)
    zoom = (
        f'<label class="mm-zoom">{translate("timeline_zoom")} <input type="range" min="1" max="10" '
        f'step="0.5" value="1" oninput="{ZOOM}"/></label>'
    )
    about = "" if text is None else f"<p>{escape(text)}</p>{zoom}"
    return (
        f'<section class="mm-timeline"><h3>{heading}</h3>{about}'
        f'<div class="mm-scroll" tabindex="0" role="region" aria-label="{heading}">'
        f'<ul aria-hidden="true">{rows}<li><div class="mm-heat-axis">{axis}</div></li></ul>'
        "</div></section>"
    )


def _heat_rows(analysis: Analysis) -> str:
    windows = _joined(analysis.windows)
    edges_s = [*pairwise(_edges(windows))]
    return "".join(
        _row(
            find_emotion(label).sign,
            words.emotion(label),
            "".join(
                f"<span{plays(start_s, end_s, style=_shade(label, window.probabilities[i]))} "
                f'title="{escape(_window_text("heat", window, label, window.probabilities[i]))}">'
                "</span>"
                for window, (start_s, end_s) in zip(windows, edges_s, strict=True)
            ),
        )
        for i, label in enumerate(analysis.prediction.labels)
    )


def _lanes(segments: Sequence[Segment]) -> str:
    """Return a row per speaker: each segment in the colour of its emotion, as opaque as certain."""
    speakers = list(dict.fromkeys(one.speaker for one in segments))
    if len(speakers) > MAX_LANES:
        speakers, segments = [None], [replace(one, speaker=None) for one in segments]
    return "".join(
        _row(
            "",
            words.speaker(speaker) or translate("segments_lane"),
            "".join(_segment(one) for one in segments if one.speaker == speaker),
            kind=' class="mm-speaker-lane"',
        )
        for speaker in speakers
    )


def _segment(one: Segment) -> str:
    style = _shade(one.prediction.emotion, one.prediction.confidence) if one.prediction else ""
    return (
        f"<span{plays(one.start_s, one.end_s, style=style)} "
        f'title="{escape(words.segment(one))}"></span>'
    )


def _row(sign: str, name: str, cells: str, *, kind: str = "") -> str:
    return (
        f'<li{kind}><span class="mm-sign" aria-hidden="true">{sign}</span>'
        f'<span class="mm-label">{escape(name)}</span><span class="mm-heat">{cells}</span></li>'
    )


def _joined(windows: Sequence[Window]) -> list[Window]:
    """Return at most `MAX_CELLS` windows, each the mean of equally many in a row."""
    n = max(1, math.ceil(len(windows) / MAX_CELLS))
    groups = [windows[i : i + n] for i in range(0, len(windows), n)]
    return [
        Window(
            group[0].start_s,
            group[-1].end_s,
            tuple(map(float, np.mean([window.probabilities for window in group], axis=0))),
        )
        for group in groups
    ]


def _shade(label: str, probability: float) -> str:
    return f"opacity:{probability:.3f};background:{find_emotion(label).colour}"


def _edges(windows: Sequence[Window]) -> list[float]:
    """Return the edges of the cells: halfway between the middles of overlapping windows."""
    middles = [(window.start_s + window.end_s) / 2 for window in windows]
    between = [(a + b) / 2 for a, b in pairwise(middles)]
    return [windows[0].start_s, *between, windows[-1].end_s]


def _window_text(key: str, window: Window, label: str, probability: float) -> str:
    return translate(
        key,
        stretch=words.stretch(window.start_s, window.end_s),
        emotion=words.emotion(label),
        percent=words.percent(probability),
    )


def passages(analysis: Analysis, parts: Sequence[Window] = ()) -> str:
    """Return the parts of a mixed recording, or the clearest passages of a long one, to play.

    Args:
        analysis: Of the recording.
        parts: Its parts of different emotions; fewer than two for a recording of one.
    """
    if len(parts) > 1:
        heading, played = translate("parts_heading"), [*parts]
    elif len(analysis.windows) > 1:
        heading, played = translate("passages_heading"), clearest(analysis.windows)
    else:
        return ""
    items = "".join(_passage(analysis, window) for window in played)
    return f'<section><h3>{heading}</h3><ul class="mm-passages">{items}</ul></section>'


def clearest(windows: Sequence[Window]) -> list[Window]:
    """Return at most `N_PASSAGES` windows of the highest confidence without overlap, in order."""
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
    caption = escape(_window_text("passage", window, label, window.probabilities[k]))
    button = (
        f"<button{plays(window.start_s, window.end_s, kind='mm-play')} "
        f'aria-label="{translate("play", what=caption)}"></button>'
    )
    return f"<li>{button}<span>{find_emotion(label).sign} {caption}</span></li>"


def clearest_by_label(analysis: Analysis) -> dict[str, Stretch]:
    """Return the window in which each label is most probable."""
    best = {
        label: max(analysis.windows, key=lambda window, i=i: window.probabilities[i])  # type: ignore[misc]
        for i, label in enumerate(analysis.prediction.labels)
    }
    return {label: (window.start_s, window.end_s) for label, window in best.items()}
