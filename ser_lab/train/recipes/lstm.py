"""The baseline's recipe: the papers' LSTM layers on their features."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import PipelineConfig
from ser_core.labels import LABELS
from ser_lab.data.feature_store import load_by_corpus, load_features, pick_examples
from ser_lab.data.protocols import Fold
from ser_lab.data.splits import SHIPPED_SPLIT, SpeakerSplit
from ser_lab.train.loop import TrainConfig, answer_rows, train_network


@dataclass(frozen=True, slots=True)
class LstmRecipe:
    """Two LSTM layers of 64 units over the papers' 15 columns.

    Attributes:
        pipeline: Settings of the path from file to features.
        training: Network and schedule.
        name: Short name.
        corpora: Corpora that it learns from.
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
        return {"pipeline": self.pipeline.to_dict(), "training": asdict(self.training)}

    def fit_predict(
        self,
        table: pd.DataFrame,
        fold: Fold,
        *,
        data: Path,  # noqa: ARG002
        seed: int,
        run_folder: Path,
    ) -> npt.NDArray[np.floating[Any]]:
        """See `TrainingRecipe`; a test clip without speech is answered evenly."""
        features = load_by_corpus(table, lambda paths: load_features(paths, self.pipeline))
        sides = {
            "train": pick_examples(table, features, fold.train),
            "development": pick_examples(table, features, fold.development),
        }
        trained = train_network(sides, self.training, seed=seed, run_folder=run_folder)
        return answer_rows(trained.network, trained.calibration, features, fold.test)
