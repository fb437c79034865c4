"""Plots of recordings and features."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ser_core import plots
from ser_core.plots import PICTURES, FigureStyle, draw_features, draw_sound, share_axes
from ser_core.preprocess import Waveform

RATE_HZ = 16_000


def draw(waveform: Waveform, **options: Any) -> dict[str, bytes]:
    """The plots by name."""
    return {picture.name: picture.png for picture in draw_sound(waveform, RATE_HZ, **options)}


def brightness(png: bytes) -> float:
    """Mean of the plot itself, without axes."""
    image = np.asarray(Image.open(io.BytesIO(png)).convert("L"), float)
    return float(image[20:200, 120:720].mean())


def test_every_picture_is_a_png_of_one_size(tone: Waveform) -> None:
    pictures = draw_sound(tone, RATE_HZ)
    assert [picture.name for picture in pictures] == list(PICTURES)
    images = [Image.open(io.BytesIO(picture.png)) for picture in pictures]
    assert {image.format for image in images} == {"PNG"}
    assert {image.size for image in images} == {(880, 286)}
    assert len({picture.png for picture in pictures}) == len(PICTURES)
    for image in images:
        assert np.asarray(image.convert("L"), float).std() > 1.0  # something is drawn


def test_the_spectrogram_shows_where_the_tone_is(tone: Waveform) -> None:
    png = draw(tone)["spectrogram"]
    spectrogram = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    width = spectrogram.shape[1]
    middle = spectrogram[20:200, int(0.45 * width) : int(0.55 * width)].mean()
    end = spectrogram[20:200, int(0.8 * width) : int(0.85 * width)].mean()
    assert middle > end


def test_silence_and_a_long_clip_are_drawn_too(tone: Waveform) -> None:
    assert len(draw_sound(np.zeros(RATE_HZ, np.float32), RATE_HZ)) == len(PICTURES)
    assert len(draw_sound(np.tile(tone, 60), RATE_HZ)) == len(PICTURES)


def test_features_are_drawn() -> None:
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    assert Image.open(io.BytesIO(draw_features(features, 0.01))).format == "PNG"


def test_pictures_of_several_sounds_share_their_axes(tone: Waveform) -> None:
    louder = np.concatenate([2 * tone, tone])
    style = share_axes([tone, louder], RATE_HZ)
    assert style.end_s == len(louder) / RATE_HZ
    alone, beside = draw(tone), draw(tone, style=style)
    assert all(alone[name] != beside[name] for name in PICTURES)
    assert draw(louder) == draw(louder, style=style)


def test_a_faint_sound_is_dark_beside_a_loud_one(tone: Waveform) -> None:
    faint = 0.001 * tone
    style = share_axes([tone, faint], RATE_HZ)
    alone, beside = draw(faint), draw(faint, style=style)
    for name in ("spectrogram", "mel spectrogram", "energy"):
        assert brightness(beside[name]) < 0.7 * brightness(alone[name])


@pytest.mark.parametrize(
    ("duration_s", "unit", "ticks"),
    [
        (0.5, "s", ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        (3.0, "s", ["0", "0.5", "1", "1.5", "2", "2.5", "3"]),
        (90.0, "min:s", ["0:00", "0:15", "0:30", "0:45", "1:00", "1:15", "1:30"]),
        (600.0, "min:s", ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]),
    ],
)
def test_times_have_the_unit_of_their_ticks(
    monkeypatch: pytest.MonkeyPatch, duration_s: float, unit: str, ticks: list[str]
) -> None:
    seen: dict[str, tuple[str, list[str]]] = {}

    def note(draw: Callable[[Axes], None], style: FigureStyle) -> bytes:
        axes = Figure(style.size_inches).add_subplot()
        draw(axes)
        ends = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        inside = [label.get_text() for tick, label in ends if 0 <= tick <= axes.get_xlim()[1]]
        seen[str(len(seen))] = axes.get_xlabel(), inside
        return b""

    monkeypatch.setattr(plots, "_to_png", note)
    sound = np.random.default_rng(0).normal(size=round(duration_s * 8_000)).astype(np.float32)
    plots.draw_sound(0.1 * sound, 8_000)
    shown = dict(zip(PICTURES, seen.values(), strict=True))
    assert shown.pop("Fourier spectrum")[0] == "kHz"
    pitch = shown.pop("pitch")
    assert pitch[0] == "s"
    assert shown == dict.fromkeys(shown, (unit, ticks))
