"""Figures of shipped models, measured through the serving pipeline."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import track

from ser_core.corpora import CORPORA
from ser_core.errors import AudioError, CorpusError, ModelError, NoSpeechError
from ser_core.labels import LABELS, column_of
from ser_core.model.manifest import Manifest
from ser_core.paths import bundled
from ser_core.predictor import Predictor
from ser_core.speaker import mean_log
from ser_lab.data.protocols import Fold, Protocol, Run
from ser_lab.data.splits import SpeakerSplit, is_table, list_clips, tabulate_clips
from ser_lab.evaluate.records import describe_machine
from ser_lab.evaluate.runs import run_protocol
from ser_lab.metrics import Floats, Scores, compute_scores, narrow

logger = logging.getLogger(__name__)


class ShippedModel:
    """A trained model in the place of a recipe.

    Attributes:
        name: The model's name, marked as shipped.
        settings: Identity of the model, by its files.
        corpora: None besides those of the protocol.
    """

    def __init__(self, predictor: Predictor) -> None:
        """Wrap a model as it serves."""
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

    def fit_predict(self, table: pd.DataFrame, fold: Fold, run: Run) -> Floats:  # noqa: ARG002
        """Predict the test rows from their files."""
        paths = [Path(path) for path in table["path"].iloc[fold.test]]
        probabilities = predict_files(self._predictor, paths)
        return np.where(np.isnan(probabilities), 1.0 / probabilities.shape[1], probabilities)


def evaluate_model(
    predictor: Predictor, protocol: Protocol, data: Path, *, runs_folder: Path
) -> dict[str, Any]:
    """Evaluate a shipped model in a protocol that has none of its training speakers in its test.

    Args:
        predictor: The model as it serves.
        protocol: The folds.
        data: Folder with one folder per corpus.
        runs_folder: Folder of all records.

    Returns:
        The summary as `summarise` gives it.

    Raises:
        ModelError: The model was trained or tuned on a test speaker, or has other labels than
            the protocols.
        CorpusError: A corpus of the protocol is missing.
    """
    if predictor.labels != LABELS:
        raise ModelError(f"The model names {predictor.labels}; this protocol needs {LABELS}.")
    table = list_clips(data, protocol.corpora)
    folds = protocol.folds(table, seed=predictor.manifest.seed)
    tested = {speaker for fold in folds for speaker in table["speaker"].iloc[fold.test]}
    check_unseen(predictor.manifest, tested, protocol.id)
    seeds = (predictor.manifest.seed,)
    model = ShippedModel(predictor)
    return run_protocol(protocol, model, data, seeds=seeds, runs_folder=runs_folder)


def check_unseen(manifest: Manifest, speakers: Iterable[str], protocol: str) -> None:
    """Raise a ModelError that names all test speakers that a model was trained or tuned on.

    A speaker is unseen if the manifest lists them as a test speaker, or if the model was trained
    on none of their corpora.

    Args:
        manifest: Manifest of the model.
        speakers: Test speakers, as `pool/speaker`.
        protocol: Name of the protocol, for the message.
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


def held_out_clips(manifest: Manifest, data: Path) -> pd.DataFrame:
    """List the clips of a model's test speakers whose emotion is one of its labels.

    Raises:
        ModelError: No speaker was held out, as after a random split.
        CorpusError: The corpus of a test speaker is missing.
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
        data: Folder with one folder per corpus.

    Returns:
        The figures, and the table of clips with `predicted` and a probability column
        for each emotion, named by `column_of`; clips that cannot be read are left out.

    Raises:
        ModelError: No speaker was held out.
        CorpusError: The corpus of a test speaker is missing.
    """
    table = held_out_clips(predictor.manifest, data)
    probabilities = predict_files(predictor, [Path(path) for path in table["path"]])
    is_read = ~np.isnan(probabilities).any(axis=1)
    if not is_read.any():
        raise CorpusError(f"None of {len(table)} test clips in {data} can be read.")
    table, probabilities = table[is_read].reset_index(drop=True), probabilities[is_read]
    labels = predictor.labels
    truth = np.array([labels.index(emotion) for emotion in table["emotion"]])
    table["predicted"] = [labels[i] for i in probabilities.argmax(axis=1)]
    columns = pd.DataFrame(probabilities, columns=[*map(column_of, labels)])
    answers = pd.concat([table, columns], axis=1)
    return compute_scores(truth, probabilities, labels), answers


def neutral_reference(predictor: Predictor, data: Path) -> tuple[float, ...]:
    """Return the mean logarithm of the probabilities in neutral speech; see `SpeakerProfile`.

    It is measured on the development speakers, or on the training speakers of a model without;
    it is empty if they have no neutral clip.

    Args:
        predictor: The model as it serves.
        data: Folder with one folder per corpus.

    Raises:
        CorpusError: The corpus of a development speaker is missing.
    """
    split = predictor.manifest.split
    listed = split["development"] or split["test"]
    table = list_clips(data, sorted({speaker.split("/")[0] for speaker in listed}))
    is_listed = table["speaker"].isin(listed)
    chosen = is_listed if split["development"] else ~is_listed
    neutral = table[chosen & (table["emotion"] == "neutral")]
    if neutral.empty:
        return ()
    probabilities = predict_files(predictor, [Path(path) for path in neutral["path"]])
    probabilities = probabilities[~np.isnan(probabilities).any(axis=1)]
    return mean_log(probabilities) if len(probabilities) else ()


def scores_by_corpus(
    answers: pd.DataFrame, labels: tuple[str, ...] = LABELS, *, by_sex: bool = False
) -> dict[str, Scores]:
    """Return the figures of each tested corpus, over the emotions that it has.

    Args:
        answers: The table that `evaluate_test` gives.
        labels: The model's labels.
        by_sex: Whether to split each corpus by sex, as `ravdess, female`.
    """
    scores = {}
    parts = answers["corpus"] + (", " + answers["sex"] if by_sex else "")
    for part, rows in answers.groupby(parts, sort=False):
        corpus = rows["corpus"].iloc[0]
        known = set(CORPORA[corpus].emotions.values() if corpus in CORPORA else rows["emotion"])
        classes = tuple(label for label in labels if label in known)
        truth = np.array([classes.index(emotion) for emotion in rows["emotion"]])
        probabilities = narrow(rows[[*map(column_of, labels)]].to_numpy(), labels, classes)
        scores[str(part)] = compute_scores(truth, probabilities, classes)
    return scores


def predict_files(predictor: Predictor, paths: Sequence[Path]) -> np.ndarray:
    """Return the probabilities of files, even for a clip without speech.

    A file that cannot be read is logged, and its row is NaN.

    Returns:
        (n_clips, n_labels) float64.
    """
    even = (1.0 / len(predictor.labels),) * len(predictor.labels)
    rows = []
    for path in track(paths, "Predicting"):
        try:
            rows.append(predictor.predict(path).probabilities)
        except NoSpeechError:
            rows.append(even)
        except AudioError as error:
            logger.warning("%s is left out: %s", path, error)
            rows.append((np.nan,) * len(even))
    return np.array(rows)


def time_answers(predictor: Predictor, paths: Sequence[Path]) -> dict[str, Any]:
    """Return the median milliseconds from file to prediction, and the machine.

    Args:
        predictor: The model as it serves, warmed up.
        paths: Clips; those without speech are left out.
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


def reproduce_command(
    manifest: Manifest, folder: Path, data: Path, *, protocol: str = "test"
) -> str:
    """Return the command that reproduces figures of a model.

    A bundled model is given by its name, any other by its folder, and a custom table with it.

    Args:
        manifest: Manifest of the model.
        folder: The model folder.
        data: Folder of corpora, or a table, that it was tested on.
        protocol: What was evaluated.
    """
    is_bundled = (bundled("model") / manifest.name).is_dir() and not is_table(data)
    model = manifest.name if is_bundled else quote(str(folder))
    table = f" --data {quote(str(data))}" if is_table(data) else ""
    return f"python -m ser_core evaluate {protocol} --model {model}{table}"


def describe_test(
    manifest: Manifest,
    folder: Path,
    scores: Scores,
    answers: pd.DataFrame,
    *,
    data: Path,
    seed_uars: Mapping[int, float],
    speed: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a model's test figures, as its manifest states them.

    Args:
        manifest: Manifest of the model.
        folder: The model folder.
        scores: Figures of the shipped model.
        answers: The table that `evaluate_test` gives.
        data: Data of the test, as in `reproduce_command`.
        seed_uars: Test UAR by seed, of all runs of the same recipe.
        speed: Result of `time_answers`.
    """
    by_corpus, by_sex = (
        scores_by_corpus(answers, manifest.labels, by_sex=by_sex) for by_sex in (False, True)
    )
    return asdict(scores) | {
        "command": reproduce_command(manifest, folder, data),
        "seed_uars": {str(seed): uar for seed, uar in seed_uars.items()},
        "by_corpus": {corpus: asdict(part) for corpus, part in by_corpus.items()},
        "by_sex": {
            name: {"uar": part.uar, "war": part.war, "n_clips": part.n_clips}
            for name, part in by_sex.items()
        },
        "speed": dict(speed),
    }
