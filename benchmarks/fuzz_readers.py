"""Documents that the fuzzer mutates beside recordings, and what reads each of them."""

import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from pyarrow import parquet

from benchmarks import ROOT
from ser_core.audio.load import load_native
from ser_core.batch import batch_to_dict, collect_files, predict_files
from ser_core.config import AudioConfig
from ser_core.live import LiveSession
from ser_core.model.manifest import Manifest
from ser_core.names import printable
from ser_core.prediction import Prediction
from ser_core.score import ScoreConfig, open_output, read_parts
from ser_core.score.sources import Shard
from ser_core.speaker import FORMAT, SpeakerProfile
from ser_lab.data.tables import clips_from_csv

MODEL = ROOT / "model" / "compact"
LABELS, ANSWER = ("calm", "angry"), (0.9, 0.1)
PROFILE = {
    "format": FORMAT,
    "model": "compact 0.1.0",
    "weights": "0" * 64,
    "labels": LABELS,
    "shift": [0.1, -0.1],
    "corrections": [{"emotion": "calm", "probabilities": ANSWER}],
}
PART, SETTINGS = f"part-{'0' * 24}.parquet", "_moodmirror.json"


class Constant:
    """Predicts the same for all recordings."""

    def predict(self, source: object) -> Prediction:  # noqa: ARG002
        return Prediction(LABELS, ANSWER, weights="0" * 64)


def make_documents(folder: Path, clip: bytes) -> dict[str, bytes]:
    """Return a document of each kind, by suffix; `folder` then contains what they name."""
    (folder / "clip.wav").write_bytes(clip)
    members = dict.fromkeys(("a/clé.wav", "a/clip.wav", "b/[x].wav", "=1.wav"), clip[:2000])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    rows = [{"clip": "clip.wav", "emotion": "calm", "error": None, "source": "1 2"}] * 5
    open_output(str(folder / "output"), Manifest.parse(MODEL), ScoreConfig())
    part = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), part)
    return {
        "csv": b"path,label,speaker,sex\nclip.wav,calm,Ada,female\n",
        "tar": _make_tar(members, "w"),
        "tar.gz": _make_tar(members, "w:gz"),
        "tar.bz2": _make_tar(members, "w:bz2"),
        "tar.xz": _make_tar(members, "w:xz"),
        "zip": packed.getvalue(),
        "manifest.json": (MODEL / "manifest.json").read_bytes(),
        "parquet": part.getvalue(),
        SETTINGS: (folder / "output" / SETTINGS).read_bytes(),
        "voice.json": json.dumps(PROFILE).encode(),
        "live.wav": clip,
        "name": "Ada [x]/clé\x1b[31m=1.wav".encode(),
    }


def _make_tar(members: dict[str, bytes], mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def read_tar(path: Path) -> None:
    """Extract all clips; what is on this disk cannot be unreachable."""
    with TemporaryDirectory() as folder:
        for clip in Shard(str(path)).clips(Path(folder), 1 << 20, Counter()):
            clip.name.encode()
            if clip.is_retryable:
                raise RuntimeError(clip.error)
        Shard(str(path)).remaining(frozenset(), 2)


def read_zip(path: Path) -> None:
    """Unpack all members, and write the rows as JSON."""
    with TemporaryDirectory() as folder:
        rows = list(predict_files(collect_files([path], Path(folder)), Constant()))
    json.dumps(batch_to_dict(rows), ensure_ascii=False).encode()
    if len({row.name for row in rows}) < len(rows):
        raise RuntimeError("Two rows have the same name.")


def read_manifest(path: Path) -> None:
    """Parse it in a folder of its own."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "manifest.json").write_bytes(path.read_bytes())
        Manifest.parse(Path(folder))


def read_part(path: Path) -> None:
    """Read the rows, or notice that it is damaged."""
    with TemporaryDirectory() as folder:
        (Path(folder) / PART).write_bytes(path.read_bytes())
        list(read_parts(folder))


def read_settings(path: Path) -> None:
    """Take over an output folder with these settings."""
    with TemporaryDirectory() as folder:
        (Path(folder) / SETTINGS).write_bytes(path.read_bytes())
        open_output(folder, Manifest.parse(MODEL), ScoreConfig())


def read_profile(path: Path) -> None:
    """Parse it, and adapt a prediction to it."""
    profile = SpeakerProfile.from_json(path.read_text(encoding="utf-8", errors="replace"))
    profile.adapt(Constant().predict(None))


def read_chunk(path: Path) -> None:
    """Give it to a session three times, as the live tab does."""
    session = LiveSession()
    for _ in range(3):
        config = AudioConfig(min_duration_s=0.0, max_duration_s=120.0)
        session.process(*load_native(path, config), Constant())
    json.dumps(session.rows())


def read_name(path: Path) -> None:
    """Show the bytes as a name of the file system, on a terminal and in a batch."""
    name = path.read_bytes().replace(b"\0", b"").decode(errors="surrogateescape")
    if len(printable(name).splitlines()) > 1:
        raise RuntimeError("A name has several lines.")
    with TemporaryDirectory() as folder:
        rows = predict_files(collect_files([Path(name)] * 3, Path(folder)), Constant())
        json.dumps(batch_to_dict(list(rows)), ensure_ascii=False).encode()


READERS: dict[str, Callable[[Path], object]] = {
    "csv": clips_from_csv,
    "tar": read_tar,
    "tar.gz": read_tar,
    "tar.bz2": read_tar,
    "tar.xz": read_tar,
    "zip": read_zip,
    "manifest.json": read_manifest,
    "parquet": read_part,
    SETTINGS: read_settings,
    "voice.json": read_profile,
    "live.wav": read_chunk,
    "name": read_name,
}
