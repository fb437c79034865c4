"""What a model answers for many clips, and how right it is."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ser_core.errors import NoSpeechError
from ser_core.labels import LABELS
from ser_core.prediction import Prediction
from ser_core.predictor import Predictor
from ser_core.preprocess import Waveform
from ser_core.training.metrics import unweighted_recall
from ser_core.training.robustness.changes import RATE_HZ

Heard = Sequence[Prediction | None]
"""What was heard in some clips, None where nobody spoke."""


class Answers:
    """What a model answered for some clips.

    Attributes:
        table: The clips.
        probabilities: (n_clips, n_labels); even where no speech was heard.
        heard: (n_clips,) whether speech was heard.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        probabilities: npt.NDArray[np.float64],
        heard: npt.NDArray[np.bool_],
    ) -> None:
        """Take them as they are."""
        self.table, self.probabilities, self.heard = table, probabilities, heard
        self.truth = np.array([LABELS.index(emotion) for emotion in table["emotion"]])
        self.predicted = probabilities.argmax(axis=1)

    @classmethod
    def of(cls, predictor: Predictor, clips: Iterable[Waveform], table: pd.DataFrame) -> "Answers":
        """Ask a model."""
        said = [listen(predictor, clip) for clip in clips]
        even = (1.0 / len(LABELS),) * len(LABELS)
        rows = [even if answer is None else answer.probabilities for answer in said]
        return cls(table, np.array(rows), np.array([answer is not None for answer in said]))

    def part(self, rows: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> "Answers":
        """Some of them."""
        return Answers(
            self.table[rows] if rows.dtype == bool else self.table.iloc[rows],
            self.probabilities[rows],
            self.heard[rows],
        )

    @property
    def uar(self) -> float:
        """Unweighted average recall, the mean over corpora of what each has."""
        corpora = self.table["corpus"].to_numpy()
        right = self.predicted == self.truth
        return float(
            np.mean(
                [
                    unweighted_recall(self.truth[corpora == name], right[corpora == name])
                    for name in np.unique(corpora)
                ]
            )
        )


def listen(predictor: Predictor, clip: Waveform) -> Prediction | None:
    """What a model hears in a clip; None where nobody speaks."""
    try:
        return predictor.predict((RATE_HZ, clip))
    except NoSpeechError:
        return None
