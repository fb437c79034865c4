"""What it brings to teach a model one speaker's voice, from the committed records alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.speaker import SpeakerProfile, mean_log, neutral_shift
from ser_lab.evaluate.records import FoldRecord
from ser_lab.metrics import narrow, unweighted_recall

CALM = "neutral"
"""The emotion whose clips stand for a visitor's ordinary speech."""
N_DRAWS = 5
"""How often enrolment and corrections are drawn anew."""
N_CORRECTIONS = (0, 10, 20)


@dataclass(frozen=True, slots=True)
class EnrolmentGain:
    """Points of UAR that a taught voice brings.

    Attributes:
        n_corrections: Corrections beside the calm speech.
        before: UAR on the scored clips without a taught voice.
        gain: Mean gain over the draws.
        spread: Its standard deviation over the draws.
    """

    n_corrections: int
    before: float
    gain: float
    spread: float


def measure_enrolment(records: Sequence[FoldRecord]) -> list[EnrolmentGain]:
    """Teach each test speaker's voice from half of his neutral clips, which are not scored.

    Corrected clips are not scored, either. What calm speech sounds like to the model is
    learned from the neutral clips of all other test speakers.

    Args:
        records: One seed of a protocol that tests one corpus; all its folds.

    Returns:
        A gain for each of `N_CORRECTIONS`; none where nobody says enough in a neutral voice.
    """
    classes = records[0].classes
    answers = pd.concat([record.answers for record in records], ignore_index=True)
    heard = narrow(answers[list(LABELS)].to_numpy(), LABELS, classes)
    calm = (answers["truth"] == CALM).to_numpy()
    voices = []
    for speaker, rows in answers.groupby("speaker", sort=False):
        own = (answers["speaker"] == speaker).to_numpy()
        if (calm & own).sum() >= 2 and (calm & ~own).any():
            truth = np.array([classes.index(emotion) for emotion in rows["truth"]])
            voices.append(_Voice(heard[rows.index], truth, mean_log(heard[calm & ~own])))
    if not voices:
        return []
    gains = []
    for n_corrections in N_CORRECTIONS:
        draws = [_draw(voices, classes, n_corrections, seed) for seed in range(N_DRAWS)]
        before, after = np.array(draws).T
        figures = (before.mean(), (after - before).mean(), (after - before).std())
        gains.append(EnrolmentGain(n_corrections, *map(float, figures)))
    return gains


def read_seed(folder: Path) -> list[FoldRecord]:
    """The records of a recipe's first seed.

    Args:
        folder: A recipe's folder in a protocol's.
    """
    return [FoldRecord.read(path) for path in sorted((folder / "seed-0").glob("*.json"))]


@dataclass(frozen=True, slots=True, eq=False)
class _Voice:
    """One speaker's clips: (n_clips, n_classes) probabilities, (n_clips,) truth, a reference."""

    heard: npt.NDArray[np.float64]
    truth: npt.NDArray[np.int64]
    reference: tuple[float, ...]


def _draw(
    voices: Sequence[_Voice], classes: tuple[str, ...], n_corrections: int, seed: int
) -> tuple[float, float]:
    """UAR without and with taught voices, over the clips that taught nothing."""
    random = np.random.default_rng(seed)
    truth, before, after = [], [], []
    for voice in voices:
        order = random.permutation(len(voice.truth))
        calm = [i for i in order if classes[voice.truth[i]] == CALM]
        enrolled = calm[: len(calm) // 2]
        others = [i for i in order if i not in enrolled]
        shift = neutral_shift(voice.heard[enrolled], voice.reference)
        profile = SpeakerProfile("", "", classes, shift)
        for i in others[:n_corrections]:
            answer = Prediction.from_probabilities(voice.heard[i], classes)
            profile = profile.corrected(answer, classes[voice.truth[i]])
        for i in others[n_corrections:]:
            answer = Prediction.from_probabilities(voice.heard[i], classes)
            truth.append(voice.truth[i])
            before.append(classes.index(answer.emotion))
            after.append(classes.index(profile.adapt(answer).emotion))
    actual = np.array(truth)
    was, became = (np.array(said) == actual for said in (before, after))
    return unweighted_recall(actual, was), unweighted_recall(actual, became)
