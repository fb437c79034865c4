"""The baseline: the LSTM layers of the papers on their features."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import pandas as pd

from ser_core.config import PipelineConfig
from ser_core.labels import LABELS
from ser_lab.data.feature_store import Clips, load_features
from ser_lab.data.protocols import Fold, Rows, Run
from ser_lab.data.splits import SHIPPED_SPLIT, SpeakerSplit, shipped_split
from ser_lab.train.architectures import LstmConfig, frame_statistics
from ser_lab.train.loop import (
    BEST,
    PREDICT_BATCH,
    LengthBatches,
    TrainedModel,
    encode_labels,
    keep_best,
    speech_clips,
    speech_rows,
)
from ser_lab.train.recipes.base import Recipe
from ser_lab.train.sampling import load_copies


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Network of the papers and the schedule of its training.

    Attributes:
        network: Size of the network.
        batch_size: Clips in a batch.
        epochs: Most passes over the training clips.
        patience: Epochs without a better development accuracy before training ends.
        learning_rate: Of RMSprop.
    """

    network: LstmConfig = field(default_factory=LstmConfig)
    batch_size: int = 23
    epochs: int = 60
    patience: int = 15
    learning_rate: float = 1e-3


@dataclass(frozen=True, slots=True)
class LstmRecipe(Recipe):
    """Two LSTM layers of 64 units over the 15 columns of the papers; `training` is both."""

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

    def of_corpora(self, corpora: Sequence[str]) -> Self:
        """See `Recipe`."""
        return replace(self, corpora=tuple(corpora), split=shipped_split(corpora))

    def load(self, table: pd.DataFrame, data: Path) -> list[Clips]:
        """See `Recipe`; there are no changed copies."""
        return load_copies(table, (), data, partial(load_features, config=self.pipeline))

    def fit(
        self, table: pd.DataFrame, copies: Sequence[Clips], fold: Fold, run: Run
    ) -> TrainedModel:
        """See `Recipe`; the epoch with the best development accuracy is kept, which is the score.

        `best.keras` and `log.csv` are written into the run's folder while training.
        """
        clips, config, labels = copies[0], self.training, self.labels
        keras.utils.set_random_seed(run.seed)
        run.folder.mkdir(parents=True, exist_ok=True)

        def batches(rows: Rows, batch_size: int, seed: int | None = None) -> LengthBatches:
            truth = encode_labels(table, speech_rows(clips, rows), labels)
            targets = np.eye(len(labels), dtype=np.float32)[truth]
            kept = speech_clips(clips, rows)
            return LengthBatches(kept, targets, batch_size=batch_size, seed=seed)

        mean, variance = frame_statistics(speech_clips(clips, fold.train))
        network = config.network.build(mean=mean, variance=variance, n_labels=len(labels))
        network.compile(
            optimizer=keras.optimizers.RMSprop(config.learning_rate),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        title, epochs = f"Seed {run.seed}", config.epochs
        fitted = network.fit(
            batches(fold.train, config.batch_size, run.seed),
            validation_data=batches(fold.development, PREDICT_BATCH),
            epochs=epochs,
            verbose=0,
            callbacks=keep_best(run.folder, epochs=epochs, patience=config.patience, title=title),
        )
        network, history = keras.models.load_model(run.folder / BEST), pd.DataFrame(fitted.history)
        model = TrainedModel.calibrated(network, table, clips, fold.development, labels)
        return replace(model, development_score=history["val_accuracy"].max(), history=history)
