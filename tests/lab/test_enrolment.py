"""What it brings to teach a voice."""

import numpy as np
import pandas as pd

from ser_core.labels import LABELS
from ser_lab.evaluate.enrolment import measure_enrolment
from ser_lab.evaluate.records import ANSWER_COLUMNS, FoldRecord

N = len(LABELS)


def record(leanings: dict[str, int], *, strength: float) -> FoldRecord:
    """Answers that are right but for a leaning of each speaker's voice to one emotion."""
    random = np.random.default_rng(0)
    rows = []
    for speaker, leaning in leanings.items():
        for i in range(20 * N):
            logits = random.normal(0, 0.5, N)
            logits[i % N] += 2.0
            logits[leaning] += strength
            shares = np.exp(logits) / np.exp(logits).sum()
            rows.append((f"{speaker}-{i}", speaker, "female", LABELS[i % N], *shares))
    return FoldRecord(
        key="", protocol="p", fold="f", recipe="r", settings={}, seed=0, classes=LABELS,
        commit="", machine={}, wall_s=0.0, n_train=0, n_development=0,
        answers=pd.DataFrame(rows, columns=list(ANSWER_COLUMNS)),
    )  # fmt: skip


def test_voices_with_a_leaning_gain_and_corrections_bring_more() -> None:
    gains = measure_enrolment([record({"a/1": 3, "a/2": 4, "a/3": 5}, strength=2.0)])
    assert [gain.n_corrections for gain in gains] == [0, 10, 20]
    assert gains[0].gain > 0.02
    assert gains[2].gain > gains[0].gain


def test_voices_without_a_leaning_neither_gain_nor_lose_much() -> None:
    gains = measure_enrolment([record({"a/1": 3, "a/2": 4, "a/3": 5}, strength=0.0)])
    assert abs(gains[0].gain) < 0.02


def test_without_another_speaker_nothing_can_be_measured() -> None:
    assert measure_enrolment([record({"a/1": 3}, strength=2.0)]) == []
