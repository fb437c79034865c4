"""Both bundled models answer for forty real recordings as they did when they were trained.

A refactoring changes nothing here. After a training, update the answers with
`pytest tests/test_same_answers.py --update-goldens`.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ser_core.predictor import Predictor
from tests.conftest import ROOT

pytestmark = pytest.mark.needs_data

ANSWERS = ROOT / "tests" / "golden" / "shared_clips.csv"
ATOL = 2e-6
"""1e-6 on one processor; another one's vector instructions round by as much again."""


@pytest.mark.parametrize("name", ["compact", "accurate"])
def test_forty_recordings_have_the_same_probabilities(
    name: str,
    data: Path,
    whisper_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv("MOODMIRROR_ENCODER", str(whisper_weights))
    predictor = Predictor.from_folder(ROOT / "model" / name)
    stored = pd.read_csv(ANSWERS)
    rows = stored["model"] == name
    answers = np.array(
        [predictor.predict(data / clip).probabilities for clip in stored["clip"][rows]]
    )
    columns = list(predictor.labels)
    if request.config.getoption("--update-goldens"):
        stored.loc[rows, columns] = answers
        stored.to_csv(ANSWERS, index=False, float_format="%.9f")
    assert len(answers) == 40
    np.testing.assert_allclose(answers, stored.loc[rows, columns], rtol=0, atol=ATOL)
