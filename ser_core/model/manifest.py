"""`manifest.json`, the description of a model folder: read, written and verified.

A manifest says what its folder holds, so it proves nothing about its author. `PINNED` names the
manifests that come with the code, and thereby, through the hashes in them, their files.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import (
    Any,
    Literal,
    NotRequired,
    Self,
    TypedDict,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import numpy as np
import numpy.typing as npt

from ser_core.config import WHISPER_LOG_MEL, PipelineConfig, settings_from_json
from ser_core.errors import ModelError
from ser_core.labels import is_emotion_name
from ser_core.model.onnx_file import ONNX
from ser_core.model.saved_model import NETWORK, SAVED_MODEL
from ser_core.whisper.spec import EncoderConfig

FORMAT = 5
"""Version of the manifest's own layout."""
EARLIER_FORMATS = (4,)
"""Formats that are read as well; 4 has no digest."""
FILE_NAME = "manifest.json"
MAX_BYTES = 10_000_000
"""Largest manifest accepted."""
MAX_FILES = 100
"""Most files of a model folder."""
LARGEST_NUMBER = 2.0**63
"""No number of a manifest reaches it, nor is one infinite or no number."""
HEAD = "head.keras"
"""File of a model folder in place of a SavedModel, where Whisper's encoder precedes the head."""
TFLITE = "model.tflite"
"""File of an export for TensorFlow Lite, which other programs run."""
RENAMED = {"calm_reference": "neutral_reference"}
"""Fields of earlier manifests and what they are called now."""
PINNED = {
    "accurate": "2784900708abf176c3f98947a481732ba07c3ac02fc454142d2025ed16414654",
    "compact": "eba57c122c55b116e341494107f6583f7a634cbc9df50b143993ae667994444e",
}
"""`Manifest.digest` of each model that comes with the code; the tests print new ones."""
RANGES: dict[str, tuple[float, float]] = {
    "audio.sample_rate_hz": (1_000, 192_000),
    "audio.max_duration_s": (0, 36_000),
    "audio.max_bytes": (1, 1e9),
    "audio.max_channels": (1, 1_024),
    "audio.ffmpeg_timeout_s": (0.1, 3_600),
    "preprocess.trim_frame_length": (1, 65_536),
    "preprocess.trim_hop_length": (1, 65_536),
    "features.frame_length": (2, 65_536),
    "features.hop_length": (32, 65_536),
    "features.n_mfcc": (1, 1_024),
    "features.n_mels": (1, 1_024),
    "features.margin_s": (0, 10),
    "windows.window_s": (0.1, 600),
    "windows.hop_s": (0.1, 600),
}
"""Settings of the pipeline that decide how much memory and time a recording takes."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_PATH = re.compile(rf"{_NAME.pattern}(/{_NAME.pattern})*")
_REPO = re.compile(rf"{_NAME.pattern}/{_NAME.pattern}")
_VERSION = re.compile(r"[A-Za-z0-9.+-]{1,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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

    def fits(self, n_labels: int) -> bool:
        """Return whether it has a few clips of seconds, and a probability for each label."""
        n_clips = len(self.n_frames)
        return (
            self.seed >= 0
            and 0 < n_clips <= 8
            and all(0 < n <= 3_000 for n in self.n_frames)
            and [len(row) for row in self.probabilities] == [n_labels] * n_clips
        )


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


class CorpusFigures(TypedDict):
    """Figures of a part of the test."""

    n_clips: int
    uar: float
    uar_interval: list[float]
    war: float
    ece: float


class EmotionFigures(TypedDict):
    """Figures of an emotion in the test."""

    support: float
    recall: float
    precision: float


class TestFigures(TypedDict):
    """Figures of the whole test."""

    n_clips: int
    uar: float
    by_corpus: NotRequired[dict[str, CorpusFigures]]
    per_emotion: NotRequired[dict[str, EmotionFigures]]


class Metrics(TypedDict):
    """Figures that the page shows, of those in `Manifest.metrics`."""

    test: NotRequired[TestFigures]


class Corpus(TypedDict):
    """Fields of an entry of `Manifest.corpora` that the page shows."""

    title: str
    licence: str


Corpora = tuple[Corpus, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Description of a model, for serving and for its card.

    Attributes:
        name: Short name, such as `lstm`: a plain file name.
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
        probe: Expected output of the loaded model; None in manifests of format 4.
        certainty: Threshold of certain answers; None where it was not measured.
        neutral_reference: Mean logarithm of the probabilities of neutral speech of development
            speakers, one a label; empty where it was not measured. See `ser_core.speaker`.
        has_intensity: Whether the network's last column is the logit of `Prediction.intensity`.
        digest: SHA-256 of all else in the file that was read; empty before.
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
    has_intensity: bool = False
    digest: str = field(default="", compare=False)

    @property
    def n_outputs(self) -> int:
        """Columns of the network's output."""
        return len(self.labels) + self.has_intensity

    @property
    def signature(self) -> dict[str, Any]:
        """Inputs and outputs of the SavedModel's `serving_default`; None is any size."""
        outputs = {"probabilities": {"dtype": "float32", "shape": [None, len(self.labels)]}}
        if self.has_intensity:
            outputs["intensity"] = {"dtype": "float32", "shape": [None]}
        return {
            "name": "serving_default",
            "inputs": {
                "features": {"dtype": "float32", "shape": [None, None, len(self.columns)]},
                "n_frames": {"dtype": "int32", "shape": [None]},
            },
            "outputs": outputs,
        }

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the network's file, the encoder and the temperature.

        Figures, names and the encoder's address do not enter it, nor does a SavedModel of the
        same network, which published folders lack.
        """
        e = self.encoder
        encoder = e and (e.tensors_sha256, e.blocks, e.pool)
        files = self.weights_only or self.files
        parts = json.dumps([sorted(files.items()), encoder, self.temperature])
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def exported(self) -> str | None:
        """File of an export, see `ser_core.export`, which holds the encoder, too; else None."""
        return next((file for file in (ONNX, TFLITE) if file in self.files), None)

    @property
    def is_pinned(self) -> bool:
        """Whether this manifest, as it was read, comes with the code."""
        return self.digest in PINNED.values()

    def files_to_load(self, *, trust: bool) -> dict[str, str]:
        """Return the files that serving needs, with their SHA-256.

        A SavedModel is a program: without trust, only a pinned one is among them.
        """
        return self.files if trust or self.is_pinned else self.weights_only

    @property
    def weights_only(self) -> dict[str, str]:
        """Files outside the SavedModel, with their SHA-256."""
        prefix = f"{SAVED_MODEL}/"
        return {path: digest for path, digest in self.files.items() if not path.startswith(prefix)}

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into a model folder."""
        stored = {"format": FORMAT} | asdict(self) | {"signature": self.signature}
        stored["digest"] = digest_of(json.loads(json.dumps(stored)))  # as it will be read
        text = json.dumps(stored, indent=2, ensure_ascii=False)
        (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `manifest.json` as `parse` does, and check the folder's files against it.

        Raises:
            ModelError: As `parse`; or a file is missing or not the one of the manifest.
        """
        manifest = cls.parse(folder)
        check_files(folder, manifest.files)
        return manifest

    @classmethod
    def parse(cls, folder: Path) -> Self:
        """Read `manifest.json` and check it for contradictions, without opening other files.

        Raises:
            ModelError: No manifest, an unknown format, values of another type or outside their
                limits, settings that contradict each other, or a change since it was written.
        """
        stored, path = read_json(folder), f"{folder.name}/{FILE_NAME}"
        if (found := stored.get("format")) not in (FORMAT, *EARLIER_FORMATS):
            raise ModelError(
                f"{path} has format {shorten(found)}; this version reads format {FORMAT}. "
                "Use the model that belongs to this version."
            )
        digest, names = digest_of(stored), set(cls.__dataclass_fields__)
        values = {RENAMED.get(key, key): value for key, value in stored.items()}
        values.setdefault("has_intensity", False)  # manifests from before it
        if found in EARLIER_FORMATS:
            values.setdefault("digest", digest)
        if missing := names - set(values):
            raise ModelError(f"{path} lacks {sorted(missing)}. Export the model again.")
        manifest = cls(**_structured({name: values[name] for name in names}))
        fault = next(manifest._faults(values.get("signature")), None)
        if fault is None and manifest.digest != digest:
            fault = "was changed after it was written. Download it or export the model again."
        if fault is not None:
            raise ModelError(f"{path} {fault}")
        return manifest

    def _faults(self, signature: Any) -> Iterator[str]:
        """Yield each contradiction and what to do about it, types first."""
        again = "Export the model again."
        for misfit in (
            *_misfits(self, type(self)),
            *_misfits(self.corpora, Corpora, "corpora"),
            *_misfits(self.metrics, Metrics, "metrics"),
        ):
            yield f"{misfit}. {again}"
        if odd := [label for label in self.labels if not is_emotion_name(label)]:
            yield (
                f"names the emotions {odd}; letters, digits, spaces and hyphens are allowed, 40 "
                "at most. Train the model with other names."
            )
        yield from (f"{fault}. {again}" for fault in self._limits())
        n_columns, n_labels = len(self.columns), len(self.labels)
        columns = self.pipeline.features.columns
        if self.columns != columns:
            yield (
                f"lists the columns {shorten(list(self.columns))}, but its settings give "
                f"{shorten(list(columns))}. {again}"
            )
        if signature != self.signature:
            yield (
                f"has a signature that does not fit its {n_columns} columns and {n_labels} labels. "
                f"{again}"
            )
        yield from (f"{fault}. {again}" for fault in self._missing_parts())

    def _limits(self) -> Iterator[str]:
        """Yield names that lead elsewhere, and numbers outside their limits."""
        names = [(_NAME, "a plain file name", self.name), (_VERSION, "a version", self.version)]
        names += [(_PATH, "a file inside the folder", path) for path in self.files]
        names += [(_SHA256, "a SHA-256", digest) for digest in self.files.values()]
        if (encoder := self.encoder) is not None:
            names += [(_REPO, "OWNER/NAME", encoder.repo), (_PATH, "a revision", encoder.revision)]
            names += [(_NAME, "a plain file name", encoder.file)]
        for pattern, expected, value in names:
            if not pattern.fullmatch(value):
                yield f"names {shorten(value)}, where {expected} is expected"
        if len(self.files) > MAX_FILES:
            yield f"names {len(self.files)} files; at most {MAX_FILES} are allowed"
        numbers = {
            f"{section}.{key}": value
            for section, settings in asdict(self.pipeline).items()
            for key, value in settings.items()
        }
        limits = {"temperature": (self.temperature, (1e-6, 1e6))}
        limits |= {name: (numbers[name], limit) for name, limit in RANGES.items()}
        for name, (number, (least, most)) in limits.items():
            if not least <= number <= most:
                yield f"has {name} {number:g}; {least:g} to {most:g} is allowed"

    def _missing_parts(self) -> Iterator[str]:
        """Yield what the model needs and does not have."""
        n_labels, probe = len(self.labels), self.probe
        if len(set(self.labels)) < max(n_labels, 2):
            yield f"names the emotions {list(self.labels)}; two different ones are needed"
        if len(self.neutral_reference) not in (0, n_labels):
            yield f"has a neutral reference of {len(self.neutral_reference)} numbers"
        if probe is not None and not probe.fits(n_labels):
            yield "has a probe of other lengths than its clips and labels"
        if self.exported is not None:
            return
        if self.encoder is None:
            if not {NETWORK, f"{SAVED_MODEL}/saved_model.pb"} & set(self.files):
                yield f"names neither {NETWORK} nor a {SAVED_MODEL}"
            return
        needed = [file for file in (HEAD, self.encoder.deltas) if file is not None]
        if absent := [file for file in needed if file not in self.files]:
            yield f"names an encoder, but not the files {absent}"
        if self.pipeline.features.groups != (WHISPER_LOG_MEL,) or probe is None:
            yield f"names an encoder, but not the features of {WHISPER_LOG_MEL} or no probe"


def digest_of(stored: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest's JSON object without its digest."""
    rest = {key: value for key, value in stored.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def shorten(value: Any) -> str:
    """Return a value of a foreign file as it may stand in a message."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _structured(values: dict[str, Any]) -> dict[str, Any]:
    """Return JSON values of a manifest with its dataclasses and tuples in place."""
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    if not isinstance(values["pipeline"], dict):
        raise ModelError("The manifest's pipeline settings are no object. Export the model again.")
    values["pipeline"] = PipelineConfig.from_dict(values["pipeline"])
    parts = {"encoder": EncoderConfig, "probe": Probe, "certainty": Certainty}
    for name, kind in parts.items():
        if values[name] is not None:
            values[name] = settings_from_json(kind, values[name], name=name)
    return values


def _misfits(value: Any, hint: Any, path: str = "") -> Iterator[str]:
    """Yield the parts of a value that are not of their declared types, which are JSON's."""
    origin, kinds = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and type(value) is hint:
        for name, kind in get_type_hints(hint).items():
            yield from _misfits(getattr(value, name), kind, f"{path}.{name}" if path else name)
    elif is_typeddict(hint) and isinstance(value, dict):
        for name, kind in get_type_hints(hint).items():
            if name in value or name in hint.__required_keys__:
                yield from _misfits(value.get(name), kind, f"{path}.{name}" if path else name)
    elif origin in (tuple, list, dict) and isinstance(value, origin):
        for item in value.values() if origin is dict else value:
            yield from _misfits(item, kinds[origin is dict], path)
    elif origin is UnionType:
        if all(any(_misfits(value, kind, path)) for kind in kinds):
            yield f"has {path} {shorten(value)}, where {hint} is expected"
    elif not (
        hint is Any
        or (origin is Literal and value in kinds)
        or (hint is float and type(value) in (int, float) and abs(value) < LARGEST_NUMBER)
        or (hint is int and type(value) is int and abs(value) < LARGEST_NUMBER)
        or (hint not in (int, float) and type(value) is hint)
    ):
        yield f"has {path} {shorten(value)}, where {getattr(hint, '__name__', hint)} is expected"


def read_json(folder: Path) -> dict[str, Any]:
    """Read `manifest.json` of a model folder without checking it.

    Raises:
        ModelError: The file is missing, too large or holds no JSON object.
    """
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} contains no {FILE_NAME}, so it is not a model folder. Train one with "
            '"python -m ser_core train" or name another folder.'
        ) from error
    except (OSError, ValueError, RecursionError) as error:
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
