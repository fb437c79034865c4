"""Run a recipe through a protocol: train per fold and seed, record, summarise.

A fold that already has its record is not trained again, so that an interrupted run resumes.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.progress import track

from ser_core.corpora import CORPORA
from ser_core.labels import LABELS
from ser_lab.data.protocols import Fold, Protocol, Run
from ser_lab.data.splits import list_clips
from ser_lab.evaluate.records import FORMAT, FoldRecord, describe_machine, read_json, write_text
from ser_lab.evaluate.strangers import merge_calm, recalibrate
from ser_lab.metrics import (
    Floats,
    bootstrap,
    calibration_bins,
    calibration_gap,
    count_confusions,
    emotion_table,
    interval,
    narrow,
    unweighted_recall,
)

if TYPE_CHECKING:
    from ser_lab.train.recipes.base import TrainingRecipe

LOGS = Path("runs")
"""Default folder of logs and checkpoints; git ignores it."""
SUMMARY = "summary.json"
"""File with the figures of a recipe in a protocol."""
DIGITS = 5
"""Decimals of the figures in a summary."""
KEY_DIGITS = 16
NO_MAJORITY = -1
"""Index of the majority emotion where listeners were not asked or did not agree."""

Figure = Callable[[pd.DataFrame], float]


def run_protocol(
    protocol: Protocol,
    recipe: "TrainingRecipe",
    data: Path,
    *,
    seeds: Sequence[int],
    runs_folder: Path,
    logs_folder: Path = LOGS,
) -> dict[str, Any]:
    """Train wherever no record exists yet, and write the summary.

    Args:
        protocol: The folds.
        recipe: The recipe, or a trained model in its place.
        data: Folder with one folder per corpus.
        seeds: One training per fold for each.
        runs_folder: Folder of all records; this recipe's are in `PROTOCOL/RECIPE`.
        logs_folder: Folder of logs and checkpoints, with the same layout.

    Returns:
        The summary as `summarise` gives it.

    Raises:
        CorpusError: A corpus or a speaker of the protocol is missing.
        SerError: An existing record cannot be read.
    """
    votes = protocol.read_votes(data) if protocol.read_votes else None
    table = list_clips(data, dict.fromkeys((*protocol.corpora, *recipe.corpora)))
    jobs = [(seed, fold) for seed in seeds for fold in protocol.folds(table, seed=seed)]
    records = []
    for seed, fold in track(jobs, f"{recipe.name} by {protocol.id}"):
        name = Path(protocol.id, recipe.name, f"seed-{seed}", fold.name)
        path = runs_folder / name.with_suffix(".json")
        if not _is_recorded(path, fold_key(protocol, recipe, table, fold, seed=seed)):
            run = Run(data, seed, logs_folder / name)
            _run_fold(protocol, recipe, table, fold, run).write(path)
        records.append(FoldRecord.read(path))
    summary = summarise(protocol, records, votes=votes)
    path = runs_folder / protocol.id / recipe.name / SUMMARY
    write_text(path, json.dumps(summary, indent=1) + "\n")
    return summary


def fold_key(
    protocol: Protocol, recipe: "TrainingRecipe", table: pd.DataFrame, fold: Fold, *, seed: int
) -> str:
    """Return a hash of what determines the answers: settings, seed, and the clips of each split.

    The commit is not part of it: a record is valid until its settings change.
    """
    names = clip_names(table)
    determining = {
        "protocol": protocol.id,
        "fold": fold.name,
        "classes": fold.classes,
        "sides": [
            [names[row] for row in rows] for rows in (fold.train, fold.development, fold.test)
        ],
        "recipe": recipe.name,
        "settings": recipe.settings,
        "seed": seed,
    }
    digest = hashlib.sha256(json.dumps(determining, sort_keys=True).encode())
    return digest.hexdigest()[:KEY_DIGITS]


def clip_names(table: pd.DataFrame) -> list[str]:
    """Return the publishers' names of the clips, which every copy of a corpus shares."""
    clips = zip(table["corpus"], table["path"], strict=True)
    return [CORPORA[corpus].clip_name(Path(path)) for corpus, path in clips]


def summarise(
    protocol: Protocol, records: Sequence[FoldRecord], *, votes: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Compute every figure of a recipe in a protocol.

    Args:
        protocol: Protocol of the records; folds are pooled if it says so.
        records: All folds of all seeds of one recipe.
        votes: Listeners' votes: index clip names, columns emotions, values counts.

    Returns:
        JSON types. Each of `uar`, `war` and `ece` has `mean`, `sd` (null for one seed)
        and `by_seed`; `uar` and `war` have a 95% bootstrap `interval` of the mean,
        clips drawn with replacement. `listeners` is present if they agreed on any clip.
    """
    certain: dict[str, Any] = {}
    if protocol.recalibrated:
        records, certain = _recalibrate(records)
    merge = protocol.calm_is_neutral
    answers = pd.concat([_tabulate(r, merge=merge) for r in records], ignore_index=True)
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
    if certain:
        figures["certain"] = certain
    if votes is not None and len(agreed := _against_listeners(answers, votes)):
        n_clips = int(agreed["clip"].nunique())
        figures["listeners"] = _over_seeds(agreed, _uar) | {"n_clips": n_clips}
    rounded: dict[str, Any] = _rounded(figures)
    return rounded


def majority(votes: pd.DataFrame) -> "pd.Series[int]":
    """Return the emotion that most listeners chose for each clip.

    Args:
        votes: Index clip names, columns emotions, values counts; missing counts as none.

    Returns:
        Indices into `LABELS` by clip name, without the clips whose vote is tied.
    """
    counts = votes.fillna(0)
    agreed = counts[counts.eq(counts.max(axis=1), axis=0).sum(axis=1) == 1]
    return agreed.idxmax(axis=1).map(LABELS.index)


def _is_recorded(path: Path, key: str) -> bool:
    return path.exists() and read_json(path).get("key") == key


def _run_fold(
    protocol: Protocol, recipe: "TrainingRecipe", table: pd.DataFrame, fold: Fold, run: Run
) -> FoldRecord:
    import keras  # loads TensorFlow, as the next one does

    from ser_lab.train.export import current_commit

    keras.utils.clear_session(free_memory=True)  # of the previous fold
    commit, start = current_commit(), time.perf_counter()
    probabilities = recipe.fit_predict(table, fold, run)
    wall_s = round(time.perf_counter() - start, 1)
    _check_probabilities(probabilities, recipe.name, len(fold.test))
    tested = table.iloc[fold.test].reset_index(drop=True)
    clips = tested[["speaker", "sex", "emotion"]].rename(columns={"emotion": "truth"})
    clips.insert(0, "clip", clip_names(tested))
    return FoldRecord(
        key=fold_key(protocol, recipe, table, fold, seed=run.seed),
        protocol=protocol.id,
        fold=fold.name,
        recipe=recipe.name,
        settings=recipe.settings,
        seed=run.seed,
        classes=fold.classes,
        commit=commit,
        machine=describe_machine(),
        wall_s=wall_s,
        n_train=len(fold.train),
        n_development=len(fold.development),
        answers=clips.join(pd.DataFrame(probabilities, columns=list(LABELS))),
    )


def _check_probabilities(probabilities: Floats, recipe: str, n_test: int) -> None:
    expected = (n_test, len(LABELS))
    if probabilities.shape != expected:
        raise ValueError(f"{recipe} returned the shape {probabilities.shape}; expected {expected}.")
    if not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-3) or (probabilities < 0).any():
        raise ValueError(f"{recipe} returned rows that are not probabilities.")


def _recalibrate(
    records: Sequence[FoldRecord],
) -> tuple[list[FoldRecord], dict[str, Any]]:
    """Return the records of each seed calibrated, and by fold what is certain of its answers."""
    pairs = []
    for seed in sorted({record.seed for record in records}):
        pairs += recalibrate([record for record in records if record.seed == seed])
    certain = {
        fold: pd.DataFrame([asdict(found) for r, found in pairs if r.fold == fold]).mean().to_dict()
        for fold in dict.fromkeys(record.fold for record in records)
    }
    return [record for record, _ in pairs], certain


def _tabulate(record: FoldRecord, *, merge: bool = False) -> pd.DataFrame:
    """Return one row per test clip; truth and predicted are indices into `LABELS`."""
    answers = record.answers
    probabilities = answers[list(LABELS)].to_numpy()
    if merge:
        probabilities = merge_calm(probabilities, record.classes)
    probabilities = narrow(probabilities, LABELS, record.classes)
    columns = np.array([LABELS.index(name) for name in record.classes])
    predicted = columns[probabilities.argmax(axis=1)]
    truth = np.array([LABELS.index(emotion) for emotion in answers["truth"]])
    return answers[["clip", "speaker", "sex"]].assign(
        seed=record.seed,
        fold=record.fold,
        corpus=answers["speaker"].str.partition("/")[0],
        truth=truth,
        predicted=predicted,
        confidence=probabilities.max(axis=1),
        right=predicted == truth,
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
    """Return mean and spread over seeds of a figure, itself a mean over the parts."""
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
    """Return the table over all seeds together; the support counts a clip once."""
    table = emotion_table(answers["truth"].to_numpy(), answers["predicted"].to_numpy(), LABELS)
    support = answers.drop_duplicates("clip")["truth"].value_counts()
    return {
        label: table[label] | {"support": int(support.get(LABELS.index(label), 0))}
        for label in classes
    }


def _confusion(answers: pd.DataFrame, classes: tuple[str, ...]) -> list[list[int]]:
    counts = count_confusions(answers["truth"].to_numpy(), answers["predicted"].to_numpy(), LABELS)
    kept = [LABELS.index(label) for label in classes]
    return [[counts[row][column] for column in kept] for row in kept]


def _against_listeners(answers: pd.DataFrame, votes: pd.DataFrame) -> pd.DataFrame:
    """Return the answers where listeners agreed, with their majority as the truth."""
    votes_for = majority(votes).reindex(answers["clip"]).fillna(NO_MAJORITY).astype(int).to_numpy()
    compared = answers.assign(truth=votes_for, right=answers["predicted"] == votes_for)
    return compared[compared["truth"] != NO_MAJORITY]


def _rounded(value: Any) -> Any:
    """Return the same JSON with fewer decimals."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
