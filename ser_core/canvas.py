"""What every picture is drawn on: its size, its colours, and the file that comes of it.

matplotlib is loaded when the first picture is drawn, so that a start does without it.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, CHALK = "#131617", "#eeebe4"


@dataclass(frozen=True, slots=True)
class Look:
    """How pictures are drawn: how large, and on which axes, so that several can be compared.

    Attributes:
        size_inches: Width and height.
        dots_per_inch: Resolution.
        font_points: Size of the text.
        end_s: Where the time axis ends; where None, at the end of the sound.
        peak: Where the axis of the waveform ends; where None, at the highest sample.
        loudest: The RMS that is 0 dB in the picture of the energy; where None, that of the
            loudest frame.
    """

    size_inches: tuple[float, float] = (8.0, 2.6)
    dots_per_inch: int = 110
    font_points: float = 11.0
    end_s: float | None = None
    peak: float | None = None
    loudest: float | None = None


PAGE = Look()
"""How the page has its pictures."""


def to_png(draw: Callable[["Axes"], None], look: Look) -> bytes:
    """Draw a picture.

    Args:
        draw: Draws on empty axes.
        look: Size of the picture and of its text.
    """
    from matplotlib.figure import Figure

    # Outside pyplot, whose state threads would share.
    figure = Figure(look.size_inches, look.dots_per_inch, facecolor=INK, layout="constrained")
    axes = figure.add_subplot(facecolor=INK)
    draw(axes)
    axes.tick_params(colors=CHALK, labelsize=look.font_points)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=CHALK, fontsize=look.font_points)
    for spine in axes.spines.values():
        spine.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
