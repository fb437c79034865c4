"""A shipped model in a protocol: in the place of a recipe, on voices that it does not know."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from ser_core.corpora import CORPORA
from ser_core.errors import ModelError
from ser_core.labels import LABELS
from ser_core.manifest import Manifest
from ser_core.predictor import Predictor
from ser_core.training.evaluate import predict_files
from ser_core.training.metrics import Floats
from ser_core.training.protocols import Fold, Protocol
from ser_core.training.runs import run_protocol
from ser_core.training.splits import list_clips


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
