"""Times of the windows of a long recording, for every configuration that the project ships."""

from dataclasses import replace

import numpy as np
import pytest

from ser_core.config import PipelineConfig
from ser_core.explain import explain
from ser_core.features import cut_windows
from ser_core.model.manifest import Manifest
from ser_core.predictor import Predictor, PreparedClip
from ser_lab.reproduce.recipes import REPRODUCTIONS
from ser_lab.train.recipes import RECIPES
from tests.conftest import RATE_HZ, ROOT, make_babble

START_S, LENGTH_S = 1.5, 600.0
CONFIGS: dict[str, PipelineConfig] = (
    {
        f"model-{path.parent.name}": Manifest.read(path.parent).pipeline
        for path in sorted(ROOT.glob("model/*/manifest.json"))
    }
    | {f"recipe-{name}": recipe.pipeline for name, recipe in RECIPES.items()}
    | {
        recipe.name: recipe.pipeline
        for variants in REPRODUCTIONS.values()
        for recipe in variants
        if recipe.variant in ("", variants[0].variant)
    }
)


class MarkerModel:
    """Answers "happy" where a frame holds a 1, else "sad"; keeps the length of the first clip."""

    def __init__(self, config: PipelineConfig) -> None:
        manifest = Manifest.read(ROOT / "model" / "compact")
        self.labels = ("sad", "happy")
        self.manifest = replace(
            manifest,
            pipeline=config,
            columns=config.features.columns,
            labels=self.labels,
            has_intensity=False,
        )
        self.first_length = 0

    def __call__(self, features: np.ndarray, n_frames: np.ndarray | None = None) -> np.ndarray:
        self.first_length = features.shape[1] if n_frames is None else int(n_frames[0])
        happy = np.where((features[:, :, 0] == 1.0).any(axis=1), 0.9, 0.2)
        return np.stack([1.0 - happy, happy], axis=1).astype(np.float32)

    infer = __call__


@pytest.fixture(scope="module", params=CONFIGS.values(), ids=CONFIGS)
def predictor(request: pytest.FixtureRequest) -> Predictor:
    return Predictor(MarkerModel(request.param))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def short(predictor: Predictor) -> PreparedClip:
    return predictor.prepare((RATE_HZ, make_babble()))


def frames_per_s(config: PipelineConfig) -> float:
    return config.audio.sample_rate_hz / config.features.hop_length


def lengthened(short: PreparedClip, column: np.ndarray, config: PipelineConfig) -> PreparedClip:
    """Make a recording of ten minutes of speech after 1.5 s of silence, with one feature."""
    features = column[:, np.newaxis].astype(np.float32)
    speech = replace(short.speech, start_s=START_S, end_s=START_S + LENGTH_S)
    windows = tuple(cut_windows(features, config))
    return replace(short, speech=speech, features=features, windows=windows)


def n_frames(config: PipelineConfig) -> int:
    return 1 + int((LENGTH_S + 2 * config.features.margin_s) * frames_per_s(config))


def test_a_window_lies_where_its_frames_lie(predictor: Predictor, short: PreparedClip) -> None:
    config = predictor.config
    hop_s, margin_s = 1 / frames_per_s(config), config.features.margin_s
    clip = lengthened(short, np.arange(n_frames(config)), config)
    analysis = predictor.postprocess(clip, np.full((len(clip.windows), 2), 0.5, np.float32))
    assert len(analysis.windows) == len(clip.windows) > 100
    for cut, window in zip(clip.windows, analysis.windows, strict=True):
        first, last = float(cut.features[0, 0]), float(cut.features[-1, 0])
        start_s = max(START_S + first * hop_s - margin_s, START_S)
        end_s = min(START_S + (last + 1) * hop_s - margin_s, START_S + LENGTH_S)
        assert window.start_s == pytest.approx(start_s, abs=hop_s)
        assert window.end_s == pytest.approx(end_s, abs=hop_s)
    assert analysis.windows[0].start_s == START_S
    assert analysis.windows[-1].end_s == pytest.approx(START_S + LENGTH_S, abs=hop_s)


@pytest.mark.parametrize("at_s", [3.0, 588.7, 590.2, 599.8])
def test_the_frame_that_made_the_answer_lies_in_the_moment_that_explains_it(
    predictor: Predictor, short: PreparedClip, at_s: float
) -> None:
    config = predictor.config
    column = np.zeros(n_frames(config))
    column[round((at_s + config.features.margin_s) * frames_per_s(config))] = 1.0
    clip = lengthened(short, column, config)
    answers = predictor.infer([window.features for window in clip.windows])
    analysis = predictor.postprocess(clip, answers)
    happy = replace(analysis, prediction=analysis.prediction.with_probabilities((0.1, 0.9)))
    moments = explain(happy, predictor.model)
    assert predictor.model.first_length == len(clip.windows[0].features)  # type: ignore[attr-defined]
    (moment,) = (moment for moment in moments if moment.weight > 0)
    assert moment.weight == pytest.approx(0.7)
    hop_s = 1 / frames_per_s(config)
    assert moment.start_s - hop_s <= START_S + at_s <= moment.end_s + hop_s
