"""Which moments of a recording spoke for the answer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ser_core.features import Features, cut_windows, pad_features
from ser_core.model.emotion_model import EmotionModel
from ser_core.prediction import Analysis

MOMENT_S = 0.3
"""Length of a moment, about a syllable and a half."""
METHOD = "occlusion"
"""How the weights were found: by leaving each moment out."""
MIN_MOMENTS = 4
"""Fewer moments than these say nothing about where in a clip the answer lies."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One short stretch of a recording and what it did for the answer.

    Attributes:
        start_s: Where it begins in the recording.
        end_s: Where it ends.
        weight: How much lower the emotion's probability is without it; negative where the
            moment spoke against the answer.
    """

    start_s: float
    end_s: float
    weight: float


def explain(analysis: Analysis, model: EmotionModel) -> tuple[Moment, ...]:
    """Leave out moment after moment, and see how the answer changes.

    Of a recording longer than a window, the window that is most like the answer is
    explained: it spoke the loudest.

    Args:
        analysis: What `Predictor.analyse` gave.
        model: The model that answered.

    Returns:
        Moments in order, side by side; none for a clip too short to be divided.

    Source: Zeiler and Fergus 2014, occlusion, over time.
    """
    prediction = analysis.prediction
    top = prediction.labels.index(prediction.emotion)
    config = model.manifest.pipeline
    cuts = zip(analysis.windows, cut_windows(analysis.features, config), strict=True)
    window, cut = max(cuts, key=lambda pair: pair[0].probabilities[top])
    n_moments = int((window.end_s - window.start_s) / MOMENT_S)
    if n_moments < MIN_MOMENTS:
        return ()
    edges_s = np.linspace(window.start_s, window.end_s, n_moments + 1)
    # The window may begin before the speech and end after it, in silence put around it.
    frames_per_s = config.audio.sample_rate_hz / config.features.hop_length
    frames = (edges_s - prediction.speech_start_s - cut.start_s) * frames_per_s
    edges = np.clip(np.round(frames).astype(np.intp), 0, len(cut.features))
    clips = [cut.features, *_without_each(cut.features, edges)]
    answers = model(*pad_features(clips))[:, top]  # (1 + n_moments,)
    return tuple(
        Moment(round(float(a), 3), round(float(b), 3), float(answers[0] - without))
        for a, b, without in zip(edges_s[:-1], edges_s[1:], answers[1:], strict=True)
    )


def to_dict(analysis: Analysis, moments: Sequence[Moment]) -> dict[str, Any]:
    """Plain JSON types, the answer of the API and the command line.

    Args:
        analysis: What was explained.
        moments: What `explain` gave.
    """
    prediction = analysis.prediction
    return {
        "emotion": prediction.emotion,
        "confidence": prediction.confidence,
        "method": METHOD,
        "moments": [asdict(moment) for moment in moments],
    }


def _without_each(features: Features, edges: npt.NDArray[np.intp]) -> list[Features]:
    pairs = pairwise(edges)
    return [np.concatenate([features[:a], features[b:]]) for a, b in pairs]
