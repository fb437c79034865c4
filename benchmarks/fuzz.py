"""Mutated files of all kinds through what reads them, which may raise nothing but SerErrors.

    python -m benchmarks.fuzz --inputs 100000

Bytes of valid files are flipped, cut, doubled and overwritten, and words exchanged. Recordings of
every format are loaded and preprocessed; tables, tars, zips, manifests, Parquet parts, voice
profiles, live chunks and names are read by `benchmarks.fuzz_readers`; requests are sent to the app
by `benchmarks.fuzz_http`. Limits are 5 s of processor time per input and 1.5 GB per process.
Inputs that break this are kept in artifacts/fuzz/ and counted.
"""

import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import typer

from benchmarks import ROOT
from benchmarks.fuzz_http import make_requests, read_request
from benchmarks.fuzz_readers import READERS, make_documents
from ser_core.audio.load import load_audio
from ser_core.config import PipelineConfig
from ser_core.errors import SerError
from ser_core.preprocess import preprocess
from tests.conftest import RATE_HZ, make_babble

MAX_S, MAX_BYTES = 5, 1_500_000_000
FAILURES = ROOT / "artifacts" / "fuzz"
BY_SOUNDFILE = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "24.wav": ("WAV", "PCM_24"),
    "ulaw.wav": ("WAV", "ULAW"),
    "flac": ("FLAC", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
BY_FFMPEG = {
    "m4a": ["-c:a", "aac", "-f", "ipod"],
    "mp4": ["-c:a", "aac", "-f", "mp4"],
    "webm": ["-c:a", "libopus", "-f", "webm"],
    "aac": ["-c:a", "aac", "-f", "adts"],
    "caf": ["-c:a", "alac", "-f", "caf"],
    "au": ["-c:a", "pcm_mulaw", "-f", "au"],
}
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
WORD = re.compile(rb'"?[\w%+-]+"?')
ODD_WORDS = (
    *(b"null", b"true", b"-1", b"1e999", b"NaN", b"[]", b"{}", b'""', b'"\\ud800"', b"\xff"),
    *(b"..", b"%00", b"%2e%2e%2f", b"9" * 30, b"a" * 300, b"[" * 300, b"run", b"join", b"HEAD"),
    *(b"%d" % number for number in range(33)),
)
"""JSON values, paths, methods, routes, and numbers such as those of the page's events."""

CONFIG = PipelineConfig()


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Return a short clip in every format and a document and request of each kind, by suffix.

    All that starts slowly is started: the app, a decoder and librosa's compiled functions.
    """
    clip = make_babble(duration_s=1.0)[RATE_HZ // 2 : -RATE_HZ // 2]
    seeds = {}
    for suffix, (kind, subtype) in BY_SOUNDFILE.items():
        file = io.BytesIO()
        soundfile.write(file, clip, RATE_HZ, format=kind, subtype=subtype)
        seeds[suffix] = file.getvalue()
    if shutil.which("ffmpeg"):
        source = folder / "seed.wav"
        source.write_bytes(seeds["wav"])
        for suffix, options in BY_FFMPEG.items():
            target = folder / f"seed.{suffix}"
            command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), *options, str(target)]
            subprocess.run(command, check=True)
            seeds[suffix] = target.read_bytes()
    return seeds | make_documents(folder, seeds["wav"]) | make_requests(seeds["wav"])


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Change a file at one to eight places."""
    data = bytearray(content)
    for _ in range(int(random.integers(1, 9))):
        if not data:
            break
        # Half of the changes go to the headers at the beginning.
        reach = min(len(data), 128) if random.random() < 0.5 else len(data)
        place = int(random.integers(reach))
        length = int(random.integers(1, 64))
        match int(random.integers(7)):
            case 0:
                data[place] ^= 1 << int(random.integers(8))
            case 1:
                data[place : place + length] = random.bytes(length)
            case 2:
                width = int(random.choice([1, 2, 4, 8]))
                value = int(random.choice(EXTREMES)) & ((1 << 8 * width) - 1)
                order = "little" if random.random() < 0.5 else "big"
                data[place : place + width] = value.to_bytes(width, order)
            case 3:
                del data[place : place + length]
            case 4:
                data[place:place] = data[place : place + length]
            case 5:
                del data[max(place, 4) :]
            case 6:
                words = WORD.findall(data, 0, reach)
                if found := WORD.search(data, place):
                    choices = words if words and random.random() < 0.5 else ODD_WORDS
                    data[found.start() : found.end()] = choices[int(random.integers(len(choices)))]
    return bytes(data)


def decode(path: Path) -> str:
    """Return the outcome of an input: `loaded`, `refused`, or an error that must not occur."""
    signal.signal(signal.SIGPROF, _expire)
    signal.setitimer(signal.ITIMER_PROF, MAX_S)
    suffix = path.name.removeprefix("input.")
    try:
        if read := read_request if suffix.endswith(".http") else READERS.get(suffix):
            read(path)
            is_finite = True
        else:
            waveform = load_audio(path, CONFIG.audio)
            preprocess(waveform, CONFIG)
            is_finite = bool(np.isfinite(waveform).all())
    except SerError as error:
        return "crashed its decoder" if "decoder stopped" in str(error) else "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "loaded" if is_finite else "not finite"


def _expire(*_: object) -> None:
    raise TimeoutError(f"More than {MAX_S} s.")


def run_share(job: tuple[int, int, str]) -> tuple[Counter[str], int]:
    """Decode some inputs; return the count of each outcome and the peak memory in bytes."""
    seed, n_inputs, kind = job
    resource.setrlimit(resource.RLIMIT_AS, (8 * MAX_BYTES, 8 * MAX_BYTES))
    random = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        seeds = make_seeds(Path(folder))
        suffixes = [suffix for suffix in seeds if suffix.endswith(kind)]
        for _ in range(n_inputs):
            suffix = str(random.choice(suffixes))
            path = Path(folder) / f"input.{suffix}"
            path.write_bytes(mutate(seeds[suffix], random))
            outcome = decode(path)
            if outcome not in ("loaded", "refused"):
                FAILURES.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, FAILURES / f"{seed}-{sum(outcomes.values())}.{suffix}")
                outcome = f"{suffix}: {outcome}"
            outcomes[outcome] += 1
    return outcomes, 1_024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _use_folder(folder: str) -> None:
    tempfile.tempdir = folder


def main(
    inputs: int = 100_000, seed: int = 0, kind: str = "", processes: int = os.cpu_count() or 1
) -> None:
    """Distribute the inputs, of all kinds or of those with a suffix, and print the outcomes."""
    share = 500
    jobs = [(seed + i, share, kind) for i in range(-(-inputs // share))]
    outcomes: Counter[str] = Counter()
    most_bytes, started = 0, time.monotonic()
    # A process that dies breaks the pool, and so is noticed.
    with (
        tempfile.TemporaryDirectory() as folder,
        get_context("spawn").Pool(processes, _use_folder, (folder,), maxtasksperchild=20) as pool,
    ):
        for part, n_bytes in pool.imap_unordered(run_share, jobs):
            outcomes += part
            most_bytes = max(most_bytes, n_bytes)
    figures = {
        "inputs": outcomes.total(),
        "seeds": [seed, seed + len(jobs) - 1],
        "outcomes": dict(outcomes),
        "most_megabytes": round(most_bytes / 1e6),
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(figures, indent=1))
    if set(outcomes) - {"loaded", "refused"} or most_bytes > MAX_BYTES:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
