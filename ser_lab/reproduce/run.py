"""Reproduce the papers' systems: load, split, train, test, record, write outputs."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import softmax
from sklearn.metrics import classification_report, log_loss
from sklearn.svm import LinearSVC

from ser_core.corpora import CORPORA
from ser_core.errors import SerError
from ser_core.paths import lists_its_files, replacing, write_listing
from ser_lab.data.splits import SpeakerSplit
from ser_lab.evaluate.records import describe_machine
from ser_lab.metrics import (
    Calibration,
    Floats,
    calibrate,
    compute_scores,
    narrow,
    unweighted_recall,
)
from ser_lab.report.plots import draw_network, plot_confusion, plot_curves, write_summary
from ser_lab.reproduce.networks import BATCH, build_core, build_input_layers, join, prepare
from ser_lab.reproduce.recipes import Reproduction, find_reproductions
from ser_lab.reproduce.record import Record
from ser_lab.reproduce.report import PAPERS, plot_emotions
from ser_lab.reproduce.splits import (
    SPLIT_KINDS,
    SPLITS,
    SplitKind,
    draw_splits,
    held_out_speakers,
    load_examples,
    present_corpora,
)
from ser_lab.train.export import Lineage, current_commit, export_model
from ser_lab.train.loop import BEST, keep_best

SVM_ITERATIONS = 20_000
N_SHOWN = 18
"""Random test clips in `answers.csv`, as many as a paper shows."""

Prepared = tuple[Floats, npt.NDArray[np.int64]]
"""Prepared clips, and (n_clips,) indices into the recipe's labels."""
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Job:
    """One training of one recipe.

    Attributes:
        recipe: Settings of the paper.
        split: `random`, as in the paper, or `speaker`.
        seed: Seed of the split and of the training.
        epochs: Most epochs; those of the recipe where None.
    """

    recipe: Reproduction
    split: SplitKind
    seed: int = 0
    epochs: int | None = None

    @property
    def place(self) -> Path:
        """Folder of the run below all runs."""
        return Path(self.recipe.name, self.split, f"seed-{self.seed}")

    @property
    def allowed_epochs(self) -> int:
        """Most passes over the training clips; 0 for an SVM."""
        if self.recipe.schedule is None:
            return 0
        return self.epochs or self.recipe.schedule.epochs


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A core at its best epoch.

    Attributes:
        core: From prepared clips to logits.
        history: One row an epoch: loss, accuracy, val_loss, val_accuracy; empty without any.
        train_s: Training time in seconds.
    """

    core: keras.Model
    history: pd.DataFrame
    train_s: float

    @property
    def best_epoch(self) -> int:
        """Epoch that was kept, counted from 1; 0 without epochs."""
        return 0 if self.history.empty else int(self.history["val_accuracy"].argmax()) + 1


@dataclass(frozen=True, slots=True, eq=False)
class Reproduced:
    """A trained system.

    Attributes:
        job: Its recipe, split and seed.
        record: The figures.
        network: From frames to logits.
        calibration: Of its logits, by the development clips.
        table: Clips and copies of all splits, with `split` and `predicted`.
    """

    job: Job
    record: Record
    network: keras.Model
    calibration: Calibration
    table: pd.DataFrame


def find_jobs(
    family: str,
    variant: str | None,
    split: str | None,
    *,
    seeds: Sequence[int],
    epochs: int | None = None,
    preprocessing: str = "serving",
    subset: Mapping[str, str] | None = None,
) -> Iterator[Job]:
    """Yield every training of a system, split by split and seed by seed.

    Args:
        family: Name of the system.
        variant: One of its variants; all where None.
        split: `random` or `speaker`; both where None.
        seeds: One training each.
        epochs: Most epochs; those of the recipe where None.
        preprocessing: As in `find_reproductions`.
        subset: As in `Reproduction`; its values are part of the names of the records.

    Raises:
        SerError: A name is unknown, or epochs are named for a system without any.
    """
    splits = [known for known in SPLIT_KINDS if split in (None, known)]
    if not splits:
        raise SerError(f"{split!r} is not a split; known: {', '.join(SPLIT_KINDS)}.")
    for recipe in find_reproductions(family, variant, preprocessing=preprocessing):
        if recipe.schedule is None and epochs is not None:
            raise SerError(f"{recipe.name} is not trained in epochs: leave out --epochs.")
        if subset:
            values = (re.sub(r"\W+", "-", value) for value in subset.values())
            name = "-".join(filter(None, (recipe.variant, *values)))
            recipe = replace(recipe, variant=name, subset=subset)
        for chosen in splits:
            for seed in seeds:
                yield Job(recipe, chosen, seed, epochs)


def run_job(job: Job, data: Path, *, runs_folder: Path, out: Path) -> str:
    """Train, write record and outputs, and return a line that sums them up.

    Args:
        job: Recipe, split and seed.
        data: Folder that holds a folder for each corpus.
        runs_folder: Folder of all run records.
        out: Folder of the outputs, which lie in `NAME/SPLIT/seed-N` there.

    Raises:
        CorpusError: No corpus of the recipe is here, or a split would be empty.
        OutputError: The folder cannot be written, or contains something else.
    """
    folder = out / job.place
    with replacing(folder, lists_its_files) as draft:
        done = reproduce(job, data, logs=draft / "logs")
        write_outputs(done, draft)
        write_listing(draft)
    path = done.record.write(runs_folder)
    record, paper = done.record, PAPERS.get(job.recipe.name)  # None for a subset
    speakers = "speakers shared" if job.split == "random" else "unseen speakers"
    parts = [
        f"{record.name}, {speakers}, seed {job.seed}: {record.test['war']:.1%} right, "
        f"UAR {record.test['uar']:.1%}, of {record.test['n_clips']:,} clips"
        + (f"; the paper has {paper.text}." if paper else "."),
        *(f"{corpus}, unseen: UAR {f['uar']:.1%}." for corpus, f in record.unseen.items()),
    ]
    if missing := record.corpora["missing"] + record.corpora["unseen_missing"]:
        parts.append(f"Missing in {data}: {', '.join(missing)}.")
    return " ".join([*parts, f"{path} and {folder} written."])


def reproduce(job: Job, data: Path, *, logs: Path) -> Reproduced:
    """Train and test one system once.

    Args:
        job: Recipe, split and seed.
        data: Folder that holds a folder for each corpus; those of the recipe that are
            missing are left out and named in the record.
        logs: Folder of checkpoint and log.

    Raises:
        CorpusError: No corpus of the recipe is here, or a split would be empty.
    """
    recipe, commit = job.recipe, current_commit()
    present, missing = present_corpora(recipe.corpora, data)
    examples = load_examples(recipe, present, data)
    rows = draw_splits(recipe, examples.table, job.split, job.seed)
    input_layers = build_input_layers(recipe.front, recipe.pipeline.features.columns)
    truth = examples.truth(recipe.labels)
    splits = [
        (prepare(input_layers, [examples.features[row] for row in chosen]), truth[chosen])
        for chosen in rows
    ]
    trained = fit(recipe, *splits[:2], seed=job.seed, epochs=job.allowed_epochs, folder=logs)
    logits = [predict_logits(trained.core, clips) for clips, _ in splits]
    calibration = calibrate(logits[1], splits[1][1])
    table = pd.concat(
        examples.table.iloc[chosen].assign(
            split=name, predicted=[recipe.labels[i] for i in answers.argmax(axis=1)]
        )
        for name, chosen, answers in zip(SPLITS, rows, logits, strict=True)
    )
    unseen, missing_unseen = _test_on_unseen_corpora(recipe, data, input_layers, trained.core)
    record = _record(job, trained, table) | {
        "commit": commit,
        "corpora": {"present": present, "missing": missing, "unseen_missing": missing_unseen},
        "unseen": unseen,
    }
    for name, chosen, answers in zip(SPLITS[1:], rows[1:], logits[1:], strict=True):
        probabilities = calibration.probabilities(answers)
        record[name] = asdict(compute_scores(truth[chosen], probabilities, recipe.labels))
        if recipe.schedule is not None:
            record[name]["loss"] = cross_entropy(truth[chosen], answers)
    return Reproduced(job, Record(**record), join(input_layers, trained.core), calibration, table)


def _record(job: Job, trained: Trained, table: pd.DataFrame) -> dict[str, Any]:
    tested = table[table["split"] == SPLITS[2]]
    return {
        "family": job.recipe.family,
        "variant": job.recipe.variant,
        "split": job.split,
        "seed": job.seed,
        "settings": job.recipe.settings,
        "machine": describe_machine(),
        "n_clips": {name: int((table["split"] == name).sum()) for name in SPLITS},
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


def _test_on_unseen_corpora(
    recipe: Reproduction, data: Path, input_layers: keras.Model, core: keras.Model
) -> tuple[dict[str, Figures], list[str]]:
    """Return figures on corpora unseen in training, and the names of the missing ones.

    Only emotions that both label sets share are scored.
    """
    here = [name for name in recipe.unseen if CORPORA[name].is_present(data)]
    figures, whole = {}, replace(recipe, copies="none", subset={})
    for name in here:
        examples = load_examples(whole, [name], data)
        logits = predict_logits(core, prepare(input_layers, examples.features))
        known = set(examples.table["emotion"])
        classes = tuple(label for label in recipe.labels if label in known)
        best = narrow(softmax(logits, axis=1), recipe.labels, classes).argmax(axis=1)
        predicted = pd.Series([classes[i] for i in best])
        figures[name] = _figures(examples.table["emotion"], predicted)
    return figures, [name for name in recipe.unseen if name not in here]


def _figures(truth: "pd.Series[str]", predicted: "pd.Series[str]") -> Figures:
    right = truth.to_numpy() == predicted.to_numpy()
    uar = unweighted_recall(pd.factorize(truth)[0], right)
    return {"uar": uar, "war": float(right.mean()), "n_clips": len(right)}


def fit(
    recipe: Reproduction,
    train: Prepared,
    development: Prepared,
    *,
    seed: int,
    epochs: int,
    folder: Path,
) -> Trained:
    """Train a core and keep the epoch with the best development accuracy.

    Args:
        recipe: Network and schedule.
        train: Training clips.
        development: Clips that choose the epoch.
        seed: Seed of weights, dropout and the order of clips.
        epochs: Most passes over the training clips.
        folder: Folder of `BEST` and `log.csv`; it need not exist.
    """
    keras.utils.set_random_seed(seed)
    core = build_core(
        recipe.plan, train[0], n_labels=len(recipe.labels), standardise=recipe.standardise
    )
    start = time.perf_counter()
    if recipe.schedule is None:
        _fit_svm(core, train, seed)
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
        validation_batch_size=BATCH,
        epochs=epochs,
        verbose=0,
        callbacks=keep_best(folder, epochs=epochs, patience=patience, title=recipe.name),
    )
    # Compiled, it would carry its optimiser into the exported network.
    core = keras.models.load_model(folder / BEST, compile=False)
    return Trained(core, pd.DataFrame(history.history), time.perf_counter() - start)


def _fit_svm(core: keras.Model, train: Prepared, seed: int) -> None:
    """Fit an SVM and put its planes into the last layer.

    Source: scikit-learn, `LinearSVC`, one plane an emotion against all others.
    """
    inputs = keras.Model(core.inputs, core.get_layer("logits").input)
    svm = LinearSVC(max_iter=SVM_ITERATIONS, random_state=seed)
    svm.fit(predict_logits(inputs, train[0]), train[1])
    core.get_layer("logits").set_weights([svm.coef_.T, svm.intercept_])


def predict_logits(core: keras.Model, prepared: Floats) -> Floats:
    """Return logits, (n_clips, n_labels), of prepared clips."""
    return np.asarray(core.predict(prepared, batch_size=BATCH, verbose=0))


def cross_entropy(truth: npt.NDArray[np.int64], logits: Floats) -> float:
    """Return the mean cross-entropy, the loss that Keras trains on.

    Args:
        truth: (n_clips,) indices into the labels.
        logits: (n_clips, n_labels), before any calibration.
    """
    probabilities = softmax(logits.astype(np.float64), axis=1)
    return float(log_loss(truth, probabilities, labels=np.arange(logits.shape[1])))


def write_outputs(done: Reproduced, folder: Path) -> None:
    """Write network, curves, matrices, reports, some clips with their predictions, and the model.

    There is no model where the preprocessing is not that of serving.

    Args:
        done: The trained system.
        folder: Output folder; it need not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    core = done.network.get_layer("core")
    write_summary(core, folder / "summary.txt")
    draw_network(core, folder / "network.png")
    if done.record.history:
        plot_curves(pd.DataFrame(done.record.history), folder / "curves.png")
    for split in ("development", "test"):
        _write_split(done, split, folder)
    _show_clips(done).to_csv(folder / "answers.csv", index=False)
    if done.job.recipe.steps is None:
        _export(done, folder / "model")


def _write_split(done: Reproduced, split: str, folder: Path) -> None:
    figures = getattr(done.record, split)
    rows, labels = done.table[done.table["split"] == split], list(done.job.recipe.labels)
    speakers = "speakers shared" if done.job.split == "random" else "unseen speakers"
    title = f"{done.record.name}, {split}, {speakers}: {figures['war']:.1%} of {len(rows):,} clips"
    plot_confusion(figures["confusion"], labels, title, folder / f"confusion_{split}.png")
    recalls = {name: row["recall"] for name, row in figures["per_emotion"].items()}
    plot_emotions({title: {"recall": recalls}}, folder / f"recall_{split}.png")
    per_emotion = pd.DataFrame(figures["per_emotion"]).T.rename_axis("emotion")
    per_emotion.to_csv(folder / f"per_emotion_{split}.csv")
    report = classification_report(
        rows["emotion"], rows["predicted"], labels=labels, digits=3, zero_division=0.0
    )
    (folder / f"report_{split}.txt").write_text(report, encoding="utf-8")


def _show_clips(done: Reproduced) -> pd.DataFrame:
    tested = done.table[done.table["split"] == "test"]
    sample = tested.sample(min(N_SHOWN, len(tested)), random_state=done.job.seed)
    right = sample["emotion"] == sample["predicted"]
    return pd.DataFrame(
        {
            "file": [Path(path).name for path in sample["path"]],
            "copy": sample["copy"],
            "actual": sample["emotion"],
            "predicted": sample["predicted"],
            "verdict": right.map({True: "right", False: "wrong"}),
        }
    )


def _export(done: Reproduced, folder: Path) -> None:
    """Write the model as SavedModel and `.keras`, with one manifest for both."""
    recipe, job = done.job.recipe, done.job
    splits: dict[str, tuple[str, ...]] = {"development": (), "test": ()}
    if job.split == "speaker":
        held_out = held_out_speakers(done.table, job.seed)
        splits = {split: tuple(s for s in held_out if held_out[s] == split) for split in splits}
    lineage = Lineage(
        done.record.name,
        done.table,
        SpeakerSplit(**splits),
        job.seed,
        done.record.commit,
        recipe.labels,
    )
    manifest = export_model(
        done.network,
        done.calibration,
        folder,
        pipeline=recipe.pipeline,
        architecture=recipe.settings,
        lineage=lineage,
    )
    replace(manifest, metrics={job.split: done.record.test}).write(folder)
