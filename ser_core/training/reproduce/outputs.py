"""What the papers print of a training, as files in a folder that is not committed."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from sklearn.metrics import classification_report

from ser_core.training.export import Lineage, export_model
from ser_core.training.figures import plot_confusion, plot_curves
from ser_core.training.reproduce.run import Reproduced
from ser_core.training.reproduce.sides import held_out_speakers
from ser_core.training.splits import SpeakerSplit

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
