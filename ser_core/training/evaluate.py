"""Figures of a shipped model, through the very path that serves visitors."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

from ser_core.errors import ModelError, NoSpeechError
from ser_core.labels import LABELS
from ser_core.manifest import Manifest
from ser_core.predictor import Predictor
from ser_core.training.metrics import Scores, score
from ser_core.training.splits import SpeakerSplit, tabulate_clips

TEST_COMMAND = "python -m ser_core evaluate test"
"""What repeats a shipped model's test figures."""


def held_out_clips(manifest: Manifest, data: Path) -> pd.DataFrame:
    """The clips of a model's test speakers.

    Args:
        manifest: Says which speakers were held out.
        data: Folder that holds a folder for each corpus.

    Raises:
        CorpusError: The corpus of a test speaker is not there.
    """
    speakers = tuple(manifest.split["test"])
    corpora = sorted({speaker.split("/")[0] for speaker in speakers})
    table = tabulate_clips(data, corpora, SpeakerSplit(test=speakers, development=()))
    return table[table["split"] == "test"].reset_index(drop=True)


def evaluate_test(predictor: Predictor, data: Path) -> tuple[Scores, pd.DataFrame]:
    """Predict every clip of the test speakers from its file.

    Args:
        predictor: The model as it serves.
        data: Folder that holds a folder for each corpus.

    Returns:
        The figures, and the table of clips with `predicted` and a probability column
        for each emotion.

    Raises:
        CorpusError: The corpus of a test speaker is not there.
    """
    table = held_out_clips(predictor.manifest, data)
    probabilities = predict_files(predictor, [Path(path) for path in table["path"]])
    truth = np.array([LABELS.index(emotion) for emotion in table["emotion"]])
    table["predicted"] = [LABELS[i] for i in probabilities.argmax(axis=1)]
    answers = pd.concat([table, pd.DataFrame(probabilities, columns=list(LABELS))], axis=1)
    return score(truth, probabilities, LABELS), answers


def predict_files(predictor: Predictor, paths: Sequence[Path]) -> np.ndarray:
    """Probabilities of many files; a clip without speech counts as undecided.

    Returns:
        (n_clips, n_labels) float64.

    Raises:
        ModelError: The model has labels of its own, not the eight of this protocol.
    """
    if predictor.labels != LABELS:
        raise ModelError(f"The model names {predictor.labels}; this protocol needs {LABELS}.")
    undecided = np.full(len(LABELS), 1.0 / len(LABELS))
    rows = []
    for path in track(paths, "Listening"):
        try:
            rows.append(np.array(predictor.predict(path).probabilities))
        except NoSpeechError:
            rows.append(undecided)
    return np.stack(rows)


def record_test(folder: Path, scores: Scores, *, seed_uars: dict[int, float]) -> Manifest:
    """Write measured test figures into a model's manifest.

    Args:
        folder: The model folder.
        scores: Figures of the shipped model.
        seed_uars: Test UAR by seed, of all runs of the same recipe.
    """
    manifest = Manifest.read(folder)
    figures = asdict(scores) | {
        "command": TEST_COMMAND,
        "seed_uars": {str(seed): uar for seed, uar in seed_uars.items()},
    }
    replace(manifest, metrics=manifest.metrics | {"test": figures}).write(folder)
    return Manifest.read(folder)
