"""Contribution of each moment of a recording to its prediction."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ser_core.features import cut_windows, pad_features
from ser_core.model.emotion_model import EmotionModel
from ser_core.prediction import Analysis

MOMENT_S = 0.3
"""Length of a moment, about one and a half syllables."""
MIN_MOMENTS = 4
"""Least number of moments of a clip that is explained."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Contribution of a short part of a recording.

    Attributes:
        start_s: Start in the recording.
        end_s: End in the recording.
        weight: Decrease of the emotion's probability without it; negative where the
            probability increases.
    """

    start_s: float
    end_s: float
    weight: float


def explain(analysis: Analysis, model: EmotionModel) -> tuple[Moment, ...]:
    """Leave out one moment after another, and measure the change of the prediction.

    Of a recording longer than a window, the window with the highest probability of the
    predicted emotion is explained.

    Args:
        analysis: Result of `Predictor.analyse`.
        model: The model that it came from.

    Returns:
        Adjacent moments in order; none for a clip that is too short.

    Source: Zeiler and Fergus 2014, occlusion, over time.
    """
    prediction = analysis.prediction
    top = prediction.labels.index(prediction.emotion)
    config = model.manifest.pipeline
    cuts = zip(analysis.windows, cut_windows(analysis.features, config), strict=False)
    window, cut = max(cuts, key=lambda pair: pair[0].probabilities[top])
    n_moments = int((window.end_s - window.start_s) / MOMENT_S)
    if n_moments < MIN_MOMENTS:
        return ()
    edges_s = np.linspace(window.start_s, window.end_s, n_moments + 1)
    # The window may begin before the speech and end after it, in the margins of silence.
    frames_per_s = config.audio.sample_rate_hz / config.features.hop_length
    frames = (edges_s - prediction.speech_start_s - cut.start_s) * frames_per_s
    edges = np.clip(np.round(frames).astype(np.intp), 0, len(cut.features))
    without_each = [
        np.concatenate([cut.features[:a], cut.features[b:]]) for a, b in pairwise(edges)
    ]
    clips = [cut.features, *without_each]
    answers = model(*pad_features(clips))[:, top]  # (1 + n_moments,)
    return tuple(
        Moment(round(float(a), 3), round(float(b), 3), float(answers[0] - without))
        for a, b, without in zip(edges_s[:-1], edges_s[1:], answers[1:], strict=True)
    )


def to_dict(analysis: Analysis, moments: Sequence[Moment]) -> dict[str, Any]:
    """Return an explanation in plain JSON types, as the API and the command line show it."""
    prediction = analysis.prediction
    return {
        "emotion": prediction.emotion,
        "confidence": prediction.confidence,
        "method": "occlusion",
        "moments": [asdict(moment) for moment in moments],
    }
