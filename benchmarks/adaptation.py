"""What 20, 50 and 200 recordings of an unseen corpus bring to a model that is fine-tuned on them.

    python -m benchmarks.adaptation --data ../shared/data

Trains a head of `accurate` without each corpus, unless runs/adaptation has it, fine-tunes it on
some clips of the corpus as `train --start` does, and tests it on speakers who had none. Writes
docs/adaptation.json and docs/adaptation.md.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.progress import track

from benchmarks import ROOT, render, table, write
from ser_core.labels import LABELS
from ser_core.model.layers import load_keras
from ser_core.model.manifest import Certainty
from ser_lab.data.feature_store import Clips
from ser_lab.data.protocols import Run, find_protocol
from ser_lab.data.splits import list_clips
from ser_lab.evaluate.records import FoldRecord, describe_machine
from ser_lab.evaluate.strangers import StrangerAnswers, calibrate_on_strangers, merge_calm
from ser_lab.metrics import Calibration, compute_scores, narrow
from ser_lab.train.architectures import HeadConfig
from ser_lab.train.loop import TrainedModel, speech_rows
from ser_lab.train.recipes.accurate import AccurateRecipe
from ser_lab.train.recipes.finetune import fine_tune

CORPORA = ("tess", "nemo", "turev")
SIZES = (20, 50, 200)
N_DRAWS = 3
"""Choices of test speakers and of clips, for each size."""
HELD_OUT_SHARE = 0.2
HEAD = HeadConfig(input_blocks=(1, 2, 3), units=0)
"""One of the three of the shipped ensemble, for speed."""
BASES = ROOT / "runs" / "adaptation"
RECORDS = ROOT / "docs" / "runs" / "strangers" / "accurate" / "seed-0"
NETWORK, CALIBRATION = "head.keras", "calibration.json"


def base_recipe() -> AccurateRecipe:
    """Return the recipe of `accurate` with one head."""
    recipe = AccurateRecipe()
    return replace(recipe, training=replace(recipe.training, networks=(HEAD,)))


def train_bases(corpora: Sequence[str], data: Path) -> None:
    """Train a head without each of some corpora, as the folds of the protocol `strangers` do."""
    protocol, recipe = find_protocol("strangers"), base_recipe()
    clips = list_clips(data, dict.fromkeys((*protocol.corpora, *recipe.corpora)))
    folds = {fold.name: fold for fold in protocol.folds(clips)}
    copies = recipe.load(clips, data)
    for corpus in corpora:
        others = recipe.of_corpora([name for name in recipe.corpora if name != corpus])
        folder = BASES / corpus
        folder.mkdir(parents=True, exist_ok=True)
        model = others.fit(clips, copies, folds[corpus], Run(data, 0, folder))
        model.network.save(folder / NETWORK)
        (folder / CALIBRATION).write_text(json.dumps(asdict(model.calibration)))


def load_base(corpus: str) -> TrainedModel:
    """Return a trained head, calibrated like the shipped model: on the other corpora left out."""
    stored = json.loads((BASES / corpus / CALIBRATION).read_text())
    records = [FoldRecord.read(path) for path in sorted(RECORDS.glob("*.json"))]
    others = [StrangerAnswers.of(record) for record in records if record.fold != corpus]
    correction = calibrate_on_strangers(others)
    temperature = stored["temperature"] * correction.temperature
    certainty = Certainty(**asdict(correction.certainty))
    network = load_keras(BASES / corpus / NETWORK)
    return TrainedModel(network, Calibration(temperature, certainty), 0.0, LABELS)


def score(model: TrainedModel, clips: pd.DataFrame, vectors: Clips, rows: Any) -> dict[str, float]:
    """Return the figures on some clips, over the emotions of their corpus."""
    classes = tuple(label for label in LABELS if label in {*clips["emotion"]})
    merged = merge_calm(model.predict(vectors, rows), classes)
    truth = np.array([classes.index(emotion) for emotion in clips["emotion"].iloc[rows]])
    scores = compute_scores(truth, narrow(merged, LABELS, classes), classes)
    return {"uar": round(scores.uar, 4), "ece": round(scores.ece, 4)}


def measure(corpus: str, data: Path) -> Iterator[dict[str, Any]]:
    """Yield the figures before and after each fine-tuning."""
    clips = list_clips(data, [corpus])
    (vectors,) = replace(base_recipe(), copies=()).load(clips, data)
    base = load_base(corpus)
    names = sorted(clips["speaker"].unique())
    n_tested = max(1, round(HELD_OUT_SHARE * len(names)))
    for draw in track(range(N_DRAWS), corpus):
        random = np.random.default_rng(draw)
        tested = np.roll(names, -draw * n_tested)[:n_tested]  # other speakers in each draw
        is_tested = clips["speaker"].isin(tested).to_numpy()
        test, rest = np.flatnonzero(is_tested), speech_rows(vectors, np.flatnonzero(~is_tested))
        order = random.permutation(rest)
        before = score(base, clips, vectors, test)
        for n_clips in SIZES:
            tuned = fine_tune(base, clips, vectors, order[:n_clips], labels=LABELS)
            yield {
                "corpus": corpus,
                "n_clips": n_clips,
                "draw": draw,
                "test_speakers": [*map(str, tested)],
                "n_test": len(test),
                "before": before,
                "after": score(tuned, clips, vectors, test),
                "temperature": round(tuned.calibration.temperature, 3),
            }


def document(figures: dict[str, Any]) -> str:
    """Return the figures as a page."""
    runs = pd.json_normalize(figures["runs"])
    rows = []
    for corpus in CORPORA:
        of_corpus = runs[runs["corpus"] == corpus]
        rows.append([corpus, "0", *_cells(of_corpus.drop_duplicates("draw"), "before")])
        for n_clips in SIZES:
            part = of_corpus[of_corpus["n_clips"] == n_clips]
            rows.append([corpus, f"{n_clips}", *_cells(part, "after")])
    return render("adaptation", figures, rows=table(rows), draws=N_DRAWS)


def _cells(runs: pd.DataFrame, when: str) -> list[str]:
    uar = runs[f"{when}.uar"]
    spread = f"{uar.min():.1%} to {uar.max():.1%}"
    return [f"{uar.mean():.1%}", spread, f"{runs[f'{when}.ece'].mean():.3f}"]


def main(data: Annotated[Path, typer.Option(help="Folder of the corpora.")]) -> None:
    """Measure and write docs/adaptation.json and docs/adaptation.md."""
    missing = [name for name in CORPORA if not (BASES / name / CALIBRATION).is_file()]
    if missing:
        train_bases(missing, data)
    runs = [run for corpus in CORPORA for run in measure(corpus, data)]
    figures = {"machine": describe_machine(), "head": asdict(HEAD), "seed": 0, "runs": runs}
    write("adaptation", figures, document(figures))


if __name__ == "__main__":
    typer.run(main)
