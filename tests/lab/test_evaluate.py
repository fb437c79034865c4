"""A model's test figures: corpus by corpus, and the command that repeats them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ser_core.labels import LABELS
from ser_lab.evaluate.shipped import reproduce_command, scores_by_corpus


def test_each_tested_corpus_is_scored_among_its_own_emotions() -> None:
    answers = pd.DataFrame(np.full((3, 8), 0.01), columns=list(LABELS))
    answers["corpus"] = ["ravdess", "crema-d", "crema-d"]
    answers["sex"] = ["female", "male", "female"]
    answers["emotion"] = ["calm", "sad", "angry"]
    answers.loc[0, "calm"] = answers.loc[1, "calm"] = answers.loc[2, "angry"] = 0.9
    answers.loc[1, "sad"] = 0.05
    scores = scores_by_corpus(answers)
    assert list(scores) == ["ravdess", "crema-d"]
    assert (scores["ravdess"].n_clips, scores["crema-d"].n_clips) == (1, 2)
    assert "calm" not in scores["crema-d"].per_emotion
    assert scores["crema-d"].uar == 1.0  # no calm in CREMA-D: sad is the likeliest left
    by_sex = scores_by_corpus(answers, by_sex=True)
    assert list(by_sex) == ["ravdess, female", "crema-d, male", "crema-d, female"]


@pytest.mark.parametrize("name", ["accurate", "compact"])
def test_a_bundled_model_is_measured_again_by_its_name(name: str) -> None:
    bundled = SimpleNamespace(name=name)
    again = reproduce_command(bundled, Path("model", name), Path("data"))
    assert again == f"python -m ser_core evaluate test --model {name}"


def test_any_other_model_is_measured_again_by_its_folder() -> None:
    baseline = SimpleNamespace(name="lstm")
    again = reproduce_command(baseline, Path("runs/lstm/my model"), Path("data"))
    assert again == "python -m ser_core evaluate test --model 'runs/lstm/my model'"
