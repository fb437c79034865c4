"""Speed and memory of both models, and of the papers' serving path, measured in one run.

    python -m benchmarks.speed

Writes docs/bench.json and docs/bench.md. Times are medians, and ratios are of medians of the same
run; each part runs in a process of its own, bound to one core or two.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import soundfile
import typer

from benchmarks import ROOT, render, table, write
from tests.conftest import RATE_HZ, make_babble

MODELS = ("compact", "accurate")
LENGTHS_S = (1, 3, 10, 30, 60, 180, 600)
TARGETS = {
    "compact": {"ratio": 25.0, "ms": 12.0, "hours": 300.0, "streams": 40},
    "accurate": {"ratio": 6.0, "ms": 50.0, "hours": 80.0, "streams": 16},
}
STAGES = ("load", "preprocess", "features", "speech", "model")
REPEATS = 40
RUNTIMES = {"tensorflow": "TensorFlow", "onnx": "ONNX Runtime"}
RUNTIME_CODE = """
import json, statistics, sys, time, timeit
import psutil
from ser_core.registry import resolve
model, runtime, clip = sys.argv[1:]
predictor = resolve(model, runtime=runtime).open()
predictor.predict(clip)
start_s, mb = time.process_time(), psutil.Process().memory_info().rss / 1e6
timer = timeit.Timer(lambda: predictor.predict(clip), timer=time.process_time)
clip_s = statistics.median(timer.repeat(repeat=40, number=1))
print(json.dumps([start_s, mb, 1_000 * clip_s]))
"""
"""A process that analyses recordings and nothing else; printed are the columns below."""
COLUMNS = ("start_s", "resident_mb", "clip_ms")
N_STREAMS = (4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80)
STREAM_S = 8.0
CHUNK_S = 0.5
N_FILES = 200
MAX_LAG_S = 1.0
PAPER_FRAMES, PAPER_COLUMNS = 448, 15


def document(figures: dict[str, Any]) -> str:
    """Return the figures as a page."""
    warm, throughput, start = [], [], []
    for cores in (1, 2):
        by_path = figures[f"warm_{cores}"]
        empty = [""] * len(STAGES)
        warm.append(["the papers'", str(cores), f"{by_path['papers']['ms']:.0f}", *empty, "1", ""])
        for model in MODELS:
            row, target = by_path[model], TARGETS[model]
            times = [f"{row[key]:.1f}" for key in ("ms", *(f"{stage}_ms" for stage in STAGES))]
            goal = f"≥ {target['ratio']:.0f}, ≤ {target['ms']:.0f} ms"
            warm.append([f"`{model}`", str(cores), *times, f"{row['ratio']:.0f}", goal])
    for model in MODELS:
        live, target, page = figures["live"][model], TARGETS[model], figures["page"][model]
        kept = live["by_streams"].get(str(live["streams"]), {"answers_per_stream_s": 0.0})
        throughput.append([
            f"`{model}`", f"{figures['throughput'][model]['hours_per_core_hour']:.0f}",
            f"≥ {target['hours']:.0f}", str(live["streams"]),
            f"{kept['answers_per_stream_s']:.1f}", f"≥ {target['streams']}",
        ])  # fmt: skip
        steps = [(k, s) for k, s in figures["start"][model].items() if k != "process_s"]
        start += [
            f"- `{model}`, a process: {', '.join(f'{step} {s:.1f} s' for step, s in steps)}.",
            f"- `{model}`, the page: available after {page['page']:.1f} s, first answer "
            f"{page['first answer']:.1f} s later (target: 15 s in total); "
            f"{page['resident_mb']:.0f} MB resident after thirty answers (target: 1,000), "
            f"{page['own_mb']:.0f} MB of them its own and the rest libraries' files.",
        ]
    return render(
        "bench",
        figures,
        warm=table(warm),
        floor=table(_floor_rows(figures)),
        pace=figures["floor"][MODELS[0]]["gflop_per_s"],
        runtimes=table(_runtime_rows(figures["runtimes"])),
        runtimes_machine=figures["runtimes"]["machine"]["cpu"],
        lengths_s=" | ".join(f"{s} s" for s in LENGTHS_S),
        rule="|---" * (1 + len(LENGTHS_S)) + "|",
        lengths=table(_length_row(figures, model) for model in MODELS),
        throughput=table(throughput),
        start="\n".join(start),
    )


def _floor_rows(figures: dict[str, Any]) -> list[list[str]]:
    rows = []
    for model in MODELS:
        for stage, row in figures["floor"][model]["stages"].items():
            ms = figures["warm_1"][model][f"{stage}_ms"]
            rows.append([
                f"`{model}`, {stage}", f"{row['operations'] / 1e6:,.0f} million",
                f"{row['weights_bytes'] / 1e6:.1f} MB", f"{row['floor_ms']:.2f} ms",
                f"{ms:.1f} ms", f"{ms / row['floor_ms']:.1f}",
            ])  # fmt: skip
    return rows


def _runtime_rows(figures: dict[str, Any]) -> list[list[str]]:
    usual = figures["tensorflow"]
    rows = []
    for runtime, name in RUNTIMES.items():
        row = figures[runtime]
        cells = [f"{row['start_s']:.2f} s", f"{row['resident_mb']:.0f} MB"]
        cells.append(f"{row['clip_ms']:.1f} ms")
        times = [f"{usual[column] / row[column]:.1f}" for column in COLUMNS]
        pairs = [cell for pair in zip(cells, times, strict=True) for cell in pair]
        rows.append([name, *pairs])
    return rows


def _length_row(figures: dict[str, Any], model: str) -> list[str]:
    by_length = [figures["lengths"][model][str(s)] for s in LENGTHS_S]
    return [f"`{model}`", *(f"{r['ms']:.0f} ms, {r['resident_mb']:.0f} MB" for r in by_length)]


def clip_of(duration_s: float) -> np.ndarray:
    """Return synthetic speech of a length in seconds, (n_samples,) float32."""
    babble = make_babble(duration_s=3.0)[RATE_HZ:-RATE_HZ]
    return np.resize(babble, round(duration_s * RATE_HZ))


def median_ms(work: Callable[[], Any], *, repeats: int = REPEATS, warm: int = 3) -> float:
    """Return the median duration of a call in ms, after some calls to warm up."""
    times_s = timeit.repeat(work, number=1, repeat=repeats + warm)
    return 1_000 * statistics.median(times_s[warm:])


def steps_s(marks: dict[str, float]) -> dict[str, float]:
    """Return the seconds of each step; `marks` holds the start, then the end of each step."""
    return dict(zip([*marks][1:], np.diff([*marks.values()]).tolist(), strict=True))


def process_age_s() -> float:
    """Return the time since this process started, in seconds."""
    return time.time() - psutil.Process().create_time()


def open_model(model: str) -> Any:
    """Load a model; the import counts towards no other part than `start`."""
    from ser_core.registry import open_predictor

    return open_predictor(model)


def bench_warm(model: str) -> dict[str, Any]:
    """Measure a clip of 3 s, warm, in total and by stage."""
    predictor = open_model(model)
    source = (RATE_HZ, clip_of(3.0))
    stages: dict[str, list[float]] = {}

    def answer() -> None:
        for name, ms in predictor.predict(source).timings_ms.items():
            stages.setdefault(name, []).append(ms)

    total = median_ms(answer)
    return {"ms": total} | {f"{k}_ms": statistics.median(v[3:]) for k, v in stages.items()}


def bench_papers() -> dict[str, Any]:
    """Measure the papers' path: pydub, noisereduce on the padded clip, librosa, `Model.predict`."""
    import keras
    import librosa
    import noisereduce
    from pydub import AudioSegment, effects

    network = keras.Sequential([
        keras.Input((PAPER_FRAMES, PAPER_COLUMNS)), keras.layers.LSTM(64, return_sequences=True),
        keras.layers.LSTM(64), keras.layers.Dense(8, activation="softmax"),
    ])  # fmt: skip
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
    """Measure time and memory by length."""
    predictor = open_model(model)
    by_length = {}
    for duration_s in LENGTHS_S:
        source = (RATE_HZ, clip_of(duration_s))
        ms = median_ms(lambda source=source: predictor.predict(source), repeats=3, warm=1)
        resident_mb = psutil.Process().memory_info().rss / 1e6
        by_length[str(duration_s)] = {"ms": ms, "resident_mb": resident_mb}
    return by_length


def bench_throughput(model: str) -> dict[str, Any]:
    """Measure hours of audio per hour of one core: files of 3 s through a worker of `score`."""
    from ser_core.score import ScoreConfig, Task, Worker, open_output
    from ser_core.score.sources import Files
    from ser_core.score.worker import limit_threads

    limit_threads()
    predictor, config = open_model(model), ScoreConfig()
    with tempfile.TemporaryDirectory() as name:
        paths = [Path(name) / f"{i}.wav" for i in range(N_FILES)]
        for i, path in enumerate(paths):
            soundfile.write(path, clip_of(3.0 + 0.002 * i), RATE_HZ)
        output = open_output(str(Path(name) / "out"), predictor.manifest, config)
        worker = Worker(lambda: predictor, output, config)
        worker.run(Task(Files(tuple(map(str, paths[:20])))))
        cpu_s = time.process_time()
        result = worker.run(Task(Files(tuple(map(str, paths)))))
        cpu_s = time.process_time() - cpu_s
    return {"hours_per_core_hour": result.audio_s / cpu_s}


def bench_start(model: str) -> dict[str, Any]:
    """Measure a process from its start to its first answer, step by step."""
    marks = {"": 0.0, "python and the tests' modules": process_age_s()}
    from ser_core.registry import open_predictor

    marks["our modules"] = process_age_s()
    from ser_core.model.saved_model import import_tensorflow

    import_tensorflow()
    marks["TensorFlow"] = process_age_s()
    predictor = open_predictor(model)
    marks["model opened and warmed"] = process_age_s()
    predictor.predict((RATE_HZ, clip_of(3.0)))
    marks["first answer"] = total_s = process_age_s()
    return steps_s(marks) | {"all": total_s}


def bench_page(model: str) -> dict[str, Any]:
    """Measure the page from its start to the first answer, and its memory after thirty."""
    from benchmarks.load import app_memory_mb, query
    from tests.browser.conftest import run_app

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.wav"
        soundfile.write(clip, clip_of(3.0), RATE_HZ)
        log, marks = Path(folder) / "log.txt", {"": time.perf_counter()}
        with run_app([str(ROOT / "app.py")], log, MOODMIRROR_MODEL=model) as url:
            marks["page"] = time.perf_counter()
            query(url, clip, None)
            marks["first answer"] = time.perf_counter()
            for _ in range(30):
                query(url, clip, None)
            memory = {"resident_mb": app_memory_mb(), "own_mb": app_memory_mb(anonymous=True)}
    return steps_s(marks) | memory


def bench_live(model: str) -> dict[str, Any]:
    """Measure how many streams two workers answer within a second, merging chunks as the app does.

    The lag of an answer counts from the arrival of the oldest audio that it is the first to cover.
    """
    predictor = open_model(model)
    kept, by_streams = 0, {}
    for n_streams in N_STREAMS:
        lags = measure_lags(predictor, n_streams)
        lag_s, rate = float(np.percentile(lags, 99)), len(lags) / n_streams / STREAM_S
        by_streams[str(n_streams)] = {"lag_s": lag_s, "answers_per_stream_s": rate}
        if lag_s > MAX_LAG_S:
            break
        kept = n_streams
    return {"streams": kept, "by_streams": by_streams}


def measure_lags(predictor: Any, n_streams: int) -> list[float]:
    """Return the lags of all answers while chunks of half a second arrive on every stream."""
    from ser_core.live import LiveSession

    chunk = (clip_of(CHUNK_S) * 32_767).astype(np.int16)
    sessions = [LiveSession() for _ in range(n_streams)]
    for session in sessions:  # every window is full from the start
        session.process(RATE_HZ, np.resize(chunk, 3 * RATE_HZ), predictor)
    started = time.perf_counter()
    # Streams start one after another, as visitors do.
    due_s = [CHUNK_S * i / n_streams for i in range(n_streams)]
    busy: set[int] = set()
    lock, lags = threading.Lock(), []

    def work() -> None:
        while (now_s := time.perf_counter() - started) < STREAM_S:
            with lock:
                waiting = [i for i in range(n_streams) if i not in busy and due_s[i] <= now_s]
                turn = min(waiting, key=lambda i: due_s[i], default=None)
                if turn is not None:
                    busy.add(turn)
                    oldest_s, n_chunks = due_s[turn], 1 + int((now_s - due_s[turn]) / CHUNK_S)
                    due_s[turn] += CHUNK_S * n_chunks
            if turn is None:
                time.sleep(0.001)
                continue
            sessions[turn].process(RATE_HZ, np.tile(chunk, n_chunks), predictor)
            with lock:
                lags.append(time.perf_counter() - started - oldest_s)
                busy.discard(turn)

    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(work) for _ in range(2)]:
            job.result()
    return lags


def bench_floor(model: str) -> dict[str, Any]:
    """Compute the minimum cost of a clip of 3 s: its operations at TensorFlow's best pace.

    Only products are counted: the Fourier transforms and mel filters of the features, and every
    kernel of the network as often as it is applied.
    """
    from ser_core.model.saved_model import import_tensorflow

    manifest = open_model(model).manifest
    features = manifest.pipeline.features
    n_frames = round((3.0 + 2 * features.margin_s) * RATE_HZ / features.hop_length)
    fft = 2.5 * features.frame_length * np.log2(features.frame_length)
    mel = 2 * len(manifest.columns) * (1 + features.frame_length // 2)
    tf = import_tensorflow()
    square = tf.random.uniform((1_024, 1_024))
    best_ms = min(median_ms(lambda: tf.matmul(square, square), repeats=5) for _ in range(5))
    operations_per_ms = 2 * 1_024**3 / best_ms
    costs = {
        "features": (n_frames * (fft + mel), 2 * mel),  # two operations, or four bytes, a weight
        "model": network_cost(manifest, n_frames),
    }
    stages = {
        stage: {"operations": n, "weights_bytes": n_bytes, "floor_ms": n / operations_per_ms}
        for stage, (n, n_bytes) in costs.items()
    }
    return {"gflop_per_s": operations_per_ms / 1e6, "stages": stages}


def network_cost(manifest: Any, n_frames: int) -> tuple[float, float]:
    """Return the operations, two per product of kernels and steps, and the bytes of the weights."""
    import keras

    import ser_core.model.layers  # noqa: F401  # a network may contain them
    from ser_core.model.manifest import HEAD
    from ser_core.model.saved_model import NETWORK
    from ser_core.registry import BUNDLED
    from ser_core.whisper.spec import N_MELS

    folder, total, weights, steps = BUNDLED / manifest.name, 0.0, 0, n_frames
    if manifest.encoder is not None:
        n = n_frames // 2  # vectors of the encoder: convolutions, then projections and attention
        n_blocks, width = manifest.encoder.n_blocks, manifest.encoder.size.width
        block = 12 * n * width * width + 2 * n * n * width
        convolutions = 2 * n * 3 * N_MELS * width + n * 3 * width * width
        total = 2.0 * (convolutions + n_blocks * block)
        weights = 3 * N_MELS * width + (3 + 12 * n_blocks) * width * width
        steps = n // manifest.encoder.pool
    name = NETWORK if manifest.encoder is None else HEAD
    network = keras.models.load_model(folder / name, compile=False)
    return total + kernel_operations(network, steps), 4.0 * (weights + network.count_params())


def kernel_operations(network: Any, steps: int) -> float:
    """Return the operations of a network's kernels over some steps; convolutions halve them."""
    total = 0.0
    for layer in network.layers:
        if hasattr(layer, "layers"):
            total += kernel_operations(layer, steps)
            continue
        steps //= getattr(layer, "strides", (1,))[0]
        kernels = [np.prod(weight.shape) for weight in layer.weights if len(weight.shape) > 1]
        total += 2.0 * sum(kernels) * (1 if layer.name.startswith("logits") else steps)
    return total


CORES = {"floor": 1, "lengths": 2, "throughput": 1, "start": 2, "page": 2, "live": 2}
"""Number of cores of each part that is measured per model."""


def run_part(part: str, *arguments: str, cores: int) -> dict[str, Any]:
    """Run one part in a process of its own, bound to some cores."""
    affinity = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
    code = (
        "import json, sys\nfrom benchmarks import speed\n"
        "print('BENCH' + json.dumps(getattr(speed, 'bench_' + sys.argv[1])(*sys.argv[2:])))"
    )
    started = time.perf_counter()
    done = subprocess.run(
        ["taskset", "-c", affinity, sys.executable, "-c", code, part, *arguments],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    process_s = time.perf_counter() - started
    print(f"{part} {' '.join(arguments)} on {cores}: {process_s:.0f} s")
    figures: dict[str, Any] = json.loads(done.stdout.split("BENCH")[-1])
    return figures | {"process_s": process_s}


def measure_warm() -> dict[str, Any]:
    """Measure the papers' path and both models on one core and two, with their ratios."""
    figures = {}
    for cores in (1, 2):
        papers = run_part("papers", cores=cores)
        warm = {model: run_part("warm", model, cores=cores) for model in MODELS}
        for row in warm.values():
            row["ratio"] = papers["ms"] / row["ms"]
        figures[f"warm_{cores}"] = {"papers": papers} | warm
    return figures


def measure_runtimes(model: str = MODELS[0]) -> dict[str, Any]:
    """Measure a model in either runtime, each in a process of its own on one core."""
    from ser_core.registry import resolve

    clip = ROOT / "examples" / "synthetic-angry.flac"
    core = str(min(os.sched_getaffinity(0)))
    resolve(model, runtime="onnx")  # exports it, where the cache lacks it
    figures = {}
    for runtime in RUNTIMES:
        done = subprocess.run(
            ["taskset", "-c", core, sys.executable, "-c", RUNTIME_CODE, model, runtime, str(clip)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        figures[runtime] = dict(zip(COLUMNS, json.loads(done.stdout), strict=True))
        print(f"{model} in {runtime}: {figures[runtime]}")
    return figures


def main(
    only: Annotated[str, typer.Option(help=f"Measure again: runtimes, {', '.join(CORES)}.")] = "",
) -> None:
    """Run all parts, or one again on the same machine, and write both documents."""
    from ser_lab.evaluate.records import describe_machine

    machine = describe_machine()
    if not only:
        figures = {"machine": machine} | measure_warm()
    elif only not in ("runtimes", *CORES):
        raise typer.BadParameter(f"{only} is not one of runtimes, {', '.join(CORES)}.")
    else:
        figures = json.loads((ROOT / "docs" / "bench.json").read_text())
        if figures["machine"] != machine and only != "runtimes":
            raise typer.BadParameter(
                f"docs/bench.json is of another machine: {figures['machine']}."
            )
    if only in ("", "runtimes"):
        figures["runtimes"] = {"machine": machine} | measure_runtimes()
    for part, cores in CORES.items():
        if only in ("", part):
            figures[part] = {model: run_part(part, model, cores=cores) for model in MODELS}
    write("bench", figures, document(figures))


if __name__ == "__main__":
    typer.run(main)
