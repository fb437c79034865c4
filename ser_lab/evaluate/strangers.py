"""Calibration on corpora that were not trained on: how sure may answers about strangers be?"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from ser_core.labels import LABELS
from ser_core.model.manifest import Certainty
from ser_lab.evaluate.records import FoldRecord
from ser_lab.metrics import Calibration, Floats, find_threshold

PROTOCOLS = ("strangers", "cross-corpus")
"""Protocols of unseen corpora: the first one with records of a recipe calibrates its model."""
PRECISION = 0.75
"""Share of the certain answers about an unseen corpus that is right, the mean over corpora."""
SMALLEST = 1e-6
"""Least probability before the logarithm; records round to more than that."""
CALM, NEUTRAL = LABELS.index("calm"), LABELS.index("neutral")


def merge_calm(probabilities: Floats, emotions: Sequence[str]) -> npt.NDArray[np.float64]:
    """Add calm to neutral, or neutral to calm, where a corpus has one of the two alone.

    Args:
        probabilities: (n_clips, n_labels) in the order of `LABELS`.
        emotions: Emotions of the corpus.

    Returns:
        (n_clips, n_labels); the other one of the two is 0.
    """
    merged = np.array(probabilities, dtype=np.float64)
    if ("calm" in emotions) != ("neutral" in emotions):
        kept, other = (CALM, NEUTRAL) if "calm" in emotions else (NEUTRAL, CALM)
        merged[:, kept] += merged[:, other]
        merged[:, other] = 0.0
    return merged


@dataclass(frozen=True, slots=True)
class StrangerAnswers:
    """Answers about one corpus by a model that was not trained on it.

    Attributes:
        probabilities: (n_clips, n_labels) over all of `LABELS`.
        truth: (n_clips,) indices into them.
        emotions: Emotions of the corpus.
    """

    probabilities: Floats
    truth: npt.NDArray[np.int64]
    emotions: tuple[str, ...]

    @classmethod
    def of(cls, record: FoldRecord) -> Self:
        """Return the answers of a record."""
        truth = np.array([LABELS.index(emotion) for emotion in record.answers["truth"]])
        return cls(record.answers[list(LABELS)].to_numpy(), truth, record.classes)

    def tempered(self, temperature: float) -> Floats:
        """Return (n_clips, n_labels) probabilities with their logits divided."""
        logits = np.log(np.maximum(self.probabilities, SMALLEST))
        return np.asarray(softmax(logits / temperature, axis=1))

    def cross_entropy(self, temperature: float) -> float:
        """Return the mean cross-entropy at a temperature."""
        merged = merge_calm(self.tempered(temperature), self.emotions)
        right = merged[np.arange(len(self.truth)), self.truth]
        return float(-np.log(np.maximum(right, SMALLEST)).mean())

    def confidences(self, temperature: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Return (n_clips,) confidences over all labels, as served, and whether each is right.

        Calm is right for neutral, and neutral for calm, where the corpus has one of them alone.
        """
        tempered = self.tempered(temperature)
        predicted = merge_calm(np.eye(len(LABELS))[tempered.argmax(axis=1)], self.emotions)
        return tempered.max(axis=1), predicted.argmax(axis=1) == self.truth


def calibrate_on_strangers(corpora: Sequence[StrangerAnswers]) -> Calibration:
    """Fit a temperature, and the least confidence of certain answers; corpora count alike.

    Returns:
        The temperature, by which logits are divided once more, and the threshold for
        probabilities after that.
    """

    def loss(log_temperature: float) -> float:
        return float(np.mean([c.cross_entropy(float(np.exp(log_temperature))) for c in corpora]))

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded").x))
    pairs = [corpus.confidences(temperature) for corpus in corpora]
    confidence, right = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    weight = np.concatenate([np.full(len(c), 1.0 / (len(c) * len(pairs))) for c, _ in pairs])
    certainty = find_threshold(confidence, right, precision=PRECISION, weights=weight)
    return Calibration(temperature, certainty)


def recalibrate(records: Sequence[FoldRecord]) -> list[tuple[FoldRecord, Certainty]]:
    """Calibrate each record on the answers about all other corpora.

    Args:
        records: One a corpus, of one seed.

    Returns:
        The records with their probabilities tempered, and for each the threshold together with
        the share of its answers that are certain, and how many of those are right.
    """
    answers = [StrangerAnswers.of(record) for record in records]
    calibrated = []
    for i, (record, own) in enumerate(zip(records, answers, strict=True)):
        calibration = calibrate_on_strangers([*answers[:i], *answers[i + 1 :]])
        confidence, right = own.confidences(calibration.temperature)
        certain = confidence >= calibration.certainty.confidence
        found = Certainty(
            calibration.certainty.confidence,
            float(right[certain].mean()) if certain.any() else 1.0,
            float(certain.mean()),
        )
        table = record.answers.copy()
        table[list(LABELS)] = own.tempered(calibration.temperature)
        calibrated.append((replace(record, answers=table), found))
    return calibrated


def calibrated_for_strangers(
    calibration: Calibration, runs: Path, name: str, settings: dict[str, Any]
) -> Calibration | None:
    """Return a calibration corrected by the records of a recipe's first seed in one of `PROTOCOLS`.

    Args:
        calibration: That of the network, on development speakers.
        runs: Folder of all records.
        name: Name of the recipe.
        settings: Settings of the recipe; records of others do not count.

    Returns:
        None where there are no such records.
    """
    stored = json.loads(json.dumps(settings))  # lists instead of tuples
    for protocol in PROTOCOLS:
        paths = sorted((runs / protocol / name).glob("seed-0/*.json"))
        found = [record for record in map(FoldRecord.read, paths) if record.settings == stored]
        if found:
            break
    else:
        return None
    correction = calibrate_on_strangers([StrangerAnswers.of(record) for record in found])
    temperature = calibration.temperature * correction.temperature
    return Calibration(temperature, correction.certainty)
