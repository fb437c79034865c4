"""From recordings to a model folder with its figures and card."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import pandas as pd

from ser_core.config import AudioConfig
from ser_core.errors import CorpusError, ModelError
from ser_core.labels import column_of
from ser_core.model.assemble import read_deltas, record_probe
from ser_core.model.manifest import Manifest
from ser_core.paths import check_output, replacing
from ser_core.predictor import Predictor
from ser_lab.data.feature_store import Clips
from ser_lab.data.protocols import Fold, Run
from ser_lab.data.splits import COLUMNS, is_table, tabulate_clips
from ser_lab.data.tables import why_unreadable
from ser_lab.evaluate.intensity import IntensityError, fit_intensity
from ser_lab.evaluate.records import write_text
from ser_lab.evaluate.shipped import (
    describe_test,
    evaluate_test,
    neutral_reference,
    reproduce_command,
    time_answers,
)
from ser_lab.evaluate.strangers import calibrated_for_strangers
from ser_lab.metrics import Scores, calibration_bins
from ser_lab.report.model_card import (
    DEVELOPMENT,
    FIGURES,
    SUMMARY_TEXT,
    is_model_folder,
    write_card,
)
from ser_lab.report.plots import (
    draw_network,
    plot_calibration,
    plot_confusion,
    plot_curves,
    write_summary,
)
from ser_lab.train.export import (
    Lineage,
    count_parameters,
    current_commit,
    export_model,
    write_network,
)
from ser_lab.train.loop import speech_rows
from ser_lab.train.recipes.base import Recipe

logger = logging.getLogger(__name__)

CLIPS, ANSWERS = "clips.csv", "test_answers.csv"
"""Tables in the folder of runs."""
UNSEEN = "corpora left out of training"
"""On what a model is calibrated that has records of `strangers.PROTOCOLS`."""
IN_TURN = "the training speakers, each left out in turn, and by the model it started from"
"""On what a fine-tuned model is calibrated."""
N_TIMED = 60
"""Test clips whose predictions are timed."""


def train_and_export(
    recipe: Recipe,
    data: Path,
    folder: Path,
    *,
    seeds: Sequence[int],
    runs: Path,
    records: Path | None = None,
) -> Manifest:
    """Train a recipe once a seed, and ship the run that is best on the development speakers.

    Args:
        recipe: Network and schedule.
        data: Folder that holds a folder for each corpus, or a table of recordings.
        folder: The model folder to write; it replaces nothing but a model folder.
        seeds: One run each; the card gives mean and spread over them.
        runs: Folder for logs, checkpoints, the table of clips and the predictions.
        records: Folder of the run records: with those of this recipe in one of
            `strangers.PROTOCOLS`, the model is calibrated on corpora that were not trained on.

    Returns:
        The manifest of the shipped model, with its test figures.

    Raises:
        CorpusError: A corpus is missing, or a split has no clip with speech.
        ModelError: Whisper's weights can neither be found nor downloaded.
        OutputError: A folder cannot be written, or contains something else.
    """
    check_output(folder, is_model_folder)
    for name in (CLIPS, ANSWERS):
        check_output(runs / name, _is_table_of_clips)
    commit = current_commit()
    table = tabulate_clips(data, recipe.corpora, recipe.split)
    table, copies = _readable(table, recipe.load(table, data), recipe.pipeline.audio)
    write_text(runs / CLIPS, table.to_csv(index=False))
    fold = _shipped_fold(table, copies[0], recipe)
    models = {
        seed: recipe.fit(table, copies, fold, Run(data, seed, runs / f"seed-{seed}"))
        for seed in seeds
    }
    seed_uars = {
        seed: model.evaluate(table, copies[0], fold.test).uar for seed, model in models.items()
    }
    logger.info("test UAR by seed: %s", seed_uars)
    seed, best = max(models.items(), key=lambda run: run[1].development_score)
    calibration = records and calibrated_for_strangers(
        best.calibration, records, recipe.name, recipe.settings
    )
    metrics: dict[str, Any] = {"calibrated_on": UNSEEN if calibration else DEVELOPMENT}
    if recipe.start and (start := recipe.load_start()):
        figures: dict[str, Any] = {"name": f"{recipe.start.name} {recipe.start.version}"}
        if start.labels == recipe.labels:
            figures |= asdict(start.evaluate(table, copies[0], fold.test))
        metrics = {"calibrated_on": IN_TURN, "start": figures}
    logger.info("calibrated on %s", metrics["calibrated_on"])
    with replacing(folder, is_model_folder) as draft:
        manifest = export_model(
            best.network,
            calibration or best.calibration,
            draft,
            pipeline=recipe.pipeline,
            architecture=recipe.architecture,
            lineage=Lineage(
                recipe.name,
                table,
                recipe.split,
                seed,
                commit,
                recipe.labels,
                recipe.start,
                len(recipe.list_readings(data)),
            ),
            encoder=recipe.encoder,
            deltas=recipe.deltas,
        )
        replace(manifest, metrics=metrics).write(draft)
        (draft / FIGURES).mkdir()
        _draw_network(best.network, draft)
        if recipe.start is None and not is_table(data):
            try:
                _add_intensity(draft, folder, data)
            except IntensityError as error:
                logger.info("%s", error)
        if best.history is not None:
            plot_curves(best.history, draft / FIGURES / "curves.png")
        if len(fold.development):
            scores = best.evaluate(table, copies[0], fold.development)
            _plot("development", scores, draft, recipe.labels)
        return _test_and_describe(draft, folder, data, seed_uars, runs)


def add_intensity(folder: Path, data: Path) -> Manifest:
    """Add an estimate of intensity to a shipped model; its emotions stay as they are.

    Args:
        folder: The model folder, whose manifest, network, pictures and card are updated.
        data: Folder that holds a folder for each corpus.

    Raises:
        IntensityError: The model cannot have one, see `fit_intensity`.
        CorpusError: A corpus is missing.
        OutputError: The folder cannot be written, or contains something else.
    """
    check_output(folder, is_model_folder)
    with replacing(folder, is_model_folder) as draft:
        shutil.copytree(folder, draft)
        _add_intensity(draft, folder, data)
        write_card(draft)
        return Manifest.read(draft)


def _add_intensity(draft: Path, folder: Path, data: Path) -> None:
    manifest = Manifest.read(draft)
    network, figures = fit_intensity(draft, manifest, data)
    command = reproduce_command(manifest, folder, data, protocol="intensity")
    replace(
        manifest,
        has_intensity=True,
        n_parameters=count_parameters(network, read_deltas(draft, manifest.encoder)),
        files=manifest.files | write_network(network, draft, manifest),
        metrics=manifest.metrics | {"intensity": figures | {"command": f"{command} --record"}},
    ).write(draft)
    _draw_network(network, draft)


def _draw_network(network: keras.Model, folder: Path) -> None:
    draw_network(network, folder / FIGURES / "network.png")
    write_summary(network, folder / FIGURES / SUMMARY_TEXT)


def retest(folder: Path, data: Path) -> Manifest:
    """Repeat the test of a shipped model, and update its manifest, pictures and card.

    Args:
        folder: The model folder.
        data: Folder that holds a folder for each corpus.

    Raises:
        ModelError: It has no test figures, such as a reproduction.
        CorpusError: The corpus of a test speaker is missing.
    """
    manifest = Manifest.read(folder)
    if "test" not in manifest.metrics:
        raise ModelError(
            f"{manifest.name} {manifest.version} has no test figures to replace. Leave out "
            "--record, or train a model with python -m ser_core train."
        )
    seed_uars = manifest.metrics["test"]["seed_uars"]
    with TemporaryDirectory() as runs, replacing(folder, is_model_folder) as draft:
        shutil.copytree(folder, draft)
        return _test_and_describe(draft, folder, data, seed_uars, Path(runs))


def _readable(
    table: pd.DataFrame, copies: Sequence[Clips], config: AudioConfig
) -> tuple[pd.DataFrame, list[Clips]]:
    """Return the rows whose files can be decoded; the log of their features lists the others."""
    pairs = zip(copies[0], table["path"], strict=True)
    rows = [
        row
        for row, (clip, path) in enumerate(pairs)
        if clip is not None or not why_unreadable(Path(path), config)
    ]
    return table.iloc[rows].reset_index(drop=True), [[copy[row] for row in rows] for copy in copies]


def _shipped_fold(table: pd.DataFrame, clips: Clips, recipe: Recipe) -> Fold:
    """Return the rows of each split; song is no part of the test."""
    splits = {
        name: np.flatnonzero(table["split"] == name) for name in ("train", "development", "test")
    }
    needs = ("train", "development", "test") if recipe.split.development else ("train", "test")
    for name in needs:
        if not len(speech_rows(clips, splits[name])):
            raise CorpusError(f"No clip with speech is left for {name}; name other speakers.")
    is_song = (table["corpus"] == "ravdess-song").to_numpy()
    test = splits["test"][~is_song[splits["test"]]]
    return Fold("shipped", splits["train"], splits["development"], test, recipe.labels)


def _test_and_describe(
    draft: Path, folder: Path, data: Path, seed_uars: Mapping[Any, float], runs: Path
) -> Manifest:
    """Test a model as it will serve in `folder`, and write manifest, pictures and card."""
    predictor = Predictor.from_folder(draft, trust=True)
    scores, answers = evaluate_test(predictor, data)
    write_text(runs / ANSWERS, answers.drop(columns="path").to_csv(index=False))
    timed = answers[answers["corpus"] == answers["corpus"].iloc[0]].iloc[:N_TIMED]
    figures = describe_test(
        predictor.manifest,
        folder,
        scores,
        answers,
        data=data,
        seed_uars=seed_uars,
        speed=time_answers(predictor, [Path(path) for path in timed["path"]]),
    )
    replace(
        predictor.manifest,
        probe=predictor.manifest.probe or record_probe(draft, predictor.manifest),
        neutral_reference=neutral_reference(predictor, data),
        metrics=predictor.manifest.metrics | {"test": figures},
    ).write(draft)
    _plot("test", scores, draft, predictor.labels)
    right = (answers["predicted"] == answers["emotion"]).to_numpy()
    confidence = answers[[*map(column_of, predictor.labels)]].max(axis=1).to_numpy()
    plot_calibration(
        {"test speakers": [asdict(b) for b in calibration_bins(confidence, right)]},
        f"Calibration on {scores.n_clips:,} clips",
        draft / FIGURES / "calibration.png",
    )
    write_card(draft)
    return Manifest.read(draft)


def _is_table_of_clips(path: Path) -> bool:
    with path.open(encoding="utf-8") as file:
        return ",".join(COLUMNS[1:6]) in file.readline()


def _plot(split: str, scores: Scores, folder: Path, labels: Sequence[str]) -> None:
    title = f"{split.capitalize()} speakers: UAR {scores.uar:.1%}, {scores.n_clips:,} clips"
    picture = folder / FIGURES / f"confusion_{split}.png"
    plot_confusion(scores.confusion, labels, title, picture)
