"""The interface of a recipe, as protocols and shipping use it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.config import PipelineConfig
from ser_core.model.assemble import Deltas
from ser_core.model.manifest import Manifest
from ser_core.whisper.spec import EncoderConfig
from ser_lab.data.feature_store import Clips
from ser_lab.data.protocols import Fold, Run
from ser_lab.data.splits import SpeakerSplit
from ser_lab.train.loop import TrainedModel


class TrainingRecipe(Protocol):
    """A system that a protocol trains in each fold."""

    @property
    def name(self) -> str:
        """Short name, part of a file name."""

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the answers, as JSON; a fold is trained again if it changes."""

    @property
    def corpora(self) -> tuple[str, ...]:
        """Training corpora, beside those of the protocol."""

    def fit_predict(
        self, table: pd.DataFrame, fold: Fold, run: Run
    ) -> npt.NDArray[np.floating[Any]]:
        """Train and calibrate on a fold, and predict its test rows.

        Args:
            table: Clips as `list_clips` gives them.
            fold: Rows of each split.
            run: Data, seed and folder.

        Returns:
            (n_test, n_labels), rows as in `fold.test`, columns as in `LABELS`; equal
            probabilities for a clip without speech.
        """


class Recipe(TrainingRecipe, Protocol):
    """A system that can be shipped, too."""

    @property
    def pipeline(self) -> PipelineConfig:
        """Settings of the path from file to features."""

    @property
    def encoder(self) -> EncoderConfig | None:
        """Whisper's encoder before the network; None where the network is complete."""
        return None

    @property
    def deltas(self) -> Deltas:
        """Changes of that encoder."""
        return {}

    @property
    def start(self) -> Manifest | None:
        """Manifest of the model that it starts from; None where it starts from random weights."""
        return None

    def load_start(self) -> TrainedModel | None:
        """Return the model that it starts from, if any."""
        return None

    @property
    def architecture(self) -> dict[str, Any]:
        """Settings of the network and its training, as the manifest states them."""
        return self.settings

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions."""

    @property
    def split(self) -> SpeakerSplit:
        """Speakers held out from the model that ships."""

    def list_readings(self, data: Path) -> list[Path]:  # noqa: ARG002
        """Return the readings without labels that it is trained on, too; none by default."""
        return []

    def on_corpus(self, corpus: str, split: SpeakerSplit, labels: tuple[str, ...]) -> Self:
        """Return the recipe with one training corpus, its split and its labels."""

    def of_corpora(self, corpora: Sequence[str]) -> Self:
        """Return the recipe with these of its training corpora alone, and their split."""

    def load(self, table: pd.DataFrame, data: Path) -> list[Clips]:
        """Return the features of each row, as recorded and in each changed copy."""

    def fit(
        self, table: pd.DataFrame, copies: Sequence[Clips], fold: Fold, run: Run
    ) -> TrainedModel:
        """Train on the training rows of a fold and calibrate on its development rows.

        Args:
            table: Clips.
            copies: Their features, as `load` gives them.
            fold: Rows of each split.
            run: Data, seed and folder.
        """

    def fit_predict(
        self, table: pd.DataFrame, fold: Fold, run: Run
    ) -> npt.NDArray[np.floating[Any]]:
        """See `TrainingRecipe`."""
        copies = self.load(table, run.data)
        return self.fit(table, copies, fold, run).predict(copies[0], fold.test)
