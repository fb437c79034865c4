"""From the answers of all folds and seeds to the figures that are told."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from ser_core.labels import LABELS
from ser_core.training.metrics import (
    bootstrap,
    calibration_bins,
    calibration_gap,
    count_confusions,
    emotion_table,
    interval,
    narrow,
    unweighted_recall,
)
from ser_core.training.protocols import Protocol
from ser_core.training.records import FORMAT, FoldRecord

DIGITS = 5
"""Decimals of the figures in a summary."""
UNHEARD = -1
"""Stands for the majority where listeners were not asked or did not agree."""

Figure = Callable[[pd.DataFrame], float]


def summarise(
    protocol: Protocol, records: Sequence[FoldRecord], *, votes: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Compute every figure of a recipe in a protocol.

    Args:
        protocol: Says whether folds are pooled.
        records: All folds of all seeds of one recipe.
        votes: What listeners heard: index clip names, columns emotions, values counts.

    Returns:
        JSON types. Each of `uar`, `war` and `ece` has `mean`, `sd` (null for one seed)
        and `by_seed`; `uar` and `war` have a 95 % bootstrap `interval` of the mean,
        clips drawn with replacement. `listeners` is there where they agreed on a clip.
    """
    answers = pd.concat([score_answers(record) for record in records], ignore_index=True)
    answers["part"] = "all" if protocol.pooled else answers["fold"]
    known = {label for record in records for label in record.classes}
    classes = tuple(label for label in LABELS if label in known)
    first = records[0]
    figures = {
        "format": FORMAT,
        "protocol": protocol.id,
        "recipe": first.recipe,
        "settings": first.settings,
        "seeds": sorted({record.seed for record in records}),
        "commits": sorted({record.commit for record in records}),
        "wall_s": sum(record.wall_s for record in records),
        "n_clips": int(answers["clip"].nunique()),
        "n_speakers": int(answers["speaker"].nunique()),
        "classes": classes,
        **_headline(answers),
        "per_emotion": _per_emotion(answers, classes),
        "confusion": _confusion(answers, classes),
        "calibration": [asdict(b) for b in _bins(answers)],
        **{f"by_{group}": _by_group(answers, group) for group in ("fold", "corpus", "sex")},
    }
    if votes is not None and len(judged := _held_against_listeners(answers, votes)):
        n_judged = int(judged["clip"].nunique())
        figures["listeners"] = _over_seeds(judged, _uar) | {"n_clips": n_judged}
    rounded: dict[str, Any] = _rounded(figures)
    return rounded


def score_answers(record: FoldRecord) -> pd.DataFrame:
    """One row a test clip: who, what was acted, what was heard, how sure.

    Returns:
        A table with seed, fold, clip, speaker, sex, corpus, truth and predicted
        (indices into `LABELS`), confidence and right.
    """
    answers = record.answers
    probabilities = narrow(answers[list(LABELS)].to_numpy(), LABELS, record.classes)
    columns = np.array([LABELS.index(name) for name in record.classes])
    predicted = columns[probabilities.argmax(axis=1)]
    truth = np.array([LABELS.index(emotion) for emotion in answers["truth"]])
    return pd.DataFrame(
        {
            "seed": record.seed,
            "fold": record.fold,
            "clip": answers["clip"],
            "speaker": answers["speaker"],
            "sex": answers["sex"],
            "corpus": answers["speaker"].str.partition("/")[0],
            "truth": truth,
            "predicted": predicted,
            "confidence": probabilities.max(axis=1),
            "right": predicted == truth,
        }
    )


def _uar(rows: pd.DataFrame) -> float:
    return unweighted_recall(rows["truth"].to_numpy(), rows["right"].to_numpy())


def _war(rows: pd.DataFrame) -> float:
    return float(rows["right"].mean())


def _ece(rows: pd.DataFrame) -> float:
    return calibration_gap(_bins(rows))


def _bins(rows: pd.DataFrame) -> tuple[Any, ...]:
    return calibration_bins(rows["confidence"].to_numpy(), rows["right"].to_numpy())


def _headline(answers: pd.DataFrame) -> dict[str, Any]:
    figures = {
        name: _over_seeds(answers, figure)
        for name, figure in (("uar", _uar), ("war", _war), ("ece", _ece))
    }
    draws = []
    for _, part in answers.groupby("part"):
        clips = part.groupby("clip").agg({"truth": "first", "right": "mean"})
        draws.append(bootstrap(clips["truth"].to_numpy(), clips["right"].to_numpy()))
    for name, resampled in zip(("uar", "war"), np.mean(draws, axis=0), strict=True):
        figures[name]["interval"] = interval(resampled)
    return figures


def _over_seeds(answers: pd.DataFrame, figure: Figure) -> dict[str, Any]:
    """Mean and spread over seeds of a figure, itself a mean over the parts."""
    by_seed = {
        str(seed): float(np.mean([figure(part) for _, part in rows.groupby("part")]))
        for seed, rows in answers.groupby("seed")
    }
    values = list(by_seed.values())
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "sd": sd, "by_seed": by_seed}


def _by_group(answers: pd.DataFrame, group: str) -> dict[str, dict[str, float]]:
    return {
        str(name): {
            "uar": _over_seeds(rows, _uar)["mean"],
            "war": _over_seeds(rows, _war)["mean"],
            "ece": _over_seeds(rows, _ece)["mean"],
            "n_clips": int(rows["clip"].nunique()),
        }
        for name, rows in answers.groupby(group, sort=False)
    }


def _per_emotion(answers: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Over all seeds together; the support counts a clip once."""
    table = emotion_table(answers["truth"].to_numpy(), answers["predicted"].to_numpy(), LABELS)
    support = answers.drop_duplicates("clip")["truth"].value_counts()
    return {
        label: table[label] | {"support": int(support.get(LABELS.index(label), 0))}
        for label in classes
    }


def _confusion(answers: pd.DataFrame, classes: tuple[str, ...]) -> list[list[int]]:
    """Counts over all seeds together."""
    counts = count_confusions(answers["truth"].to_numpy(), answers["predicted"].to_numpy(), LABELS)
    kept = [LABELS.index(label) for label in classes]
    return [[counts[row][column] for column in kept] for row in kept]


def _held_against_listeners(answers: pd.DataFrame, votes: pd.DataFrame) -> pd.DataFrame:
    """The answers where listeners agreed, what most of them heard in place of the truth."""
    heard = majority(votes).reindex(answers["clip"]).fillna(UNHEARD).astype(int).to_numpy()
    judged = answers.assign(truth=heard, right=answers["predicted"] == heard)
    return judged[judged["truth"] != UNHEARD]


def majority(votes: pd.DataFrame) -> "pd.Series[int]":
    """What most listeners heard in each clip.

    Args:
        votes: Index clip names, columns emotions, values counts; missing counts as none.

    Returns:
        Indices into `LABELS` by clip name; clips without a single favourite are left
        out.
    """
    counts = votes.fillna(0)
    agreed = counts[counts.eq(counts.max(axis=1), axis=0).sum(axis=1) == 1]
    return agreed.idxmax(axis=1).map(LABELS.index)


def _rounded(value: Any) -> Any:
    """The same JSON with fewer decimals."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
