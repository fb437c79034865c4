"""The baseline: the LSTM layers of the papers on their features."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import pandas as pd

from ser_core.config import PipelineConfig
from ser_core.labels import LABELS
from ser_lab.data.feature_store import Clips, load_features
from ser_lab.data.protocols import Fold
from ser_lab.data.splits import SHIPPED_SPLIT, SpeakerSplit
from ser_lab.train.loop import TrainConfig, TrainedModel, train_network
from ser_lab.train.recipes.base import Recipe
from ser_lab.train.sampling import load_copies


@dataclass(frozen=True, slots=True)
class LstmRecipe(Recipe):
    """Two LSTM layers of 64 units over the 15 columns of the papers.

    Attributes:
        pipeline: Settings of the path from file to features.
        training: Network and schedule.
        name: Short name.
        corpora: Training corpora.
        split: Speakers held out from the model that ships.
        labels: The emotions.
    """

    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    name: str = "lstm"
    corpora: tuple[str, ...] = ("ravdess", "tess")
    split: SpeakerSplit = SHIPPED_SPLIT
    labels: tuple[str, ...] = LABELS

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the features, the network and the schedule."""
        return {"pipeline": asdict(self.pipeline), "training": asdict(self.training)}

    @property
    def architecture(self) -> dict[str, Any]:
        """Settings of the network and the schedule."""
        return asdict(self.training)

    def on_corpus(self, corpus: str, split: SpeakerSplit, labels: tuple[str, ...]) -> Self:
        """See `Recipe`."""
        return replace(self, corpora=(corpus,), split=split, labels=labels)

    def load(self, table: pd.DataFrame, data: Path) -> list[Clips]:
        """See `Recipe`; there are no changed copies."""
        return load_copies(table, (), data, partial(load_features, config=self.pipeline))

    def fit(
        self,
        table: pd.DataFrame,
        copies: Sequence[Clips],
        fold: Fold,
        *,
        data: Path,  # noqa: ARG002
        seed: int,
        run_folder: Path,
    ) -> TrainedModel:
        """See `Recipe`."""
        return train_network(
            table,
            copies[0],
            fold,
            self.training,
            labels=self.labels,
            seed=seed,
            run_folder=run_folder,
        )
