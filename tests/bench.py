"""Speed and memory of both models, beside the papers' serving path, measured in one run.

    python -m tests.bench

Writes docs/bench.md and docs/bench.json. Times are medians, ratios are of medians of the same run;
each part runs in a process of its own, held to one core or two.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import RATE_HZ, ROOT, make_babble

MODELS = ("compact", "accurate")
REPEATS = 40
LENGTHS_S = (1, 3, 10, 30, 60, 180, 600)
N_STREAMS = (8, 16, 24, 32, 40, 48, 64)
STREAM_S = 6.0
MAX_LAG_S = 1.0
PAPER_FRAMES, PAPER_COLUMNS = 448, 15
TARGETS = {
    "compact": {"ratio": 25.0, "ms": 12.0, "hours": 300.0, "streams": 40},
    "accurate": {"ratio": 6.0, "ms": 50.0, "hours": 80.0, "streams": 16},
}


def clip_of(duration_s: float) -> np.ndarray:
    """Made-up speech of a length, (n_samples,) float32."""
    babble = make_babble(duration_s=3.0)[RATE_HZ:-RATE_HZ]
    return np.resize(babble, round(duration_s * RATE_HZ))


def median_ms(work: Callable[[], Any], *, repeats: int = REPEATS) -> float:
    """Median of some calls, the first three thrown away."""
    times = []
    for _ in range(repeats + 3):
        begun = time.perf_counter()
        work()
        times.append(1_000 * (time.perf_counter() - begun))
    return statistics.median(times[3:])


def resident_mb() -> float:
    """Memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def bench_warm(model: str) -> dict[str, Any]:
    """A clip of 3 s, warm: all, and stage by stage."""
    from ser_core.models import open_predictor

    predictor = open_predictor(model)
    source = (RATE_HZ, clip_of(3.0))
    stages: dict[str, list[float]] = {}

    def answer() -> None:
        for name, ms in predictor.predict(source).timings_ms.items():
            stages.setdefault(name, []).append(ms)

    total = median_ms(answer)
    return {"ms": total} | {f"{k}_ms": statistics.median(v[3:]) for k, v in stages.items()}


def bench_papers() -> dict[str, Any]:
    """The papers' path: pydub, noisereduce over the padded clip, librosa, `Model.predict`."""
    import keras
    import librosa
    import noisereduce
    from pydub import AudioSegment, effects

    network = keras.Sequential(
        [
            keras.Input((PAPER_FRAMES, PAPER_COLUMNS)),
            keras.layers.LSTM(64, return_sequences=True),
            keras.layers.LSTM(64),
            keras.layers.Dense(8, activation="softmax"),
        ]
    )
    pcm = (clip_of(3.0) * 32_767).astype("<i2").tobytes()
    length = 2_048 + 512 * (PAPER_FRAMES - 5)

    def answer() -> None:
        segment = AudioSegment(pcm, frame_rate=RATE_HZ, sample_width=2, channels=1)
        level = effects.normalize(segment, headroom=5)
        samples = np.array(level.get_array_of_samples(), np.float32) / 32_768
        trimmed, _ = librosa.effects.trim(samples, top_db=30)
        padded = np.pad(trimmed, (0, max(0, length - len(trimmed))))[:length]
        quiet = noisereduce.reduce_noise(y=padded, sr=RATE_HZ)
        rows = [
            librosa.feature.rms(y=quiet, frame_length=2_048, hop_length=512),
            librosa.feature.zero_crossing_rate(quiet, frame_length=2_048, hop_length=512),
            librosa.feature.mfcc(y=quiet, sr=RATE_HZ, n_mfcc=13, hop_length=512),
        ]
        frames = np.concatenate(rows).T
        frames = np.pad(frames, ((0, max(0, PAPER_FRAMES - len(frames))), (0, 0)))[:PAPER_FRAMES]
        network.predict(frames[np.newaxis], verbose=0)

    return {"ms": median_ms(answer, repeats=REPEATS // 2)}


def bench_lengths(model: str) -> dict[str, Any]:
    """Cost and memory against length."""
    from ser_core.models import open_predictor

    predictor = open_predictor(model)
    told = {}
    for duration_s in LENGTHS_S:
        source = (RATE_HZ, clip_of(duration_s))
        ms = median_ms(lambda source=source: predictor.predict(source), repeats=5)
        told[str(duration_s)] = {"ms": ms, "resident_mb": resident_mb()}
    return told


def bench_throughput(model: str) -> dict[str, Any]:
    """Hours of audio in an hour of one core, clips of 3 s one after another."""
    from ser_core.models import open_predictor

    predictor = open_predictor(model)
    clips = [clip_of(3.0 + 0.01 * i) for i in range(60)]
    begun, cpu = time.perf_counter(), time.process_time()
    for clip in clips:
        predictor.predict((RATE_HZ, clip))
    cores = (time.process_time() - cpu) / (time.perf_counter() - begun)
    hours = sum(map(len, clips)) / RATE_HZ / (time.process_time() - cpu)
    return {"hours_per_core_hour": hours, "cores_used": cores}


def bench_start(model: str) -> dict[str, Any]:
    """A process from its start to its first answer."""
    begun = time.perf_counter()
    from ser_core.models import open_predictor

    predictor = open_predictor(model)
    opened = time.perf_counter()
    predictor.predict((RATE_HZ, clip_of(3.0)))
    answered = time.perf_counter()
    return {
        "open_s": opened - begun,
        "first_answer_s": answered - opened,
        "resident_mb": resident_mb(),
    }


def bench_live(model: str) -> dict[str, Any]:
    """Streams that two workers keep within a second of lag."""
    from ser_core.live import LiveSession
    from ser_core.models import open_predictor

    predictor = open_predictor(model)
    chunk = (clip_of(0.5) * 32_767).astype(np.int16)

    def follow(session: LiveSession, due_s: float, begun: float) -> float:
        session.hear(RATE_HZ, chunk, predictor)
        return time.perf_counter() - begun - due_s

    kept, lags = 0, {}
    for n_streams in N_STREAMS:
        sessions = [LiveSession() for _ in range(n_streams)]
        for session in sessions:
            session._window, session._heard_s, session._rate_hz = chunk, 0.5, RATE_HZ
        with ThreadPoolExecutor(2) as pool:
            begun, jobs = time.perf_counter(), []
            for step in range(round(STREAM_S / 0.5)):
                due_s = 0.5 * step
                time.sleep(max(0.0, begun + due_s - time.perf_counter()))
                jobs += [pool.submit(follow, session, due_s, begun) for session in sessions]
            worst_s = max(job.result() for job in jobs)
        lags[str(n_streams)] = worst_s
        if worst_s > MAX_LAG_S:
            break
        kept = n_streams
    return {"streams": kept, "worst_lag_s": lags}


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "warm": bench_warm,
    "papers": bench_papers,
    "lengths": bench_lengths,
    "throughput": bench_throughput,
    "start": bench_start,
    "live": bench_live,
}


def run_part(part: str, *arguments: str, cores: int) -> dict[str, Any]:
    """One part in a process of its own, held to some cores."""
    held = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    code = (
        "import json, sys\nfrom tests.bench import PARTS\n"
        "print('BENCH' + json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))"
    )
    begun = time.perf_counter()
    done = subprocess.run(
        ["taskset", "-c", held, sys.executable, "-c", code, part, *arguments],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    print(f"{part} {' '.join(arguments)} on {cores}: {time.perf_counter() - begun:.0f} s")
    told: dict[str, Any] = json.loads(done.stdout.split("BENCH")[-1])
    return told | {"process_s": time.perf_counter() - begun}


def main() -> None:
    """Run every part and write both documents."""
    from ser_core.training.records import describe_machine

    figures: dict[str, Any] = {"machine": describe_machine()}
    for cores in (1, 2):
        papers = run_part("papers", cores=cores)
        warm = {model: run_part("warm", model, cores=cores) for model in MODELS}
        for told in warm.values():
            told["ratio"] = papers["ms"] / told["ms"]
        figures[f"warm_{cores}"] = {"papers": papers} | warm
    for part, cores in (("lengths", 2), ("throughput", 1), ("start", 2), ("live", 2)):
        figures[part] = {model: run_part(part, model, cores=cores) for model in MODELS}
    (ROOT / "docs" / "bench.json").write_text(json.dumps(figures, indent=1) + "\n")
    (ROOT / "docs" / "bench.md").write_text(document(figures))


def document(figures: dict[str, Any]) -> str:
    """The figures as tables."""
    machine = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    lines = [
        "# Speed and memory",
        "",
        f"Written by `make bench` ({machine}); medians of one run, made-up speech.",
        "",
        "## A clip of 3 s, warm",
        "",
        "| path | cores | ms | load | preprocess | features | model | times faster | target |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cores in (1, 2):
        told = figures[f"warm_{cores}"]
        lines.append(f"| the papers' | {cores} | {told['papers']['ms']:.0f} | | | | | 1 | |")
        for model in MODELS:
            row, target = told[model], TARGETS[model]
            stages = " | ".join(
                f"{row[f'{name}_ms']:.1f}" for name in ("load", "preprocess", "features", "model")
            )
            lines.append(
                f"| `{model}` | {cores} | {row['ms']:.1f} | {stages} | {row['ratio']:.0f} | "
                f"≥ {target['ratio']:.0f}, ≤ {target['ms']:.0f} ms |"
            )
    lines += ["", "## Against length, two cores", ""]
    lines.append("| model | " + " | ".join(f"{s} s" for s in LENGTHS_S) + " |")
    lines.append("|---" * (1 + len(LENGTHS_S)) + "|")
    for model in MODELS:
        row = figures["lengths"][model]
        cells = [
            f"{row[str(s)]['ms']:.0f} ms, {row[str(s)]['resident_mb']:.0f} MB" for s in LENGTHS_S
        ]
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    lines += [
        "",
        "## Throughput, start, live",
        "",
        "| model | audio hours per core-hour | target | start to open | first answer | resident | "
        "streams within 1 s of lag, two cores | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        start, target = figures["start"][model], TARGETS[model]
        lines.append(
            f"| `{model}` | {figures['throughput'][model]['hours_per_core_hour']:.0f} | "
            f"≥ {target['hours']:.0f} | {start['open_s']:.1f} s | "
            f"{start['first_answer_s']:.2f} s | "
            f"{start['resident_mb']:.0f} MB | {figures['live'][model]['streams']} | "
            f"≥ {target['streams']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
