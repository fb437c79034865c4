"""Archives: workers and drivers that are killed, in real processes."""

import importlib.util
import os
from collections import Counter
from functools import partial
from pathlib import Path

import psutil
import pytest
import soundfile
from pyarrow import dataset

from benchmarks.scoring import count_parts, start_job, wait_for, workers_of
from ser_core.predictor import Predictor
from ser_core.score import ScoreConfig, ScoreError, Task, list_clips, open_output
from ser_core.score.pool import OBJECT_STORE_BYTES, OPENING_TRIES, ProcessPool
from ser_core.score.sources import Files
from tests.conftest import RATE_HZ, make_babble

N_CLIPS = 400
TIMEOUT_S = 300.0
OPTIONS = ("--model", "compact", "--workers", "2", "--part", "20")
POOLS = [
    (),
    pytest.param(
        ("--ray",),
        marks=pytest.mark.skipif(
            importlib.util.find_spec("ray") is None, reason="ray is not installed"
        ),
    ),
]
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc to find workers")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few recordings under many names."""
    folder = tmp_path_factory.mktemp("archive")
    for i in range(8):
        soundfile.write(folder / f"{i:03d}.wav", make_babble(seed=i, duration_s=6.0), RATE_HZ)
    for i in range(8, N_CLIPS):
        os.link(folder / f"{i % 8:03d}.wav", folder / f"{i:03d}.wav")
    return folder


def check_whole(out: Path, archive: Path, model: Path) -> None:
    """Every clip once, with the answer of `predict`."""
    rows = {row["clip"]: row for row in dataset.dataset(out).to_table().to_pylist()}
    assert len(dataset.dataset(out).to_table()) == len(rows) == N_CLIPS
    assert all(row["error"] is None for row in rows.values())
    predictor = Predictor.from_folder(model)
    for name in ("000.wav", "005.wav"):
        expected = predictor.predict(archive / name)
        for other in range(int(name[:3]), N_CLIPS, 8):
            row = rows[str(archive / f"{other:03d}.wav")]
            found = tuple(row[label] for label in predictor.labels)
            assert found == pytest.approx(expected.probabilities, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_killed_worker_loses_no_clip_and_doubles_none(
    pool: tuple[str, ...], archive: Path, bundled_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    job = start_job(archive, out, *OPTIONS, *pool)
    wait_for(lambda: count_parts(out), job, timeout_s=TIMEOUT_S)
    workers_of(job.pid)[0].kill()
    text, errors = job.communicate(timeout=TIMEOUT_S)
    assert job.returncode == 0, errors
    assert "400 clips analysed, 0 with an error" in text
    assert "0 were already done." in text
    check_whole(out, archive, bundled_model)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_killed_driver_takes_its_workers_along_and_another_goes_on(
    pool: tuple[str, ...], archive: Path, bundled_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    job = start_job(archive, out, *OPTIONS, *pool)
    wait_for(lambda: count_parts(out) >= 2, job, timeout_s=TIMEOUT_S)
    workers = workers_of(job.pid)
    assert len(workers) == 2
    job.kill()
    job.communicate(timeout=TIMEOUT_S)
    wait_for(lambda: not any(map(is_running, workers)), timeout_s=TIMEOUT_S)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    n_before = len(dataset.dataset(out).to_table())
    assert 0 < n_before < N_CLIPS
    resumed = start_job(archive, out, *OPTIONS, *pool)
    text, errors = resumed.communicate(timeout=TIMEOUT_S)
    assert resumed.returncode == 0, errors
    assert f"{N_CLIPS - n_before} clips analysed" in text
    assert f"{n_before} were already done" in text
    check_whole(out, archive, bundled_model)
    assert before.items() <= {p.name: p.stat().st_mtime_ns for p in out.glob("part-*")}.items()


@pytest.mark.slow
def test_a_killed_ray_node_loses_no_clip_and_doubles_none(
    archive: Path, bundled_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    node_args = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args=node_args | {"include_dashboard": False}
    )
    try:
        node, out = cluster.add_node(**node_args), tmp_path / "out"
        cluster.wait_for_nodes()
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        job = start_job(archive, out, *OPTIONS, "--ray")
        wait_for(lambda: count_parts(out) >= 2, job, timeout_s=TIMEOUT_S)
        cluster.remove_node(node, allow_graceful=False)
        n_parts = count_parts(out)
        text, errors = job.communicate(timeout=TIMEOUT_S)
    finally:
        cluster.shutdown()
    assert job.returncode == 0, errors
    assert n_parts < N_CLIPS // 20, "the run was over before the node was killed"
    assert "workers on" in errors, "the node had no worker"
    assert "400 clips analysed, 0 with an error" in text
    check_whole(out, archive, bundled_model)


def open_after_deaths(model: Path, folder: Path, n_deaths: int) -> Predictor:
    """Die while the model is being opened, so many times; then open it."""
    if len(list(folder.iterdir())) < n_deaths:
        (folder / str(os.getpid())).touch()
        os._exit(1)
    return Predictor.from_folder(model)


@pytest.mark.slow
@pytest.mark.parametrize("n_deaths", [OPENING_TRIES - 1, OPENING_TRIES])
def test_a_worker_that_dies_over_its_model_is_replaced_until_it_is_no_accident(
    n_deaths: int, archive: Path, bundled_model: Path, tmp_path: Path
) -> None:
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    output = open_output(
        str(tmp_path / "out"), Predictor.from_folder(bundled_model).manifest, ScoreConfig()
    )
    clips = sorted(list_clips(str(archive), Counter()))
    task = Task(Files(tuple(clips[:2])), 2)
    opening = partial(open_after_deaths, bundled_model, deaths, n_deaths)
    with ProcessPool(1, opening, output, ScoreConfig()) as pool:
        if n_deaths < OPENING_TRIES:
            assert [result.n_clips for result in pool.run([task])] == [2]
        else:
            with pytest.raises(ScoreError, match="2 workers in a row died"):
                list(pool.run([task]))


@pytest.mark.slow
def test_a_worker_that_dies_idle_is_replaced_in_the_next_round(
    archive: Path, bundled_model: Path, tmp_path: Path
) -> None:
    output = open_output(
        str(tmp_path / "out"), Predictor.from_folder(bundled_model).manifest, ScoreConfig()
    )
    clips = sorted(list_clips(str(archive), Counter()))
    tasks = [Task(Files((clips[number],)), 1, number=number) for number in range(3)]
    with ProcessPool(
        1, partial(Predictor.from_folder, bundled_model), output, ScoreConfig()
    ) as pool:
        (first,) = pool.run(tasks[:1])
        psutil.Process(first.process).kill()
        (idle,) = pool._workers
        idle.process.join(TIMEOUT_S)
        assert [result.number for result in pool.run(tasks[1:])] == [2]  # it died over 1


def is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
