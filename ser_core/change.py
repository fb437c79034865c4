"""Change of emotion within a recording: whether one emotion or several in turn explain it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ser_core.features import Features
from ser_core.model.emotion_model import EmotionModel, Probabilities, in_batches
from ser_core.prediction import Analysis, Window
from ser_core.preprocess import Waveform

PENALTY = 1.5
"""Log probability that each change has to gain; `benchmarks/changes.py` measures it."""
MAX_DURATION_S = 30.0
"""Longest recording that is cut into phrases; a longer one has a timeline."""
PAUSE_S, MIN_PHRASE_S = 0.3, 0.8
"""Shortest silence between two phrases, and shortest phrase."""
QUIET_DB = 25.0
"""Level of silence below the loudest frame."""
FRAME_S = 0.02
AT_ONCE = 4


def find_parts(analysis: Analysis, model: EmotionModel) -> tuple[Window, ...]:
    """Cut a recording where its emotion changes.

    The speech between two pauses is a phrase, with probabilities of its own. The emotions of the
    phrases are those whose log probabilities before calibration have the largest sum, less
    `PENALTY` for each change: with one change this is a CUSUM test.

    Args:
        analysis: Result of `Predictor.analyse`.
        model: The model that it came from.

    Returns:
        Adjacent parts in order, with the mean probabilities of their phrases; one alone where the
        emotion does not change, and none for a recording that is too long.

    Source: Page 1954, CUSUM; Viterbi 1967, for any number of changes.
    """
    prediction, rate_hz = analysis.prediction, analysis.sample_rate_hz
    start_s, end_s = prediction.speech_start_s, prediction.speech_end_s
    if end_s - start_s > MAX_DURATION_S or not analysis.is_whole:
        return ()
    speech = analysis.waveform[round(start_s * rate_hz) : round(end_s * rate_hz)]
    edges_s = [0.0, *_find_pauses(speech, rate_hz), end_s - start_s]
    if len(edges_s) == 2:
        return (Window(start_s, end_s, prediction.probabilities),)
    clips = list(_cut(analysis.features, edges_s, model))
    answers = in_batches(model, clips, n_outputs=len(prediction.labels), at_once=AT_ONCE)
    scores = np.log(np.maximum(answers, np.finfo(np.float32).tiny)) * prediction.temperature
    scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)  # before calibration
    return tuple(_join(best_path(scores, PENALTY), edges_s, answers, start_s))


def _find_pauses(speech: Waveform, rate_hz: int) -> list[float]:
    """Return the middle of each pause in seconds, at least `MIN_PHRASE_S` from one another."""
    length = round(FRAME_S * rate_hz)
    n_frames = len(speech) // length
    frames = speech[: n_frames * length].reshape(n_frames, length)
    level_db = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-12)
    voiced = np.flatnonzero(level_db > level_db.max() - QUIET_DB)  # frames
    gaps = np.diff(voiced) - 1
    found: list[float] = []
    for i in np.flatnonzero(gaps >= PAUSE_S / FRAME_S):
        middle_s = float(voiced[i] + 1 + gaps[i] / 2) * FRAME_S
        if middle_s - (found[-1] if found else 0.0) >= MIN_PHRASE_S:
            found.append(middle_s)
    while found and len(speech) / rate_hz - found[-1] < MIN_PHRASE_S:
        found.pop()
    return found


def _cut(features: Features, edges_s: Sequence[float], model: EmotionModel) -> Iterator[Features]:
    """Yield the features between two edges each, with the margins where they have any."""
    config = model.manifest.pipeline
    frames_per_s = config.audio.sample_rate_hz / config.features.hop_length
    margin_s = config.features.margin_s
    for start_s, end_s in pairwise(edges_s):
        first, last = start_s * frames_per_s, (end_s + 2 * margin_s) * frames_per_s
        yield features[round(first) : round(last)]


def best_path(scores: npt.NDArray[np.floating], penalty: float) -> list[int]:
    """Return the labels with the largest sum of scores, less a penalty for each change.

    Args:
        scores: (n_phrases, n_labels).
        penalty: At least 0.

    Returns:
        One label a phrase.
    """
    total, before = scores[0], []
    for row in scores[1:]:
        k = int(total.argmax())
        stays = total >= total[k] - penalty
        before.append(np.where(stays, np.arange(len(total)), k))
        total = np.where(stays, total, total[k] - penalty) + row
    path = [int(total.argmax())]
    for origins in reversed(before):
        path.append(int(origins[path[-1]]))
    return path[::-1]


def _join(
    path: Sequence[int], edges_s: Sequence[float], answers: Probabilities, start_s: float
) -> Iterator[Window]:
    """Yield a part for each stretch of phrases with one label."""
    durations_s = np.diff(edges_s)
    changes = [i for i in range(1, len(path)) if path[i] != path[i - 1]]
    for a, b in zip([0, *changes], [*changes, len(path)], strict=True):
        mean = np.average(answers[a:b], axis=0, weights=durations_s[a:b])
        where_s = round(start_s + edges_s[a], 3), round(start_s + edges_s[b], 3)
        yield Window(*where_s, tuple(map(float, mean)))
