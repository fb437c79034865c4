"""Gain of voice profiles over the test speakers, from committed records alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.speaker import FLOOR, SpeakerProfile, mean_log, neutral_shift
from ser_lab.evaluate.records import FoldRecord
from ser_lab.metrics import narrow, unweighted_recall

NEUTRAL = "neutral"
N_DRAWS = 5
"""Random draws of the clips for enrolment and corrections."""
N_CORRECTIONS = (0, 10, 20)


@dataclass(frozen=True, slots=True)
class EnrolmentGain:
    """Gain in UAR from voice profiles.

    Attributes:
        n_corrections: Corrected clips of each speaker, besides the neutral ones.
        before: UAR without a profile, on the clips that the profile does not use.
        gain: Mean gain over the draws.
        spread: Its standard deviation over the draws.
    """

    n_corrections: int
    before: float
    gain: float
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class _Voice:
    """One speaker: (n_clips, n_classes) probabilities, (n_clips,) truth, a neutral reference."""

    probabilities: npt.NDArray[np.float64]
    truth: npt.NDArray[np.int64]
    reference: tuple[float, ...]


def measure_enrolment(records: Sequence[FoldRecord]) -> list[EnrolmentGain]:
    """Measure UAR with a profile of each test speaker, built from half of their neutral clips.

    Clips of the profile, corrected ones too, are not part of the figures. The neutral reference
    comes from the neutral clips of all other test speakers.

    Args:
        records: All folds of one seed of a protocol on one corpus.

    Returns:
        A gain for each of `N_CORRECTIONS`; none where no two speakers have neutral clips.
    """
    if not records:
        return []
    classes = records[0].classes
    answers = pd.concat([record.answers for record in records], ignore_index=True)
    probabilities = narrow(answers[list(LABELS)].to_numpy(), LABELS, classes)
    neutral = (answers["truth"] == NEUTRAL).to_numpy()
    voices = []
    for speaker, rows in answers.groupby("speaker", sort=False):
        same = (answers["speaker"] == speaker).to_numpy()
        if (neutral & same).sum() >= 2 and (neutral & ~same).any():
            truth = np.array([classes.index(emotion) for emotion in rows["truth"]])
            reference = mean_log(probabilities[neutral & ~same])
            voices.append(_Voice(probabilities[rows.index], truth, reference))
    if not voices:
        return []
    gains = []
    for n_corrections in N_CORRECTIONS:
        draws = [_adapt(voices, classes, n_corrections, seed) for seed in range(N_DRAWS)]
        before, after = np.array(draws).T
        figures = (before.mean(), (after - before).mean(), (after - before).std())
        gains.append(EnrolmentGain(n_corrections, *map(float, figures)))
    return gains


def _adapt(
    voices: Sequence[_Voice], classes: tuple[str, ...], n_corrections: int, seed: int
) -> tuple[float, float]:
    """Return UAR without and with profiles, over the clips that no profile uses."""
    random = np.random.default_rng(seed)
    truth, before, after = [], [], []
    for voice in voices:
        order = random.permutation(len(voice.truth))
        neutral = [i for i in order if classes[voice.truth[i]] == NEUTRAL]
        enrolled = neutral[: len(neutral) // 2]
        others = [i for i in order if i not in enrolled]
        answers = [Prediction.from_probabilities(row, classes) for row in voice.probabilities]
        shift = neutral_shift(voice.probabilities[enrolled], voice.reference)
        profile = SpeakerProfile("", "", classes, shift)
        for i in others[:n_corrections]:
            profile = profile.corrected(answers[i], classes[voice.truth[i]])
        tested = voice.probabilities[others[n_corrections:]]
        truth += [voice.truth[i] for i in others[n_corrections:]]
        before += tested.argmax(axis=1).tolist()
        after += (np.log(np.maximum(tested, FLOOR)) + profile.adjustment).argmax(axis=1).tolist()
    actual = np.array(truth)
    without, adapted = (
        unweighted_recall(actual, np.array(predicted) == actual) for predicted in (before, after)
    )
    return without, adapted
