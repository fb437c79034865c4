"""From recordings to a model folder with its figures, in one call a model."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from ser_core.errors import ModelError
from ser_core.model.manifest import Manifest
from ser_core.predictor import Predictor
from ser_lab.data.feature_store import Examples, load_examples
from ser_lab.data.splits import SpeakerSplit, tabulate_clips
from ser_lab.evaluate.shipped import calm_reference, evaluate_test, record_test, time_answers
from ser_lab.metrics import Scores, calibration_bins, score
from ser_lab.report.model_card import FIGURES, write_card
from ser_lab.report.plots import plot_calibration, plot_confusion, plot_curves
from ser_lab.train.export import Lineage, current_commit, export_head, export_model
from ser_lab.train.loop import TrainedNetwork, predict_logits, train_network
from ser_lab.train.recipes import Recipe
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.compact import CompactRecipe
from ser_lab.train.recipes.lstm import LstmRecipe

logger = logging.getLogger(__name__)

N_TIMED = 60
"""Test clips whose answers are timed."""


def ship(recipe: Recipe, data: Path, folder: Path, *, seeds: Sequence[int], runs: Path) -> Manifest:
    """Train any of the recipes; see `train_and_export` and `train_and_export_sampled`."""
    if isinstance(recipe, LstmRecipe):
        return train_and_export(recipe, data, folder, seeds=seeds, runs=runs)
    return train_and_export_sampled(recipe, data, folder, seeds=seeds, runs=runs)


def train_and_export(
    recipe: LstmRecipe, data: Path, folder: Path, *, seeds: Sequence[int], runs: Path
) -> Manifest:
    """Train the baseline once a seed, ship the run that the development speakers like best.

    Args:
        recipe: What is trained.
        data: Folder that holds a folder for each corpus.
        folder: The model folder to write.
        seeds: One run each; the card gives mean and spread over them.
        runs: Folder for logs, checkpoints and the table of clips.

    Returns:
        The manifest of the shipped model, with its test figures.

    Raises:
        CorpusError: A corpus is missing.
    """
    commit = current_commit()
    table = _tabulate(recipe.corpora, recipe.split, data, runs)
    sides = load_examples(table, recipe.pipeline, labels=recipe.labels)
    trained = [
        train_network(
            sides,
            recipe.training,
            seed=seed,
            run_folder=runs / f"seed-{seed}",
            n_labels=len(recipe.labels),
        )
        for seed in seeds
    ]
    shipped = max(trained, key=lambda run: run.development_accuracy)
    lineage = Lineage(recipe.name, table, recipe.split, shipped.seed, commit, recipe.labels)
    export_model(
        shipped.network,
        shipped.calibration,
        folder,
        pipeline=recipe.pipeline,
        architecture=asdict(recipe.training),
        lineage=lineage,
    )
    figures = _new_folder(folder / FIGURES)
    plot_curves(shipped.history, figures / "curves.png")
    _plot(
        "development", _scores(shipped, sides["development"], recipe.labels), figures, recipe.labels
    )
    seed_uars = {run.seed: _scores(run, sides["test"], recipe.labels).uar for run in trained}
    return _measure(folder, data, seed_uars, runs)


def train_and_export_sampled(
    recipe: AccurateRecipe | CompactRecipe,
    data: Path,
    folder: Path,
    *,
    seeds: Sequence[int],
    runs: Path,
) -> Manifest:
    """Train a flagship once a seed, ship the one best on development speakers.

    Args:
        recipe: What is trained.
        data: Folder that holds a folder for each corpus.
        folder: The model folder to write.
        seeds: One run each; the card gives mean and spread over them.
        runs: Folder for the table of clips and the answers.

    Returns:
        The manifest of the shipped model, with its test figures.

    Raises:
        CorpusError: A corpus is missing.
        ModelError: Whisper's weights cannot be had.
    """
    commit = current_commit()
    table = _tabulate(recipe.corpora, recipe.split, data, runs)
    copies = recipe.load(table, data)
    train, development = (np.flatnonzero(table["split"] == s) for s in ("train", "development"))
    test = np.flatnonzero((table["split"] == "test") & (table["corpus"] != "ravdess-song"))
    fitted = {
        seed: recipe.fit(table, copies, train, development, data=data, seed=seed) for seed in seeds
    }
    seed_uars = {seed: run.score(table, copies[0], test).uar for seed, run in fitted.items()}
    seed, shipped = max(fitted.items(), key=lambda pair: pair[1].development_uar)
    lineage = Lineage(recipe.name, table, recipe.split, seed, commit, recipe.labels)
    if isinstance(recipe, AccurateRecipe):
        export_head(shipped.network, shipped.calibration, folder, recipe=recipe, lineage=lineage)
    else:
        export_model(
            shipped.network,
            shipped.calibration,
            folder,
            pipeline=recipe.pipeline,
            architecture=recipe.settings,
            lineage=lineage,
        )
    figures = _new_folder(folder / FIGURES)
    _plot("development", shipped.score(table, copies[0], development), figures, recipe.labels)
    return _measure(folder, data, seed_uars, runs)


def _tabulate(corpora: Sequence[str], split: SpeakerSplit, data: Path, runs: Path) -> pd.DataFrame:
    """The clips with their sides, written down beside the run's logs."""
    table = tabulate_clips(data, corpora, split)
    runs.mkdir(parents=True, exist_ok=True)
    table.to_csv(runs / "clips.csv", index=False)
    return table


def measure_again(folder: Path, data: Path) -> Manifest:
    """Test a shipped model anew where the path that serves it has changed.

    Args:
        folder: The model folder; its manifest, pictures and card get the new figures.
        data: Folder that holds a folder for each corpus.

    Raises:
        ModelError: It was never tested so, as a reproduction is not.
        CorpusError: The corpus of a test speaker is missing.
    """
    manifest = Manifest.read(folder)
    if "test" not in manifest.metrics:
        raise ModelError(
            f"{manifest.name} {manifest.version} has no test figures to replace. Leave out "
            "--record, or train a model with python -m ser_core train."
        )
    seed_uars = manifest.metrics["test"]["seed_uars"]
    with TemporaryDirectory() as runs:
        return _measure(folder, data, seed_uars, Path(runs))


def _measure(folder: Path, data: Path, seed_uars: Mapping[Any, float], runs: Path) -> Manifest:
    """Test an exported model as it serves; complete its manifest, pictures and card."""
    logger.info("test UAR by seed: %s", seed_uars)
    predictor = Predictor.from_folder(folder)
    scores, answers = evaluate_test(predictor, data)
    answers.drop(columns="path").to_csv(runs / "test_answers.csv", index=False)
    reference = calm_reference(predictor, data)
    timed = answers[answers["corpus"] == answers["corpus"].iloc[0]].iloc[:N_TIMED]
    speed = time_answers(predictor, [Path(path) for path in timed["path"]])
    replace(Manifest.read(folder), calm_reference=reference).write(folder)
    manifest = record_test(folder, scores, answers, data=data, seed_uars=seed_uars, speed=speed)
    _plot("test", scores, folder / FIGURES, predictor.labels)
    right = (answers["predicted"] == answers["emotion"]).to_numpy()
    confidence = answers[list(predictor.labels)].max(axis=1).to_numpy()
    plot_calibration(
        {"test speakers": [asdict(b) for b in calibration_bins(confidence, right)]},
        f"Calibration on {scores.n_clips:,} clips",
        folder / FIGURES / "calibration.png",
    )
    write_card(folder)
    return manifest


def _scores(run: TrainedNetwork, examples: Examples, labels: tuple[str, ...]) -> Scores:
    logits = predict_logits(run.network, examples.features, n_labels=len(labels))
    return score(examples.truth, run.calibration.probabilities(logits), labels)


def _new_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _plot(side: str, scores: Scores, folder: Path, labels: Sequence[str]) -> None:
    title = f"{side.capitalize()} speakers: UAR {scores.uar:.1%}, {scores.n_clips:,} clips"
    plot_confusion(scores.confusion, labels, title, folder / f"confusion_{side}.png")
