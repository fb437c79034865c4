"""Pure functions that draw a waveform as inline SVG."""

import numpy as np
import numpy.typing as npt

from ser_core.prediction import Analysis
from ser_core.web import words
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
