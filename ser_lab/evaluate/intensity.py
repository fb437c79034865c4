"""The intensity of acted speech: a model's estimate of it, and how well it can be told at all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ser_core.corpora import CORPORA as KNOWN
from ser_core.errors import ModelError
from ser_core.model.manifest import Manifest
from ser_lab.data.feature_store import Clips, Frames
from ser_lab.data.splits import list_clips
from ser_lab.evaluate.records import FORMAT
from ser_lab.metrics import N_BOOTSTRAP, calibration_bins, calibration_gap, interval
from ser_lab.train.recipes.accurate import SHARES, AccurateRecipe
from ser_lab.train.recipes.finetune import FineTuneRecipe, LastLayer

CORPORA = ("ravdess", "crema-d")
"""Corpora whose clips state an intensity."""
PLAIN = ("neutral", "calm")
"""Emotions whose clips are weak where no intensity is stated."""
LEVELS = {"normal": 0, "strong": 2, "low": 0, "medium": 1, "high": 2}
N_FOLDS = 6
REGULARISATION = 0.001
"""C of the logistic regression: strong, as there are about as many columns as clips."""
LEAST_AUC = 0.8
"""Least AUC on the test speakers of each corpus with which a model gets an estimate."""

Columns = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.intp]


class IntensityError(ModelError):
    """A model that cannot have an estimate of intensity."""


@dataclass(frozen=True, slots=True, eq=False)
class GradedClips:
    """Clips of a stated intensity.

    Attributes:
        columns: (n_clips, n_columns) that describe each clip.
        table: Their rows, with `level`: 0 weak, 1 medium, 2 strong, and `is_plain`, see `grade`.
    """

    columns: Columns
    table: pd.DataFrame

    @property
    def is_plain(self) -> npt.NDArray[np.bool_]:
        """(n_clips,) whether a clip states no intensity, and is weak for its emotion."""
        return np.asarray(self.table["is_plain"])

    @property
    def is_extreme(self) -> npt.NDArray[np.bool_]:
        """(n_clips,) whether a clip is weak or strong, not medium."""
        return np.asarray(self.table["level"] != 1)

    @property
    def is_strong(self) -> npt.NDArray[np.bool_]:
        """(n_clips,) whether a clip is strong."""
        return np.asarray(self.table["level"] == 2)

    def fit(self, rows: Rows) -> Pipeline:
        """Fit a logistic regression to weak and strong clips.

        Corpora are of the same weight, and all plain clips together of that of one.
        """
        rows = rows[self.is_extreme[rows]]
        regression = LogisticRegression(C=REGULARISATION, max_iter=1_000)
        return make_pipeline(StandardScaler(), regression).fit(
            self.columns[rows],
            self.is_strong[rows],
            logisticregression__sample_weight=self._weights(rows),
        )

    def score_unseen(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Return (n_rows,) decision values of regressions without a row's speaker, in folds."""
        scores = np.empty(len(rows))
        folds = GroupKFold(N_FOLDS).split(rows, groups=self.table["speaker"].iloc[rows])
        for train, test in folds:
            scores[test] = self.fit(rows[train]).decision_function(self.columns[rows[test]])
        return scores

    def fit_calibrated(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Fit a regression whose probabilities are calibrated on speakers left out in turn.

        Plain clips take part in the fit, not in the calibration.

        Returns:
            (n_columns + 1,) weights of its logit, bias last.

        Source: Platt 1999, Probabilistic outputs for support vector machines.
        """
        rows = rows[self.is_extreme[rows]]
        scaler, regression = (step for _, step in self.fit(rows).steps)
        scores, stated = self.score_unseen(rows)[:, None], ~self.is_plain[rows]
        platt = LogisticRegression(C=np.inf).fit(
            scores[stated], self.is_strong[rows][stated], self._weights(rows[stated])
        )
        slope = platt.coef_[0, 0] * regression.coef_[0] / scaler.scale_
        bias = platt.coef_[0, 0] * regression.intercept_ + platt.intercept_
        return np.append(slope, bias - slope @ scaler.mean_)

    def _weights(self, rows: Rows) -> npt.NDArray[np.float64]:
        corpora, is_plain = self.table["corpus"].iloc[rows], self.is_plain[rows]
        parts = corpora.where(~is_plain, "plain " + corpora)
        n_each = np.where(is_plain, max(1, corpora[is_plain].nunique()), 1)
        weights = 1.0 / (n_each * parts.map(parts.value_counts()).to_numpy())
        return np.asarray(len(rows) * weights / weights.sum())


def fit_intensity(
    folder: Path, manifest: Manifest, data: Path
) -> tuple[keras.Model, dict[str, Any]]:
    """Fit an estimate of intensity to a model, as one more column of its last layer.

    Neutral and calm clips of all corpora that are here take part as weak ones, so that voices and
    rooms of other corpora are not taken for strength. The columns of the emotions stay as they are.

    Args:
        folder: The model folder.
        manifest: Its manifest.
        data: Folder with one folder per corpus.

    Returns:
        The network with the column, and its figures on the test speakers.

    Raises:
        IntensityError: The model was trained on no corpus that states intensities, or its AUC is
            below `LEAST_AUC` on one.
        CorpusError: A corpus is missing.
    """
    trained = {corpus["name"] for corpus in manifest.corpora}
    corpora = [corpus for corpus in CORPORA if corpus in trained]
    if not corpora:
        raise IntensityError(
            f"{manifest.name} was trained on neither {' nor '.join(CORPORA)}, whose clips state an "
            "intensity, so it gets none."
        )
    others = [name for name in SHARES if name not in corpora and KNOWN[name].is_present(data)]
    recipe, table = FineTuneRecipe(folder, manifest), list_clips(data, [*corpora, *others])
    table, clips = grade(table, recipe.load(table, data)[0], with_plain=True)
    layer = LastLayer.of(recipe.load_start(), manifest.labels)
    graded = GradedClips(layer.hidden(clips), table)
    is_test = table["speaker"].isin(manifest.split["test"]).to_numpy()
    tests = np.flatnonzero(is_test & graded.is_extreme & ~graded.is_plain)
    n_levels = table.iloc[tests].groupby("corpus")["level"].nunique()
    n_trained = table["speaker"][~is_test & ~graded.is_plain].nunique()
    if n_trained < N_FOLDS or [*n_levels] != [2] * len(corpora):
        raise IntensityError(
            f"{manifest.name} gets no intensity: that takes weak and strong clips of test speakers "
            f"in {' and '.join(corpora)}, and of {N_FOLDS} others."
        )
    weights = graded.fit_calibrated(np.flatnonzero(~is_test))
    plain = table["corpus"][graded.is_plain].unique()
    figures = {"plain": [*map(str, plain)]} | _test_figures(graded, weights, tests)
    for corpus, found in figures["by_corpus"].items():
        if found["auc"] < LEAST_AUC:
            raise IntensityError(
                f"{manifest.name} tells strong from normal intensity on test speakers of {corpus} "
                f"with an AUC of {found['auc']:.2f}; at least {LEAST_AUC} is needed, so it gets "
                "none."
            )
    unchanged = np.zeros((len(weights), len(manifest.labels)))
    return layer.with_intensity(weights).network(unchanged), figures


def _test_figures(
    graded: GradedClips, weights: npt.NDArray[np.float64], rows: Rows
) -> dict[str, Any]:
    """Return AUC by corpus and calibration error of an estimate on weak and strong test clips."""
    scores = graded.columns[rows] @ weights[:-1] + weights[-1]
    table = graded.table.iloc[rows].assign(score=scores, is_strong=graded.is_strong[rows])
    by_corpus = {
        str(corpus): {
            "n_clips": len(part),
            "n_speakers": int(part["speaker"].nunique()),
            "auc": _auc(part["is_strong"], part["score"].to_numpy()),
            "interval": _auc_interval(part["is_strong"], part["score"].to_numpy()),
        }
        for corpus, part in table.groupby("corpus", sort=False)
    }
    bins = calibration_bins(expit(scores), graded.is_strong[rows])
    return {"by_corpus": by_corpus, "ece": round(calibration_gap(bins), 4)}


def load_graded(data: Path) -> GradedClips:
    """Load the clips of `CORPORA` that state an intensity.

    Args:
        data: Folder with one folder per corpus.
    """
    table = list_clips(data, CORPORA)
    table, clips = grade(table, replace(AccurateRecipe(), copies=()).load(table, data)[0])
    return GradedClips(summarise(clips), table)


def grade(
    table: pd.DataFrame, clips: Clips, *, with_plain: bool = False
) -> tuple[pd.DataFrame, list[Frames]]:
    """Return the rows of `GradedClips`, and their clips with speech.

    Args:
        table: Clips of any corpora. Those of `CORPORA` state an intensity, but for neutral ones.
        clips: One a row, None without speech.
        with_plain: Whether clips of `PLAIN` that state none are weak ones.
    """
    is_stated = table["corpus"].isin(CORPORA) & (table["emotion"] != "neutral")
    level = table["intensity"].map(LEVELS).where(is_stated)
    is_plain = level.isna() & table["emotion"].isin(PLAIN)
    table = table.assign(level=level.mask(is_plain, 0 if with_plain else np.nan), is_plain=is_plain)
    is_graded = table["level"].notna().to_numpy()
    graded = {i: clip for i, clip in enumerate(clips) if is_graded[i] and clip is not None}
    return table.iloc[[*graded]].reset_index(drop=True), [*graded.values()]


def summarise(clips: Sequence[Frames]) -> Columns:
    """Return mean and standard deviation over time of each clip's vectors, (n_clips, 2 n)."""
    vectors = [np.asarray(clip, np.float32) for clip in clips]
    return np.array([np.concatenate([v.mean(axis=0), v.std(axis=0)]) for v in vectors])


def measure_intensity(clips: GradedClips) -> dict[str, Any]:
    """Measure by AUC how well strong clips are told from weak ones.

    Returns:
        A record: by corpus the AUC on unseen speakers with its 95% interval, by emotion, between
        neighbouring intensities, and where the whole corpus is unseen.
    """
    table, corpora = clips.table, {}
    scores = clips.score_unseen(np.arange(len(table)))
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
    resampled = np.array([roc_auc_score(truth[d], scores[d]) for d in draws if truth[d].std()])
    return [round(end, 4) for end in interval(resampled)]
