"""How well the intensity of acted speech can be told from encoder vectors, on unseen speakers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ser_lab.data.feature_store import Clips
from ser_lab.data.splits import list_clips
from ser_lab.evaluate.records import FORMAT
from ser_lab.metrics import N_BOOTSTRAP, interval
from ser_lab.train.recipes.accurate import AccurateRecipe

CORPORA = ("ravdess", "crema-d")
"""Corpora whose clips state an intensity."""
LEVELS = {"normal": 0, "strong": 2, "low": 0, "medium": 1, "high": 2}
N_FOLDS = 6
REGULARISATION = 0.001
"""C of the logistic regression: strong, as there are more columns than clips."""

Columns = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class GradedClips:
    """Clips of a stated intensity.

    Attributes:
        columns: (n_clips, n_columns) as from `summarise`.
        table: Their rows, with `level`: 0 weak, 1 medium, 2 strong.
    """

    columns: Columns
    table: pd.DataFrame

    @property
    def is_extreme(self) -> npt.NDArray[np.bool_]:
        """(n_clips,) whether a clip is weak or strong, not medium."""
        return np.asarray(self.table["level"] != 1)

    def fit(self, rows: npt.NDArray[np.intp]) -> Pipeline:
        """Fit a logistic regression to weak and strong clips, each corpus of the same weight."""
        rows = rows[self.is_extreme[rows]]
        corpora = self.table["corpus"].iloc[rows]
        weights = 1.0 / corpora.map(corpora.value_counts())
        regression = LogisticRegression(C=REGULARISATION, max_iter=1_000)
        return make_pipeline(StandardScaler(), regression).fit(
            self.columns[rows],
            self.table["level"].iloc[rows] == 2,
            logisticregression__sample_weight=len(rows) * weights / weights.sum(),
        )

    def folds(self) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Yield training and test rows of `N_FOLDS` folds of speakers."""
        yield from GroupKFold(N_FOLDS).split(self.columns, groups=self.table["speaker"])


def load_graded(data: Path) -> GradedClips:
    """Load the clips of `CORPORA` that have an intensity; neutral has none.

    Args:
        data: Folder with one folder per corpus.
    """
    table = list_clips(data, CORPORA)
    (vectors,) = replace(AccurateRecipe(), copies=()).load(table, data)
    table["level"] = table["intensity"].map(LEVELS).where(table["emotion"] != "neutral")
    rows = [i for i, level in enumerate(table["level"]) if level >= 0 and vectors[i] is not None]
    return GradedClips(
        summarise([vectors[i] for i in rows]), table.iloc[rows].reset_index(drop=True)
    )


def summarise(clips: Clips) -> Columns:
    """Return mean and standard deviation over time of each clip's vectors, (n_clips, 2 n)."""
    vectors = [np.asarray(clip, np.float32) for clip in clips]
    return np.array([np.concatenate([v.mean(axis=0), v.std(axis=0)]) for v in vectors])


def measure_intensity(clips: GradedClips) -> dict[str, Any]:
    """Measure by AUC how well strong clips are told from weak ones.

    Returns:
        A record: by corpus the AUC on unseen speakers with its 95% interval, by emotion, between
        neighbouring intensities, and where the whole corpus is unseen.
    """
    scores, table = np.empty(len(clips.table)), clips.table
    for train, test in clips.folds():
        scores[test] = clips.fit(train).decision_function(clips.columns[test])
    corpora = {}
    for corpus, rows in table.groupby("corpus", sort=False):
        own = rows.index.to_numpy()
        unseen = clips.fit(np.flatnonzero(table["corpus"] != corpus))
        ends = own[clips.is_extreme[own]]
        corpora[str(corpus)] = {
            "n_clips": len(own),
            "n_speakers": int(rows["speaker"].nunique()),
            "auc": _auc(table["level"][ends] == 2, scores[ends]),
            "interval": _auc_interval(table["level"][ends] == 2, scores[ends]),
            "by_emotion": {
                str(emotion): _auc(part["level"] == 2, scores[part.index])
                for emotion, part in rows.loc[ends].groupby("emotion", sort=False)
            },
            "steps": {
                f"{low} and {high}": _auc(pair["intensity"] == high, scores[pair.index])
                for low, high in (("low", "medium"), ("medium", "high"))
                if len(pair := rows[rows["intensity"].isin((low, high))])
            },
            "corpus_unseen": _auc(
                table["level"][ends] == 2, unseen.decision_function(clips.columns[ends])
            ),
        }
    return {"format": FORMAT, "n_folds": N_FOLDS, "corpora": corpora}


def _auc(is_strong: "pd.Series[bool]", scores: npt.NDArray[np.float64]) -> float:
    return round(float(roc_auc_score(is_strong, scores)), 4)


def _auc_interval(is_strong: "pd.Series[bool]", scores: npt.NDArray[np.float64]) -> list[float]:
    """Return the 95% bootstrap interval over clips."""
    truth, random = is_strong.to_numpy(), np.random.default_rng(0)
    draws = [random.integers(len(truth), size=len(truth)) for _ in range(N_BOOTSTRAP)]
    resampled = np.array([roc_auc_score(truth[d], scores[d]) for d in draws])
    return [round(end, 4) for end in interval(resampled)]
