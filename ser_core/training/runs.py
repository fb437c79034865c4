"""Running a recipe through a protocol: train per fold and seed, record, sum up.

A fold whose record is there, with the same key, is not trained again, so that an
interrupted run goes on where it stopped.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from rich.progress import track

from ser_core.corpora import CORPORA
from ser_core.labels import LABELS
from ser_core.training.metrics import Floats
from ser_core.training.protocols import Fold, Protocol
from ser_core.training.records import FoldRecord, describe_machine, read_json, write_text
from ser_core.training.splits import list_clips
from ser_core.training.summary import summarise

if TYPE_CHECKING:
    from ser_core.training.recipes import TrainingRecipe

LOGS = Path("runs")
"""Folder of logs and checkpoints, unless another is named; git ignores it."""
SUMMARY = "summary.json"
"""Name of the file with the figures of a recipe in a protocol."""
KEY_DIGITS = 16


def run_protocol(
    protocol: Protocol,
    recipe: "TrainingRecipe",
    data: Path,
    *,
    seeds: Sequence[int],
    runs_folder: Path,
    logs_folder: Path = LOGS,
) -> dict[str, Any]:
    """Train where no record stands yet, and write the summary.

    Args:
        protocol: How is measured.
        recipe: What is measured.
        data: Folder that holds a folder for each corpus.
        seeds: One training a fold each.
        runs_folder: Folder of all records; this recipe's are in `PROTOCOL/RECIPE`.
        logs_folder: Folder of logs and checkpoints, laid out alike.

    Returns:
        The summary as `summarise` gives it.

    Raises:
        CorpusError: A corpus or a speaker of the protocol is not there.
        SerError: A record that is there cannot be read.
    """
    votes = protocol.read_votes(data) if protocol.read_votes else None
    table = list_clips(data, dict.fromkeys((*protocol.corpora, *recipe.corpora)))
    jobs = [(seed, fold) for seed in seeds for fold in protocol.folds(table, seed=seed)]
    records = []
    for seed, fold in track(jobs, f"{recipe.name} by {protocol.id}"):
        name = Path(protocol.id, recipe.name, f"seed-{seed}", fold.name)
        path = runs_folder / name.with_suffix(".json")
        if not _is_done(path, fold_key(protocol, recipe, table, fold, seed=seed)):
            run_folder = logs_folder / name
            _run_fold(
                protocol, recipe, table, fold, data=data, seed=seed, run_folder=run_folder
            ).write(path)
        records.append(FoldRecord.read(path))
    summary = summarise(protocol, records, votes=votes)
    place = runs_folder / protocol.id / recipe.name / SUMMARY
    write_text(place, json.dumps(summary, indent=1) + "\n")
    return summary


def fold_key(
    protocol: Protocol, recipe: "TrainingRecipe", table: pd.DataFrame, fold: Fold, *, seed: int
) -> str:
    """Hash of what decides the answers: settings, seed, and the clips on each side.

    The code's commit is no part of it: a record is good until its settings change.
    """
    names = clip_names(table)
    decided = {
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
    digest = hashlib.sha256(json.dumps(decided, sort_keys=True).encode())
    return digest.hexdigest()[:KEY_DIGITS]


def clip_names(table: pd.DataFrame) -> list[str]:
    """The publishers' names of the clips, which every copy of a corpus shares."""
    clips = zip(table["corpus"], table["path"], strict=True)
    return [CORPORA[corpus].clip_name(Path(path)) for corpus, path in clips]


def _is_done(path: Path, key: str) -> bool:
    return path.exists() and read_json(path).get("key") == key


def _run_fold(
    protocol: Protocol,
    recipe: "TrainingRecipe",
    table: pd.DataFrame,
    fold: Fold,
    *,
    data: Path,
    seed: int,
    run_folder: Path,
) -> FoldRecord:
    import keras

    from ser_core.training.export import current_commit  # loads TensorFlow

    keras.utils.clear_session(free_memory=True)  # of the fold before

    commit, start = current_commit(), time.perf_counter()
    probabilities = recipe.fit_predict(table, fold, data=data, seed=seed, run_folder=run_folder)
    wall_s = round(time.perf_counter() - start, 1)
    _check_probabilities(probabilities, recipe.name, len(fold.test))
    tested = table.iloc[fold.test].reset_index(drop=True)
    known = pd.DataFrame(
        {
            "clip": clip_names(tested),
            "speaker": tested["speaker"],
            "sex": tested["sex"],
            "truth": tested["emotion"],
        }
    )
    return FoldRecord(
        key=fold_key(protocol, recipe, table, fold, seed=seed),
        protocol=protocol.id,
        fold=fold.name,
        recipe=recipe.name,
        settings=recipe.settings,
        seed=seed,
        classes=fold.classes,
        commit=commit,
        machine=describe_machine(),
        wall_s=wall_s,
        n_train=len(fold.train),
        n_development=len(fold.development),
        answers=known.join(pd.DataFrame(probabilities, columns=list(LABELS))),
    )


def _check_probabilities(probabilities: Floats, recipe: str, n_test: int) -> None:
    expected = (n_test, len(LABELS))
    if probabilities.shape != expected:
        raise ValueError(f"{recipe} answered {probabilities.shape}; {expected} is needed.")
    if not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-3) or (probabilities < 0).any():
        raise ValueError(f"{recipe} answered rows that are no probabilities.")
