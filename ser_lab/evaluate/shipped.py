"""Figures of a shipped model, through the very path that serves visitors."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track

from ser_core.corpora import CORPORA
from ser_core.errors import ModelError, NoSpeechError
from ser_core.labels import LABELS
from ser_core.model.manifest import Manifest
from ser_core.paths import bundled
from ser_core.predictor import Predictor
from ser_core.speaker import mean_log
from ser_lab.data.protocols import Fold, Protocol
from ser_lab.data.splits import SpeakerSplit, is_table, list_clips, tabulate_clips
from ser_lab.evaluate.records import describe_machine
from ser_lab.evaluate.runs import run_protocol
from ser_lab.metrics import Floats, Scores, narrow, score


class ServedModel:
    """A shipped model in the place of a recipe: trained already, it only answers.

    Attributes:
        name: The model's name, marked as shipped.
        settings: Which model it is, by its files.
        corpora: None beside those of the protocol.
    """

    def __init__(self, predictor: Predictor) -> None:
        """Take a model as it serves."""
        manifest = predictor.manifest
        self._predictor = predictor
        self.name = f"{manifest.name}-shipped"
        self.settings: dict[str, Any] = {
            "model": manifest.name,
            "version": manifest.version,
            "commit": manifest.commit,
            "files": manifest.files,
        }
        self.corpora: tuple[str, ...] = ()

    def fit_predict(
        self,
        table: pd.DataFrame,
        fold: Fold,
        *,
        data: Path,  # noqa: ARG002
        seed: int,  # noqa: ARG002
        run_folder: Path,  # noqa: ARG002
    ) -> Floats:
        """Answer for the test rows from their files."""
        return predict_files(self._predictor, [Path(p) for p in table["path"].iloc[fold.test]])


def evaluate_model(
    predictor: Predictor, protocol: Protocol, data: Path, *, runs_folder: Path
) -> dict[str, Any]:
    """Run a shipped model through a protocol, whose test speakers it must not know.

    Args:
        predictor: The model as it serves.
        protocol: How is measured.
        data: Folder that holds a folder for each corpus.
        runs_folder: Folder of all records.

    Returns:
        The summary as `summarise` gives it.

    Raises:
        ModelError: The model learned from, or was tuned on, a test speaker; or it names
            other emotions than the protocols.
        CorpusError: A corpus of the protocol is not there.
    """
    if predictor.labels != LABELS:
        raise ModelError(f"The model names {predictor.labels}; this protocol needs {LABELS}.")
    table = list_clips(data, protocol.corpora)
    folds = protocol.folds(table, seed=predictor.manifest.seed)
    tested = {speaker for fold in folds for speaker in table["speaker"].iloc[fold.test]}
    check_unseen(predictor.manifest, tested, protocol.id)
    seeds = (predictor.manifest.seed,)
    recipe = ServedModel(predictor)
    return run_protocol(protocol, recipe, data, seeds=seeds, runs_folder=runs_folder)


def check_unseen(manifest: Manifest, speakers: Iterable[str], protocol: str) -> None:
    """Refuse a test on voices that a model knows.

    A speaker is unseen where the manifest holds him out for its test, or where the model
    learned from none of his corpora.

    Args:
        manifest: Says who was held out, and from what corpora the model learned.
        speakers: Test speakers, as `pool/speaker`.
        protocol: What asks, for the message.

    Raises:
        ModelError: Some speakers are known; all of them are named.
    """
    names = [entry["name"] for entry in manifest.corpora]
    pools = {(CORPORA[name].speakers if name in CORPORA else "") or name for name in names}
    held_out = set(manifest.split["test"])
    seen = [s for s in speakers if s.partition("/")[0] in pools and s not in held_out]
    if seen:
        raise ModelError(
            f"{manifest.name} {manifest.version} was trained on {len(seen)} test speakers of "
            f"{protocol}: {', '.join(sorted(seen))}. Evaluate it with test, on its own held-out "
            "speakers, or train in each fold with --recipe."
        )


TEST_COMMAND = "python -m ser_core evaluate test"
"""What repeats a model's test figures, once it is told which model; see `repeat_command`."""


def held_out_clips(manifest: Manifest, data: Path) -> pd.DataFrame:
    """List the clips of a model's test speakers whose emotion is one of its labels.

    Args:
        manifest: Says which speakers were held out.
        data: Folder that holds a folder for each corpus.

    Raises:
        ModelError: No speaker was held out, as after a random split.
        CorpusError: The corpus of a test speaker is not there.
    """
    speakers = tuple(manifest.split["test"])
    if not speakers:
        raise ModelError(
            f"{manifest.name} {manifest.version} holds out no test speakers, so there is no "
            "unseen voice to test it on. Name a protocol of corpora that it was not trained on, "
            "or reproduce it with --split speaker."
        )
    corpora = sorted({speaker.split("/")[0] for speaker in speakers})
    table = tabulate_clips(data, corpora, SpeakerSplit(test=speakers, development=()))
    tested = (table["split"] == "test") & table["emotion"].isin(manifest.labels)
    return table[tested].reset_index(drop=True)


def evaluate_test(predictor: Predictor, data: Path) -> tuple[Scores, pd.DataFrame]:
    """Predict every clip of the test speakers from its file.

    Args:
        predictor: The model as it serves.
        data: Folder that holds a folder for each corpus.

    Returns:
        The figures, and the table of clips with `predicted` and a probability column
        for each emotion.

    Raises:
        ModelError: No speaker was held out.
        CorpusError: The corpus of a test speaker is not there.
    """
    table = held_out_clips(predictor.manifest, data)
    probabilities = predict_files(predictor, [Path(path) for path in table["path"]])
    labels = predictor.labels
    truth = np.array([labels.index(emotion) for emotion in table["emotion"]])
    table["predicted"] = [labels[i] for i in probabilities.argmax(axis=1)]
    answers = pd.concat([table, pd.DataFrame(probabilities, columns=list(labels))], axis=1)
    return score(truth, probabilities, labels), answers


def calm_reference(predictor: Predictor, data: Path) -> tuple[float, ...]:
    """What a model hears in neutral speech of its development speakers; see `SpeakerProfile`.

    Nothing where none of them speaks so.

    Args:
        predictor: The model as it serves.
        data: Folder that holds a folder for each corpus.

    Raises:
        CorpusError: The corpus of a development speaker is not there.
    """
    speakers = set(predictor.manifest.split["development"])
    table = list_clips(data, sorted({speaker.split("/")[0] for speaker in speakers}))
    calm = table[table["speaker"].isin(speakers) & (table["emotion"] == "neutral")]
    if calm.empty:
        return ()
    return mean_log(predict_files(predictor, [Path(path) for path in calm["path"]]))


def score_by_corpus(
    answers: pd.DataFrame, labels: tuple[str, ...] = LABELS, *, by_sex: bool = False
) -> dict[str, Scores]:
    """Figures of each tested corpus, among the emotions that it has.

    Args:
        answers: The table that `evaluate_test` gives.
        labels: The model's emotions.
        by_sex: Whether men and women have a figure each, as `ravdess, female`.
    """
    scores = {}
    parts = answers["corpus"] + (", " + answers["sex"] if by_sex else "")
    for part, rows in answers.groupby(parts, sort=False):
        corpus = rows["corpus"].iloc[0]
        known = set(CORPORA[corpus].emotions.values() if corpus in CORPORA else rows["emotion"])
        classes = tuple(label for label in labels if label in known)
        truth = np.array([classes.index(emotion) for emotion in rows["emotion"]])
        probabilities = narrow(rows[list(labels)].to_numpy(), labels, classes)
        scores[str(part)] = score(truth, probabilities, classes)
    return scores


def predict_files(predictor: Predictor, paths: Sequence[Path]) -> np.ndarray:
    """Probabilities of many files; a clip without speech counts as undecided.

    Returns:
        (n_clips, n_labels) float64.
    """
    n_labels = len(predictor.labels)
    undecided = np.full(n_labels, 1.0 / n_labels)
    rows = []
    for path in track(paths, "Listening"):
        try:
            rows.append(np.array(predictor.predict(path).probabilities))
        except NoSpeechError:
            rows.append(undecided)
    return np.stack(rows)


def time_answers(predictor: Predictor, paths: Sequence[Path]) -> dict[str, Any]:
    """Median milliseconds from file to answer, and what it ran on.

    Args:
        predictor: The model as it serves, warm.
        paths: Clips; those in which no speech is heard are left out.
    """
    answers = []
    for path in paths:
        with suppress(NoSpeechError):
            answers.append(predictor.predict(path))
    return {
        "median_ms": float(np.median([answer.timings_ms["total"] for answer in answers])),
        "median_clip_s": float(np.median([answer.duration_s for answer in answers])),
        "n_clips": len(answers),
        "machine": describe_machine(),
    }


def repeat_command(manifest: Manifest, folder: Path, data: Path) -> str:
    """The command that repeats a model's test figures.

    A bundled model goes by its name, and its corpora lie wherever the reader has them; any
    other goes by its folder, and a table that it was tested on is named, too.

    Args:
        manifest: What the model says of itself.
        folder: The model folder.
        data: What it was tested on: a folder of corpora, or a table.
    """
    if is_table(data):
        return f"{TEST_COMMAND} --model {quote(str(folder))} --data {quote(str(data))}"
    is_bundled = (bundled("model") / manifest.name).is_dir()
    return f"{TEST_COMMAND} --model {manifest.name if is_bundled else quote(str(folder))}"


def record_test(
    folder: Path,
    scores: Scores,
    answers: pd.DataFrame,
    *,
    data: Path,
    seed_uars: Mapping[int, float],
    speed: Mapping[str, Any],
) -> Manifest:
    """Write measured test figures into a model's manifest.

    Args:
        folder: The model folder.
        scores: Figures of the shipped model.
        answers: The table that `evaluate_test` gives.
        data: What it was tested on, as in `repeat_command`.
        seed_uars: Test UAR by seed, of all runs of the same recipe.
        speed: What `time_answers` gives.
    """
    manifest = Manifest.read(folder)
    by_corpus, by_sex = (
        score_by_corpus(answers, manifest.labels, by_sex=by_sex) for by_sex in (False, True)
    )
    figures = asdict(scores) | {
        "command": repeat_command(manifest, folder, data),
        "seed_uars": {str(seed): uar for seed, uar in seed_uars.items()},
        "by_corpus": {corpus: asdict(part) for corpus, part in by_corpus.items()},
        "by_sex": {
            name: {"uar": part.uar, "war": part.war, "n_clips": part.n_clips}
            for name, part in by_sex.items()
        },
        "speed": dict(speed),
    }
    replace(manifest, metrics=manifest.metrics | {"test": figures}).write(folder)
    return Manifest.read(folder)
