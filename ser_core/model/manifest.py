"""`manifest.json`, the description of a model folder: read, written and verified."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ser_core.config import WHISPER_LOG_MEL, PipelineConfig, settings_from_json
from ser_core.errors import ModelError
from ser_core.labels import is_emotion_name
from ser_core.whisper.spec import EncoderConfig

FORMAT = 4
"""Version of the manifest's own layout."""
FILE_NAME = "manifest.json"
HEAD = "head.keras"
"""File of a model folder in place of a SavedModel, where Whisper's encoder precedes the head."""
RENAMED = {"calm_reference": "neutral_reference"}
"""Fields of earlier manifests and what they are called now."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A synthetic input and the output of a correctly assembled model for it.

    Attributes:
        seed: Seed of the input.
        n_frames: Length of each clip of the input.
        probabilities: One row a clip.
    """

    seed: int
    n_frames: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]

    def batch(self, n_columns: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Generate the input: noise in the range of Whisper's log-mel, padding included.

        Args:
            n_columns: Features of a frame.

        Returns:
            (n_clips, max_frames, n_columns) float32, and (n_clips,) int32 lengths.
        """
        shape = (len(self.n_frames), max(self.n_frames), n_columns)
        noise = np.random.default_rng(self.seed).random(shape, dtype=np.float32)
        return 2.0 * noise - 1.0, np.array(self.n_frames, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Certainty:
    """Threshold of a certain answer, chosen on development speakers.

    Attributes:
        confidence: Least confidence of a certain answer.
        precision: Share of correct answers among the certain ones.
        share: Share of certain answers.
    """

    confidence: float
    precision: float
    share: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """Description of a model, for serving and for its card.

    Attributes:
        name: Short name, such as `lstm`.
        version: Version of the package that trained it.
        labels: Emotions in the order of the output's columns.
        columns: Feature names in the order of the input's columns.
        pipeline: Settings of the path from file to features.
        architecture: Network and training settings, for the reader.
        n_parameters: Trainable weights.
        temperature: Divisor of the logits, inside the SavedModel.
        corpora: One entry a corpus: name, title, licence, citation, n_clips.
        licence: Licence of the weights.
        split: Speakers held out: `development` and `test` lists.
        seed: Seed of the shipped run.
        commit: Commit of the code that trained it.
        metrics: Measured figures with the commands that reproduce them.
        files: SHA-256 of each file of the folder, by relative path.
        encoder: Whisper's encoder before the head; None where the folder is complete.
        probe: Expected output of the assembled model; None where nothing is assembled.
        certainty: Threshold of certain answers; None where it was not measured.
        neutral_reference: Mean logarithm of the probabilities of neutral speech of development
            speakers, one a label; empty where it was not measured. See `ser_core.speaker`.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    pipeline: PipelineConfig
    architecture: dict[str, Any]
    n_parameters: int
    temperature: float
    corpora: tuple[dict[str, Any], ...]
    licence: str
    split: dict[str, list[str]]
    seed: int
    commit: str
    metrics: dict[str, Any]
    files: dict[str, str]
    encoder: EncoderConfig | None = None
    probe: Probe | None = None
    certainty: Certainty | None = None
    neutral_reference: tuple[float, ...] = ()

    @property
    def signature(self) -> dict[str, Any]:
        """Inputs and outputs of the SavedModel's `serving_default`; None is any size."""
        return {
            "name": "serving_default",
            "inputs": {
                "features": {"dtype": "float32", "shape": [None, None, len(self.columns)]},
                "n_frames": {"dtype": "int32", "shape": [None]},
            },
            "outputs": {"probabilities": {"dtype": "float32", "shape": [None, len(self.labels)]}},
        }

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the folder's files, the encoder and the temperature.

        Figures, names and the encoder's address do not enter it.
        """
        e = self.encoder
        encoder = e and (e.tensors_sha256, e.blocks, e.pool)
        parts = json.dumps([sorted(self.files.items()), encoder, self.temperature])
        return hashlib.sha256(parts.encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into a model folder."""
        stored = {"format": FORMAT} | asdict(self) | {"signature": self.signature}
        text = json.dumps(stored, indent=2, ensure_ascii=False)
        (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `manifest.json`, and check it for contradictions and against the folder's files.

        Raises:
            ModelError: No manifest, an unknown format, settings that contradict each other, or
                files that are missing or not those of the manifest.
        """
        stored = {RENAMED.get(key, key): value for key, value in read_json(folder).items()}
        path, names = f"{folder.name}/{FILE_NAME}", set(cls.__dataclass_fields__)
        if stored.get("format") != FORMAT:
            raise ModelError(
                f"{path} has format {stored.get('format')}; this version reads format {FORMAT}. "
                "Use the model that belongs to this version."
            )
        if missing := names - set(stored):
            raise ModelError(f"{path} lacks {sorted(missing)}. Export the model again.")
        values = {name: stored[name] for name in names}
        for name in ("labels", "columns", "corpora", "neutral_reference"):
            values[name] = tuple(values[name])
        values["pipeline"] = PipelineConfig.from_dict(values["pipeline"])
        parts = {"encoder": EncoderConfig, "probe": Probe, "certainty": Certainty}
        for name, kind in parts.items():
            if values[name] is not None:
                values[name] = settings_from_json(kind, values[name], name=name)
        manifest = cls(**values)
        if fault := manifest._find_fault(stored.get("signature")):
            raise ModelError(f"{path} {fault}")
        check_files(folder, manifest.files)
        return manifest

    def _find_fault(self, signature: Any) -> str | None:
        """Return the first contradiction, and what to do about it."""
        if odd := [label for label in self.labels if not is_emotion_name(label)]:
            return (
                f"names the emotions {odd}; letters, digits, spaces and hyphens are allowed, 40 "
                "at most. Train the model with other names."
            )
        fault, columns = None, self.pipeline.features.columns
        if self.columns != columns:
            fault = f"lists the columns {list(self.columns)}, but its settings give {list(columns)}"
        elif signature != self.signature:
            n_columns, n_labels = len(self.columns), len(self.labels)
            fault = (
                f"has a signature that does not fit its {n_columns} columns and {n_labels} labels"
            )
        elif self.encoder is not None:
            needed = [file for file in (HEAD, self.encoder.deltas) if file is not None]
            if absent := [file for file in needed if file not in self.files]:
                fault = f"names an encoder, but not the files {absent}"
            elif self.pipeline.features.groups != (WHISPER_LOG_MEL,) or self.probe is None:
                fault = f"names an encoder, but not the features of {WHISPER_LOG_MEL} or no probe"
        return fault and f"{fault}. Export the model again."


def read_json(folder: Path) -> dict[str, Any]:
    """Read `manifest.json` of a model folder without checking it.

    Raises:
        ModelError: The file is missing or holds no JSON object.
    """
    path = folder / FILE_NAME
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} contains no {FILE_NAME}, so it is not a model folder. Train one with "
            '"python -m ser_core train" or name another folder.'
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder.name}/{FILE_NAME} cannot be read: {error}. Download the whole model again."
        ) from error
    if not isinstance(stored, dict):
        raise ModelError(
            f"{folder.name}/{FILE_NAME} is not a JSON object. Download the model again."
        )
    return stored


def check_files(folder: Path, files: dict[str, str]) -> None:
    """Compare the files of a folder with their SHA-256, by path in it.

    Raises:
        ModelError: A file is missing or has another hash.
    """
    for path, expected in files.items():
        if not (folder / path).is_file():
            raise ModelError(f"{folder.name}/{path} is missing. Download the whole model again.")
        if sha256_of(folder / path) != expected:
            raise ModelError(
                f"{folder.name}/{path} is not the file that the manifest describes: its "
                "SHA-256 differs. Download the whole model again."
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
