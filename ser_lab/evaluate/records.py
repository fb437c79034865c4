"""Run records: the answers of one training in one fold, as compact JSON that is committed."""

import json
import os
import platform
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from ser_core.errors import SerError
from ser_core.labels import LABELS
from ser_core.paths import replacing

FORMAT = 1
"""Version of the records' layout."""
PROBABILITY_UNIT = 1e-5
"""Records hold probabilities as integer multiples of this unit."""
ANSWER_COLUMNS = ("clip", "speaker", "sex", "truth", *LABELS)
"""Columns of a record's answers: clip name, speaker, sex, acted emotion, probabilities."""


@dataclass(frozen=True, slots=True, eq=False)
class FoldRecord:
    """Answers of one training for the test clips of one fold.

    Attributes:
        key: Hash of all that determines the answers, except the code.
        protocol: Name of the protocol.
        fold: Name of the fold.
        recipe: Name of the recipe.
        settings: The recipe's settings.
        seed: Seed of the training.
        classes: Emotions that the figures cover.
        commit: Commit of the code that trained.
        machine: As `describe_machine` gives it.
        wall_s: Seconds of training and prediction.
        n_train: Training clips.
        n_development: Development clips.
        answers: (n_clips, n_columns), one row per test clip, with `ANSWER_COLUMNS`.
    """

    key: str
    protocol: str
    fold: str
    recipe: str
    settings: dict[str, Any]
    seed: int
    classes: tuple[str, ...]
    commit: str
    machine: dict[str, Any]
    wall_s: float
    n_train: int
    n_development: int
    answers: pd.DataFrame

    def write(self, path: Path) -> None:
        """Write the record atomically.

        A row holds the clip, the index of its speaker in `speakers`, the index of its emotion
        in `labels`, and the probabilities in units of `PROBABILITY_UNIT`.
        """
        head = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "answers"}
        people = self.answers.drop_duplicates("speaker")
        speakers = dict(zip(people["speaker"], people["sex"], strict=True))
        indices = {speaker: i for i, speaker in enumerate(speakers)}
        units = np.rint(self.answers[list(LABELS)].to_numpy() / PROBABILITY_UNIT).astype(int)
        rows = [
            [clip, indices[speaker], LABELS.index(emotion), *row]
            for clip, speaker, emotion, row in zip(
                *(self.answers[column] for column in ("clip", "speaker", "truth")),
                units.tolist(),
                strict=True,
            )
        ]
        head = {"format": FORMAT} | head | {"speakers": speakers, "labels": LABELS}
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        write_text(path, f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n{lines}\n]}}\n')

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            SerError: The file is not a record of this version.
        """
        stored = read_json(path)
        names = {f.name for f in fields(cls)} - {"answers"}
        if missing := {*names, "rows", "speakers"} - set(stored):
            raise SerError(f"{path} lacks {sorted(missing)}. Delete it and run the fold again.")
        speakers = list(stored["speakers"].items())
        answers = [
            (clip, *speakers[speaker], LABELS[truth], *(n * PROBABILITY_UNIT for n in units))
            for clip, speaker, truth, *units in stored["rows"]
        ]
        return cls(
            **{name: stored[name] for name in names} | {"classes": tuple(stored["classes"])},
            answers=pd.DataFrame(answers, columns=list(ANSWER_COLUMNS)),
        )


INTENSITY = "intensity.json"
"""Name of the record of `ser_lab.evaluate.intensity`, in the folder of the run records."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a record or summary of this version.

    Raises:
        SerError: It cannot be read or has another format.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SerError(f"{path} cannot be read: {error}. Delete it and run again.") from error
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise SerError(f"{path} is not a record of format {FORMAT}. Delete it and run again.")
    return stored


def write_text(path: Path, text: str) -> None:
    """Write a file atomically, and create its folders; raise OutputError where that fails."""
    with replacing(path, Path.is_file) as draft:
        draft.write_text(text, encoding="utf-8")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores and versions; nothing that identifies the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "tensorflow": _version("tensorflow", "tensorflow-cpu"),
        "keras": _version("keras"),
    }


def _cpu_model() -> str:
    """Return the processor's model as Linux gives it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _version(*distributions: str) -> str | None:
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None
