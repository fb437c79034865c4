"""A recording after each stage, and its pictures."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ser_core.config import PipelineConfig
from ser_core.features import extract_features
from ser_core.plots import (
    PAPER_PICTURES,
    PICTURES,
    FigureStyle,
    draw_features,
    draw_sound,
    loudest_frame,
)
from ser_core.predictor import trace_pipeline
from ser_core.preprocess import Waveform, preprocess

RATE_HZ = 16_000
CONFIG = PipelineConfig()


@pytest.fixture(scope="module")
def clip() -> Waveform:
    """A second of a rising tone between silences, with an offset."""
    t = np.arange(RATE_HZ) / RATE_HZ
    tone = 0.2 * np.sin(2 * np.pi * (200 + 100 * t) * t)
    silence = np.zeros(RATE_HZ // 2)
    return (np.concatenate([silence, tone, silence]) + 0.1).astype(np.float32)


def test_the_last_stage_is_what_serving_hears(clip: Waveform) -> None:
    for denoise in (False, True):
        config = replace(CONFIG, preprocess=replace(CONFIG.preprocess, noise_reduction=denoise))
        walk = trace_pipeline((RATE_HZ, clip), config)
        names = ["loaded", "levelled", "trimmed", *(["denoised"] if denoise else [])]
        assert [stage.name for stage in walk.stages] == names
        speech = preprocess(clip, config).samples
        np.testing.assert_array_equal(walk.stages[-1].waveform, speech)
        np.testing.assert_array_equal(walk.features, extract_features(speech, config))


def test_each_stage_does_what_it_says(clip: Waveform) -> None:
    loaded, levelled, trimmed = (
        stage.waveform for stage in trace_pipeline((RATE_HZ, clip), CONFIG).stages
    )
    np.testing.assert_array_equal(loaded, clip)
    assert len(levelled) == len(clip)
    assert abs(levelled.mean()) < 1e-4
    assert np.abs(levelled).max() == pytest.approx(1.0)
    assert 0.9 * RATE_HZ < len(trimmed) < 1.3 * RATE_HZ


def test_every_picture_is_a_png_of_one_size(clip: Waveform) -> None:
    pictures = draw_sound(clip, RATE_HZ)
    assert [picture.name for picture in pictures] == list(PICTURES)
    images = [Image.open(io.BytesIO(picture.png)) for picture in pictures]
    assert {image.format for image in images} == {"PNG"}
    assert {image.size for image in images} == {(880, 286)}
    assert len({picture.png for picture in pictures}) == len(PICTURES)
    for image in images:
        assert np.asarray(image.convert("L"), float).std() > 1.0  # something is drawn


def test_the_spectrogram_shows_where_the_tone_is(clip: Waveform) -> None:
    spectrogram = np.asarray(Image.open(io.BytesIO(draw_sound(clip, RATE_HZ)[0].png)).convert("L"))
    width = spectrogram.shape[1]
    middle = spectrogram[20:220, int(0.45 * width) : int(0.55 * width)].mean()
    end = spectrogram[20:220, int(0.92 * width) : int(0.97 * width)].mean()
    assert middle > end


def test_silence_and_a_long_clip_are_drawn_too(clip: Waveform) -> None:
    assert len(draw_sound(np.zeros(RATE_HZ, np.float32), RATE_HZ)) == len(PICTURES)
    assert len(draw_sound(np.tile(clip, 60), RATE_HZ)) == len(PICTURES)


def test_features_are_drawn(clip: Waveform) -> None:
    walk = trace_pipeline((RATE_HZ, clip), CONFIG)
    assert Image.open(io.BytesIO(draw_features(walk.features, walk.hop_s))).format == "PNG"


def test_pictures_of_several_sounds_share_their_axes(clip: Waveform) -> None:
    look = FigureStyle(end_s=4.0, peak=2.0, loudest=loudest_frame(10 * clip))
    alone, beside = (
        {picture.name: picture.png for picture in draw_sound(clip, RATE_HZ, **options)}
        for options in (
            {"pictures": PAPER_PICTURES},
            {"pictures": PAPER_PICTURES, "look": look},
        )
    )
    assert list(alone) == list(PAPER_PICTURES)
    changed = {name for name in alone if alone[name] != beside[name]}
    assert changed == set(PAPER_PICTURES) - {"Fourier spectrum"}


def test_the_loudest_frame_of_a_tone_is_its_rms() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(RATE_HZ) / RATE_HZ)
    assert loudest_frame(tone.astype(np.float32)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
