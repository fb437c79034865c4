"""Which copies there are of which clips."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ser_lab.data.augment import Augmentation, Changes
from ser_lab.data.encoder_store import Clips
from ser_lab.train.sampling import COPIES, CopyPlan, load_copies


def load(paths: Sequence[Path], changes: Changes | None) -> Clips:
    """A clip that holds the number of its copy, 0 as recorded."""
    number = 0 if changes is None else changes.settings.copy
    return [np.full((1, 1), number, np.float16) for _ in paths]


def test_a_copy_is_made_of_the_corpora_that_it_names(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a", "b", "c"], "corpus": ["x", "y", "x"]})
    plans = (CopyPlan(Augmentation(copy=1)), CopyPlan(Augmentation(copy=2), ("x", "absent")))
    as_recorded, first, second = load_copies(table, plans, tmp_path, load)
    assert [clip is None for clip in second] == [False, True, False]
    assert [[clip.item() for clip in clips if clip is not None] for clips in (first, second)] == [
        [1.0, 1.0, 1.0],
        [2.0, 2.0],
    ]
    assert len(as_recorded) == 3


def test_no_two_copies_share_their_draws() -> None:
    numbers = [plan.settings.copy for plan in COPIES]
    assert sorted(numbers) == list(range(len(COPIES)))
