"""Archives: parts that are damaged, foreign, of an earlier version, or cut short by a full disk."""

import errno
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import soundfile
from fsspec.implementations.local import LocalFileSystem
from pyarrow import parquet

from ser_core.errors import OutputError
from ser_core.model.manifest import Manifest
from ser_core.predictor import Predictor
from ser_core.score import (
    Output,
    ScoreConfig,
    ScoreError,
    Summary,
    Task,
    TaskResult,
    open_output,
    read_parts,
    score,
)
from ser_core.score.parts import PART, SETTINGS, Row, Written, WrittenClip, error_row
from ser_core.score.sources import digest_of, stamp_of
from tests.conftest import RATE_HZ, make_babble, run_cli
from tests.test_paths import in_child
from tests.test_score import LocalPool, pack, run

N_FLIPS, N_KILLS = 400, 12


@pytest.fixture
def output(bundled_model: Path, tmp_path: Path) -> Output:
    return open_again(bundled_model, tmp_path / "out")


def open_again(model: Path, folder: Path, config: ScoreConfig | None = None) -> Output:
    return open_output(str(folder), Manifest.read(model), config or ScoreConfig())


def rows_of(*names: str) -> list[Row]:
    return [error_row(name, f"no {name}") | {"source": "3_4.0 abc"} for name in names]


def parts_in(output: Output) -> list[Path]:
    return [path for path in Path(output.address).iterdir() if PART.fullmatch(path.name)]


def test_files_that_are_no_parts_are_neither_read_nor_removed(
    output: Output, bundled_model: Path
) -> None:
    output.write(rows_of("a", "b"))
    folder = Path(output.address)
    whole = parts_in(output)[0].read_bytes()
    for name in ("part-0.parquet", "data.parquet", "part-00000-1234.snappy.parquet", "_SUCCESS"):
        (folder / name).write_bytes(b"PAR1, or not")
    (folder / "copy.parquet").write_bytes(whole)
    before = sorted(folder.iterdir())
    assert open_again(bundled_model, folder).written() == {"a", "b"}
    assert sorted(folder.iterdir()) == before


def test_a_part_with_any_byte_flipped_is_noticed_or_reads_the_same(output: Output) -> None:
    output.write(rows_of("a", "b", "c"))
    (part,) = parts_in(output)
    whole, random_ = part.read_bytes(), random.Random(0)
    ((_, expected),) = read_parts(output.address)
    n_noticed = 0
    for _ in range(N_FLIPS):
        damaged, place = bytearray(whole), random_.randrange(len(whole))
        damaged[place] ^= 1 << random_.randrange(8)
        part.write_bytes(damaged)
        ((_, found),) = read_parts(output.address)
        assert found in (None, expected)
        n_noticed += found is None
    assert n_noticed > N_FLIPS / 4
    assert output.written() in (set(), {"a", "b", "c"})


def test_a_part_cut_off_at_any_byte_is_removed(output: Output) -> None:
    output.write(rows_of("a", "b"))
    (part,) = parts_in(output)
    whole = part.read_bytes()
    for length in range(0, len(whole), 97):
        part.write_bytes(whole[:length])
        assert output.written() == set()
        assert not part.exists()


@pytest.mark.parametrize("spoilt", [b"", b"{", b"[]", b"3", b'{"settings": 3}', b"\xff", b'{"run"'])
def test_spoilt_settings_are_written_again_if_the_parts_agree(
    spoilt: bytes, output: Output, bundled_model: Path
) -> None:
    output.write(rows_of("a"))
    settings = Path(output.address) / SETTINGS
    expected = json.loads(settings.read_bytes())["settings"]
    settings.write_bytes(spoilt)
    other = replace(ScoreConfig(), rows="windows")
    with pytest.raises(ScoreError, match="has other settings"):
        open_again(bundled_model, Path(output.address), other)
    assert open_again(bundled_model, Path(output.address)).written() == {"a"}
    assert json.loads(settings.read_bytes())["settings"] == expected


def test_parts_of_an_earlier_version_are_kept(output: Output) -> None:
    output.write(rows_of("a"))
    (part,) = parts_in(output)
    earlier = parquet.read_table(BytesIO(part.read_bytes())).drop_columns("source")
    parquet.write_table(earlier.replace_schema_metadata(None), part)
    written = output.written()
    assert (written, written.find("a")) == ({"a"}, [WrittenClip("a", part.name, "", True)])


def test_written_clips_are_found_by_name_and_by_shard() -> None:
    written = Written()
    names = ["a.tar", "a.tar::x.wav", "a.tar::y::z.wav", "a.tar.gz::x.wav", "b.tar::x.wav", "é"]
    written.add("part", rows_of(*names))
    written.add("part", rows_of("é", "é"))  # the windows of a clip
    assert written == set(names)
    assert [clip.name for clip in written.find("a.tar")] == names[:1]
    assert [clip.name for clip in written.find("a.tar", with_members=True)] == names[:3]
    written.discard(["a.tar::x.wav", "nothing"])
    assert [clip.name for clip in written.find("a.tar", with_members=True)] == [names[0], names[2]]
    assert (len(written), "é" in written, "a.tar::x.wav" in written) == (5, True, False)


def test_a_full_disk_under_the_names_ends_in_a_sentence() -> None:
    written = Written()
    written._table.execute("PRAGMA max_page_count = 4")
    with pytest.raises(ScoreError, match=r"is full\. Free some disk space .* TMPDIR"):
        written.add("part", rows_of(*map(str, range(5_000))))


def test_rows_that_are_not_current_are_dropped_and_the_others_kept(output: Output) -> None:
    output.write(rows_of("a", "b"))
    output.write(rows_of("c"))
    written = output.written()
    output.remove([*written.find("a"), *written.find("c")], written)
    assert written == output.written() == {"b"}
    (part,) = parts_in(output)
    assert pa.parquet.read_table(part)["clip"].to_pylist() == ["b"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_ends_in_a_sentence_and_loses_no_part(
    code: int, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    output.write(rows_of("a"))

    def fill(_: LocalFileSystem, path: str, value: bytes, **__: Any) -> None:
        Path(path).write_bytes(value[:50])
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(LocalFileSystem, "pipe_file", fill)
    with pytest.raises(OutputError, match=f"out cannot be written: {os.strerror(code)}"):
        output.write(rows_of("b"))
    with pytest.raises(OutputError):
        output.finish("shard", "")
    assert output.written() == {"a"}


def test_a_run_killed_at_any_moment_leaves_whole_parts_and_no_clip_twice(
    bundled_model: Path, tmp_path: Path
) -> None:
    folder, moment = tmp_path / "out", random.Random(0)
    names = [f"{i}" for i in range(40)]

    def work() -> None:
        output = open_again(bundled_model, folder)
        while True:
            dropped = frozenset(moment.sample(names, 5))
            written = output.written()
            output.remove([clip for name in dropped for clip in written.find(name)], written)
            missing = [name for name in names if name not in written]
            for start in range(0, len(missing), 7):
                output.write(rows_of(*missing[start : start + 7]))

    for i in range(N_KILLS):
        child = in_child(work)
        time.sleep(moment.uniform(0.01, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        moment.seed(i)
        parts = dict(read_parts(str(folder)))
        assert None not in parts.values()
        clips = Counter(row["clip"] for rows in parts.values() for row in rows or ())
        assert set(clips.values()) <= {1}
    open_again(bundled_model, folder)
    assert not list(folder.glob("_unfinished*"))


def test_a_driver_killed_at_any_moment_loses_no_clip_and_doubles_none(
    bundled_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder, moment = tmp_path / "in", tmp_path / "out", random.Random(0)
    names = [str(source / f"{i % 7}" / f"{i:03d}.wav") for i in range(300)]
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")
    config = ScoreConfig(clips_per_part=7)
    monkeypatch.setattr("ser_core.score.run.CLIPS_AHEAD", 50)

    class Pool(LocalPool):
        """Writes rows without a model."""

        def __init__(self, output: Output) -> None:
            self._output = output

        def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:
            for task in tasks:
                stamps = {name: f"{stamp_of(name)} {digest_of(name)}" for name in task.source.names}
                self._output.write([{"clip": name, "source": stamps[name]} for name in stamps])
                yield TaskResult(task.number, len(stamps), 0, 0, 0.0, 0)

    def work() -> Summary:
        output = open_again(bundled_model, folder, config)
        return score(str(source), output, Pool(output), config)

    n_before = 0
    for i in range(N_KILLS):
        for name in moment.sample(names, 20):  # replaced files, whose rows have to go
            Path(name).write_bytes(bytes([i]))
        child = in_child(work)
        time.sleep(moment.uniform(0.01, 0.3))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        rows = [row for _, part in read_parts(str(folder)) for row in part or ()]
        assert set(Counter(row["clip"] for row in rows).values()) <= {1}
        n_before += 0 < len(rows) < len(names)
    assert n_before, "no run was killed in the middle"
    summary = work()
    assert summary.n_before + summary.n_clips == len(names)
    rows = [row for _, part in read_parts(str(folder)) for row in part or ()]
    assert sorted(row["clip"] for row in rows) == sorted(names)
    assert all(row["source"].split()[0] == stamp_of(row["clip"]) for row in rows)
    assert not list(folder.glob("_unfinished*"))


def test_a_clip_replaced_under_its_name_is_done_again(predictor: Predictor, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i in range(3):
        soundfile.write(folder / f"{i}.wav", make_babble(seed=i), RATE_HZ)
    _, before = run(folder, out, predictor)
    os.utime(folder / "0.wav", (1, 1))  # the same bytes
    soundfile.write(folder / "1.wav", make_babble(seed=7), RATE_HZ)
    summary, rows = run(folder, out, predictor)
    assert (summary.n_before, summary.n_clips, len(rows)) == (2, 1, 3)
    old, new = ({Path(row["clip"]).name: row for row in found} for found in (before, rows))
    assert {name for name in old if old[name] != new[name]} == {"1.wav"}
    expected = predictor.predict(folder / "1.wav").probabilities
    found = [new["1.wav"][label] for label in predictor.labels]
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_shard_replaced_under_its_name_is_done_again(
    predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "0.wav", make_babble(), RATE_HZ)
    shard = pack(tmp_path / "clips.tar", tmp_path / "in")
    run(shard, tmp_path / "out", predictor)
    soundfile.write(tmp_path / "in" / "0.wav", make_babble(seed=1, duration_s=3.0), RATE_HZ)
    pack(shard, tmp_path / "in")
    summary, (row,) = run(shard, tmp_path / "out", predictor)
    assert summary.n_clips == 1
    assert row["duration_s"] == pytest.approx(5.0, abs=0.1)


def test_verify_reads_the_parts_back(output: Output) -> None:
    nothing = run_cli("score", "nowhere", output.address, "--verify")
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    output.write(rows_of("a", "b"))
    output.write(rows_of("c"))
    whole = run_cli("score", "nowhere", output.address, "--verify")
    assert (whole.exit_code, whole.stderr) == (0, "")
    assert whole.stdout.endswith("out: 2 parts, 3 rows in whole parts.\n")
    part = parts_in(output)[0]
    part.write_bytes(part.read_bytes()[:-3])
    damaged = run_cli("score", "nowhere", output.address, "--verify")
    assert damaged.exit_code == 2
    assert part.name in damaged.stderr
