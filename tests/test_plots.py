"""Plots of recordings and features."""

import io

import numpy as np
import pytest
from PIL import Image

from ser_core.plots import (
    PAPER_PICTURES,
    PICTURES,
    FigureStyle,
    draw_features,
    draw_sound,
    loudest_frame,
)
from ser_core.preprocess import Waveform

RATE_HZ = 16_000


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
    spectrogram = np.asarray(Image.open(io.BytesIO(draw_sound(tone, RATE_HZ)[0].png)).convert("L"))
    width = spectrogram.shape[1]
    middle = spectrogram[20:220, int(0.45 * width) : int(0.55 * width)].mean()
    end = spectrogram[20:220, int(0.92 * width) : int(0.97 * width)].mean()
    assert middle > end


def test_silence_and_a_long_clip_are_drawn_too(tone: Waveform) -> None:
    assert len(draw_sound(np.zeros(RATE_HZ, np.float32), RATE_HZ)) == len(PICTURES)
    assert len(draw_sound(np.tile(tone, 60), RATE_HZ)) == len(PICTURES)


def test_features_are_drawn() -> None:
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    assert Image.open(io.BytesIO(draw_features(features, 0.01))).format == "PNG"


def test_pictures_of_several_sounds_share_their_axes(tone: Waveform) -> None:
    style = FigureStyle(end_s=4.0, peak=2.0, loudest=loudest_frame(10 * tone))
    alone, beside = (
        {picture.name: picture.png for picture in draw_sound(tone, RATE_HZ, **options)}
        for options in (
            {"pictures": PAPER_PICTURES},
            {"pictures": PAPER_PICTURES, "style": style},
        )
    )
    assert list(alone) == list(PAPER_PICTURES)
    changed = {name for name in alone if alone[name] != beside[name]}
    assert changed == set(PAPER_PICTURES) - {"Fourier spectrum"}


def test_the_loudest_frame_of_a_tone_is_its_rms() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(RATE_HZ) / RATE_HZ)
    assert loudest_frame(tone.astype(np.float32)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
