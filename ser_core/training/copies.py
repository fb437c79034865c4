"""Which changed copies of the training clips there are, and of which corpora."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import pandas as pd

from ser_core.training.augment import Augmentation, Changes
from ser_core.training.drawn import Clips
from ser_core.training.store import load_by_corpus

SMALL = ("ravdess", "ravdess-song")
"""Corpora whose clips are drawn most often: they have more copies."""

NOISY = Augmentation(
    rebuilt_share=0.3,
    noise_share=0.75,
    noise_snr_db=(3.0, 22.0),
    hiss_share=0.1,
    low_pass_share=0.0,
    telephone_share=0.35,
)
"""In noise, and now and then through a telephone."""


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """A changed copy of the training clips.

    Attributes:
        settings: How it is made.
        corpora: Of which corpora; of all where empty.
    """

    settings: Augmentation
    corpora: tuple[str, ...] = ()


COPIES = (
    CopyPlan(Augmentation()),
    CopyPlan(replace(NOISY, copy=1)),
    *(CopyPlan(Augmentation(copy=n), SMALL) for n in (2, 4)),
    *(CopyPlan(replace(NOISY, copy=n), SMALL) for n in (3, 5)),
)
"""As other microphones and rooms give a clip, and in noise; of the small corpora more."""


class LoadClips(Protocol):
    """How clips are loaded, as recorded or changed."""

    def __call__(self, paths: Sequence[Path], changes: Changes | None) -> Clips:
        """One array a path; None where nobody speaks."""


def load_copies(
    table: pd.DataFrame,
    plans: Sequence[CopyPlan],
    data: Path,
    load: LoadClips,
) -> list[Clips]:
    """Load each row of a table as recorded, then each copy of it.

    Args:
        table: Clips, with `path` and `corpus`.
        plans: The copies.
        data: Folder of the corpora, with that of the noise.
        load: How clips are loaded.

    Returns:
        1 + n_plans lists of n_rows clips, None where there is no such copy.
    """
    made = [
        load_by_corpus(
            table, partial(load, changes=Changes(plan.settings, data)), corpora=plan.corpora
        )
        for plan in plans
    ]
    return [load_by_corpus(table, partial(load, changes=None)), *made]
