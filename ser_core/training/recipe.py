"""The baseline from recordings to a model folder, in one call."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scipy.special import softmax

from ser_core.config import PipelineConfig
from ser_core.labels import LABELS
from ser_core.manifest import Manifest
from ser_core.predictor import Predictor
from ser_core.training.card import FIGURES, write_card
from ser_core.training.evaluate import evaluate_test, record_test
from ser_core.training.export import current_commit, export_model
from ser_core.training.figures import plot_confusion, plot_curves
from ser_core.training.fit import (
    Examples,
    TrainConfig,
    TrainedNetwork,
    load_examples,
    predict_logits,
    train_network,
)
from ser_core.training.metrics import Scores, score
from ser_core.training.splits import SHIPPED_SPLIT, SpeakerSplit, tabulate_clips

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained, on whom.

    Attributes:
        corpora: Names of the corpora.
        split: Speakers held out.
        pipeline: Settings of the path from file to features.
        training: Network and schedule.
    """

    corpora: tuple[str, ...] = ("ravdess", "tess")
    split: SpeakerSplit = SHIPPED_SPLIT
    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    training: TrainConfig = field(default_factory=TrainConfig)


BASELINE = Recipe()
"""Two LSTM of 64 units over the papers' 15 columns, RAVDESS and TESS."""


def train_and_export(
    recipe: Recipe, data: Path, folder: Path, *, seeds: Sequence[int], runs: Path
) -> Manifest:
    """Train once a seed, ship the run that the development speakers like best.

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
    table = tabulate_clips(data, recipe.corpora, recipe.split)
    runs.mkdir(parents=True, exist_ok=True)
    table.to_csv(runs / "clips.csv", index=False)
    sides = load_examples(table, recipe.pipeline)
    trained = [
        train_network(sides, recipe.training, seed=seed, run_folder=runs / f"seed-{seed}")
        for seed in seeds
    ]
    shipped = max(trained, key=lambda run: run.development_accuracy)
    seed_uars = {run.seed: _scores(run, sides["test"]).uar for run in trained}
    logger.info("test UAR by seed: %s; shipped: %d", seed_uars, shipped.seed)
    export_model(
        shipped,
        folder,
        pipeline=recipe.pipeline,
        settings=recipe.training,
        table=table,
        split=recipe.split,
        commit=commit,
    )
    scores, answers = evaluate_test(Predictor.from_folder(folder), data)
    answers.drop(columns="path").to_csv(runs / "test_answers.csv", index=False)
    manifest = record_test(folder, scores, seed_uars=seed_uars)
    _draw(shipped, _scores(shipped, sides["development"]), scores, folder / FIGURES)
    write_card(folder)
    return manifest


def _scores(run: TrainedNetwork, examples: Examples) -> Scores:
    logits = predict_logits(run.network, examples.features)
    return score(examples.truth, softmax(logits / run.temperature, axis=1), LABELS)


def _draw(run: TrainedNetwork, development: Scores, test: Scores, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plot_curves(run.history, folder / "curves.png")
    for scores, name in ((development, "development"), (test, "test")):
        title = f"{name.capitalize()} speakers: UAR {scores.uar:.1%}, {scores.n_clips} clips"
        plot_confusion(scores.confusion, LABELS, title, folder / f"confusion_{name}.png")
