"""The jobs that the command line asks for, one training each."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import softmax
from sklearn.metrics import classification_report
from sklearn.svm import LinearSVC

from ser_core.corpora import CORPORA
from ser_core.errors import SerError
from ser_lab.data.splits import SpeakerSplit
from ser_lab.evaluate.records import describe_machine
from ser_lab.metrics import Floats, narrow, score, unweighted_recall
from ser_lab.report.plots import plot_confusion, plot_curves
from ser_lab.reproduce.networks import build_core, build_front, join, prepare
from ser_lab.reproduce.recipes import Reproduction, find_reproductions
from ser_lab.reproduce.record import Record
from ser_lab.reproduce.report import PAPERS
from ser_lab.reproduce.splits import (
    SIDES,
    SPLITS,
    Examples,
    Split,
    draw_sides,
    held_out_speakers,
    load_examples,
    present_corpora,
)
from ser_lab.train.calibration import Calibration, calibrate
from ser_lab.train.export import Lineage, current_commit, export_model
from ser_lab.train.loop import BEST, keep_best

ANSWER_BATCH = 256
"""Clips a batch where nothing is learned."""
SVM_ITERATIONS = 20_000

Side = tuple[Floats, npt.NDArray[np.int64]]
"""Prepared clips, and (n_clips,) indices into the recipe's labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A core at its best epoch.

    Attributes:
        core: From prepared clips to logits.
        history: One row an epoch: loss, accuracy, val_loss, val_accuracy; empty without any.
        train_s: How long it took.
    """

    core: keras.Model
    history: pd.DataFrame
    train_s: float

    @property
    def best_epoch(self) -> int:
        """Which epoch was kept, counted from 1; 0 where there are none."""
        return 0 if self.history.empty else int(self.history["val_accuracy"].argmax()) + 1


def fit(
    recipe: Reproduction, train: Side, development: Side, *, seed: int, epochs: int, folder: Path
) -> Trained:
    """Train a core and keep the epoch with the best development accuracy.

    Args:
        recipe: Network and schedule.
        train: What is learned from.
        development: What chooses the epoch.
        seed: Seed of weights, dropout and the order of clips.
        epochs: Most passes over the training clips.
        folder: Where `BEST` and `log.csv` go; it need not exist.
    """
    keras.utils.set_random_seed(seed)
    core = build_core(
        recipe.plan, train[0], n_labels=len(recipe.labels), standardise=recipe.standardise
    )
    start = time.perf_counter()
    if recipe.schedule is None:
        _fit_planes(core, train, seed)
        return Trained(core, pd.DataFrame(), time.perf_counter() - start)
    core.compile(
        optimizer=recipe.schedule.optimiser,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    folder.mkdir(parents=True, exist_ok=True)
    patience = recipe.schedule.patience or epochs
    history = core.fit(
        *train,
        validation_data=development,
        batch_size=recipe.schedule.batch_size,
        validation_batch_size=ANSWER_BATCH,
        epochs=epochs,
        verbose=0,
        callbacks=keep_best(folder, epochs=epochs, patience=patience, title=recipe.name),
    )
    core = keras.models.load_model(folder / BEST)
    return Trained(core, pd.DataFrame(history.history), time.perf_counter() - start)


def answer(core: keras.Model, prepared: Floats) -> Floats:
    """Logits (n_clips, n_labels) of prepared clips."""
    return np.asarray(core.predict(prepared, batch_size=ANSWER_BATCH, verbose=0))


def _fit_planes(core: keras.Model, train: Side, seed: int) -> None:
    """Find an SVM's planes and lay them into the last layer.

    Source: scikit-learn, `LinearSVC`, one plane an emotion against all others.
    """
    inputs = keras.Model(core.inputs, core.get_layer("logits").input)
    svm = LinearSVC(max_iter=SVM_ITERATIONS, random_state=seed)
    svm.fit(answer(inputs, train[0]), train[1])
    core.get_layer("logits").set_weights([svm.coef_.T, svm.intercept_])


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


N_SHOWN = 18
"""Random test clips in the table of a paper, and in ours."""


def write_outputs(done: Reproduced, folder: Path, *, n_shown: int = N_SHOWN) -> None:
    """Write curves, confusions, reports, some clips with their answers, and the model.

    Args:
        done: What was trained.
        folder: Where it goes; it need not exist.
        n_shown: Random test clips in `answers.csv`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if done.record.history:
        plot_curves(pd.DataFrame(done.record.history), folder / "curves.png")
    for side in ("development", "test"):
        _write_side(done, side, folder)
    _show_clips(done, n_shown).to_csv(folder / "answers.csv", index=False)
    _export(done, folder / "model")


def _write_side(done: Reproduced, side: str, folder: Path) -> None:
    """Confusion matrix, figures of each emotion, classification report."""
    figures = getattr(done.record, side)
    rows, labels = done.table[done.table["split"] == side], list(done.job.recipe.labels)
    heard = "speakers shared" if done.job.split == "random" else "unseen speakers"
    title = f"{done.record.name}, {side}, {heard}: {figures['war']:.1%} of {len(rows):,} clips"
    plot_confusion(figures["confusion"], labels, title, folder / f"confusion_{side}.png")
    per_emotion = pd.DataFrame(figures["per_emotion"]).T.rename_axis("emotion")
    per_emotion.to_csv(folder / f"per_emotion_{side}.csv")
    report = classification_report(
        rows["emotion"], rows["predicted"], labels=labels, digits=3, zero_division=0.0
    )
    (folder / f"report_{side}.txt").write_text(report, encoding="utf-8")


def _show_clips(done: Reproduced, n_shown: int) -> pd.DataFrame:
    """File, actual, predicted, right or wrong, of random test clips."""
    tested = done.table[done.table["split"] == "test"]
    drawn = tested.sample(min(n_shown, len(tested)), random_state=done.job.seed)
    right = drawn["emotion"] == drawn["predicted"]
    return pd.DataFrame(
        {
            "file": [Path(path).name for path in drawn["path"]],
            "copy": drawn["copy"],
            "actual": drawn["emotion"],
            "predicted": drawn["predicted"],
            "verdict": right.map({True: "right", False: "wrong"}),
        }
    )


def _export(done: Reproduced, folder: Path) -> None:
    """The model as SavedModel and as `.keras`, with the manifest that serves both."""
    recipe, job = done.job.recipe, done.job
    sides: dict[str, tuple[str, ...]] = {"development": (), "test": ()}
    if job.split == "speaker":
        held_out = held_out_speakers(done.table, job.seed)
        sides = {side: tuple(s for s in held_out if held_out[s] == side) for side in sides}
    lineage = Lineage(
        done.record.name, done.table, SpeakerSplit(**sides), job.seed, done.record.commit
    )
    manifest = export_model(
        done.network,
        done.calibration,
        folder,
        pipeline=recipe.pipeline,
        architecture=recipe.settings,
        lineage=lineage,
    )
    replace(manifest, labels=recipe.labels, metrics={job.split: done.record.test}).write(folder)


def find_jobs(
    family: str,
    variant: str | None,
    split: str | None,
    *,
    seeds: Sequence[int],
    epochs: int | None = None,
) -> Iterator[Job]:
    """Every training of a system, split by split and seed by seed.

    Args:
        family: Name of the system.
        variant: One of its variants; all where None.
        split: `random` or `speaker`; both where None.
        seeds: One training each.
        epochs: At most so many, where the recipe has more.

    Raises:
        SerError: A name is unknown.
    """
    splits = [known for known in SPLITS if split in (None, known)]
    if not splits:
        raise SerError(f"{split!r} is not a split; known: {', '.join(SPLITS)}.")
    for recipe in find_reproductions(family, variant):
        for chosen in splits:
            for seed in seeds:
                yield Job(recipe, chosen, seed, epochs)


def run_job(job: Job, data: Path, *, runs_folder: Path, out: Path) -> str:
    """Train, write record and outputs, and say in a line what came of it.

    Args:
        job: What is trained.
        data: Folder that holds a folder for each corpus.
        runs_folder: Folder of all run records.
        out: Folder of the outputs, which lie in `NAME/SPLIT/seed-N` there.

    Raises:
        CorpusError: No corpus of the recipe is here, or a side would be empty.
    """
    folder = out / job.place
    done = reproduce(job, data, logs=folder / "logs")
    write_outputs(done, folder)
    path = done.record.write(runs_folder)
    record, paper = done.record, PAPERS[job.recipe.name]
    heard = "speakers shared" if job.split == "random" else "unseen speakers"
    parts = [
        f"{record.name}, {heard}, seed {job.seed}: {record.test['war']:.1%} right, "
        f"UAR {record.test['uar']:.1%}, of {record.test['n_clips']:,} clips; "
        f"the paper has {paper.told}.",
        *(f"{corpus}, never heard: UAR {f['uar']:.1%}." for corpus, f in record.unseen.items()),
    ]
    if missing := record.corpora["missing"] + record.corpora["unseen_missing"]:
        parts.append(f"Missing in {data}: {', '.join(missing)}.")
    return " ".join([*parts, f"{path} and {folder} written."])
