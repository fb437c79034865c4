"""Reproducing one system: load, draw, train, test, and put the figures into a record."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax

from ser_core.corpora import CORPORA
from ser_core.training.calibration import Calibration, calibrate
from ser_core.training.export import current_commit
from ser_core.training.metrics import narrow, score, unweighted_recall
from ser_core.training.records import describe_machine
from ser_core.training.reproduce.fit import Side, Trained, answer, fit
from ser_core.training.reproduce.fronts import build_front, join, prepare
from ser_core.training.reproduce.recipes import Reproduction
from ser_core.training.reproduce.record import Record
from ser_core.training.reproduce.sides import (
    SIDES,
    Examples,
    Split,
    draw_sides,
    load_examples,
    present_corpora,
)

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Job:
    """One training of one recipe.

    Attributes:
        recipe: What the paper did.
        split: `random` as the paper did, or `speaker`.
        seed: Seed of the draw and of the training.
        epochs: At most so many, where the recipe has more.
    """

    recipe: Reproduction
    split: Split
    seed: int = 0
    epochs: int | None = None

    @property
    def place(self) -> Path:
        """Where it belongs among all runs."""
        return Path(self.recipe.name, self.split, f"seed-{self.seed}")

    @property
    def allowed_epochs(self) -> int:
        """Most passes over the training clips; 0 where there are none."""
        planned = 0 if self.recipe.schedule is None else self.recipe.schedule.epochs
        return planned if self.epochs is None else min(self.epochs, planned)


@dataclass(frozen=True, slots=True, eq=False)
class Reproduced:
    """A system that was trained anew.

    Attributes:
        job: What was trained.
        record: The figures.
        network: From frames to logits.
        calibration: Of its logits, by the development clips.
        table: Clips and copies of all sides, with `split` and `predicted`.
    """

    job: Job
    record: Record
    network: keras.Model
    calibration: Calibration
    table: pd.DataFrame


def reproduce(job: Job, data: Path, *, logs: Path) -> Reproduced:
    """Train and test one system once.

    Args:
        job: What is trained.
        data: Folder that holds a folder for each corpus; those of the recipe that are
            missing are left out and named in the record.
        logs: Where the training writes its checkpoint and log.

    Raises:
        CorpusError: No corpus of the recipe is here, or a side would be empty.
    """
    recipe, commit = job.recipe, current_commit()
    present, missing = present_corpora(recipe.corpora, data)
    examples = load_examples(recipe, present, data)
    rows = draw_sides(recipe, examples.table, job.split, job.seed)
    front = build_front(recipe.front, recipe.pipeline.features.columns)
    sides = [_side(front, examples, recipe.labels, chosen) for chosen in rows]
    trained = fit(recipe, *sides[:2], seed=job.seed, epochs=job.allowed_epochs, folder=logs)
    logits = [answer(trained.core, clips) for clips, _ in sides]
    calibration = calibrate(logits[1], sides[1][1])
    table = pd.concat(
        examples.table.iloc[chosen].assign(
            split=name, predicted=[recipe.labels[i] for i in answers.argmax(axis=1)]
        )
        for name, chosen, answers in zip(SIDES, rows, logits, strict=True)
    )
    heard, unheard = _try_unseen(recipe, data, front, trained.core)
    record = _record(job, trained, table) | {
        "commit": commit,
        "corpora": {"present": present, "missing": missing, "unseen_missing": unheard},
        "unseen": heard,
    }
    for name, answers, (_, truth) in zip(SIDES[1:], logits[1:], sides[1:], strict=True):
        record[name] = asdict(score(truth, calibration.probabilities(answers), recipe.labels))
    return Reproduced(job, Record(**record), join(front, trained.core), calibration, table)


def _side(front: keras.Model, examples: Examples, labels: tuple[str, ...], rows: Any) -> Side:
    """Some clips as the core takes them, with their truth."""
    return prepare(front, [examples.features[row] for row in rows]), examples.truth(labels)[rows]


def _record(job: Job, trained: Trained, table: pd.DataFrame) -> dict[str, Any]:
    """What a record says of a training, the figures apart."""
    tested = table[table["split"] == SIDES[2]]
    return {
        "family": job.recipe.family,
        "variant": job.recipe.variant,
        "split": job.split,
        "seed": job.seed,
        "settings": job.recipe.settings,
        "machine": describe_machine(),
        "n_clips": {name: int((table["split"] == name).sum()) for name in SIDES},
        "n_parameters": sum(int(np.prod(w.shape)) for w in trained.core.trainable_weights),
        "epochs": {
            "run": len(trained.history),
            "kept": trained.best_epoch,
            "allowed": job.allowed_epochs,
        },
        "train_s": trained.train_s,
        "history": {str(name): list(column) for name, column in trained.history.items()},
        "by_corpus": {
            str(corpus): _figures(rows["emotion"], rows["predicted"])
            for corpus, rows in tested.groupby("corpus", sort=False)
        },
    }


def _try_unseen(
    recipe: Reproduction, data: Path, front: keras.Model, core: keras.Model
) -> tuple[dict[str, Figures], list[str]]:
    """Figures on corpora that were not learned from, and the names of those that are missing.

    Only emotions that both know are scored.
    """
    here = [name for name in recipe.unseen if CORPORA[name].is_present(data)]
    figures = {}
    for name in here:
        examples = load_examples(replace(recipe, copies="none"), [name], data)
        logits = answer(core, prepare(front, examples.features))
        known = set(examples.table["emotion"])
        classes = tuple(label for label in recipe.labels if label in known)
        heard = narrow(softmax(logits, axis=1), recipe.labels, classes).argmax(axis=1)
        predicted = pd.Series([classes[i] for i in heard])
        figures[name] = _figures(examples.table["emotion"], predicted)
    return figures, [name for name in recipe.unseen if name not in here]


def _figures(truth: "pd.Series[str]", predicted: "pd.Series[str]") -> Figures:
    right = truth.to_numpy() == predicted.to_numpy()
    uar = unweighted_recall(pd.factorize(truth)[0], right)
    return {"uar": uar, "war": float(right.mean()), "n_clips": len(right)}
