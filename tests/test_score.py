"""Archives: every kind of input, bad clips, and resuming."""

import io
import os
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import soundfile
from pyarrow import dataset

from ser_core.diarization import adapt_speakers, segment_speakers
from ser_core.predictor import Predictor
from ser_core.score import (
    Output,
    ScoreConfig,
    ScoreError,
    Summary,
    Task,
    TaskResult,
    Worker,
    check_address,
    list_clips,
    open_output,
    read_parts,
    score,
    sources,
)
from ser_core.score.parts import SupersededError
from ser_core.segments import segment
from tests.conftest import RATE_HZ, make_babble

CONFIG = ScoreConfig(clips_per_part=3, batch_windows=4)


class LocalPool:
    """A pool of one worker in this process; it can die over a clip."""

    n_workers = 1

    def __init__(
        self,
        predictor: Predictor,
        output: Output,
        config: ScoreConfig = CONFIG,
        *,
        deadly: str = "none",
        n_tasks: int = 99,
    ) -> None:
        self._worker = Worker(lambda: predictor, output, config)
        self._deadly, self._n_tasks = deadly, n_tasks
        self.n_done = 0

    def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:
        for task in tasks:
            if self.n_done == self._n_tasks:
                raise KeyboardInterrupt
            if not any(self._deadly in name for name in task.source.names):
                yield self._worker.run(task)
                self.n_done += 1


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten recordings in two folders, one of them longer than a window, and a text."""
    folder = tmp_path_factory.mktemp("archive")
    for i in range(10):
        path = folder / "ab"[i % 2] / f"{i}.{'wav' if i % 3 else 'FLAC'}"
        path.parent.mkdir(exist_ok=True)
        voice = make_babble(seed=i, duration_s=12.0 if i == 7 else 1.0 + 0.3 * i)
        soundfile.write(path, voice, RATE_HZ)
    (folder / "notes.txt").write_text("no clip")
    return folder


@pytest.fixture(scope="module")
def expected(clips: Path, predictor: Predictor) -> dict[str, tuple[float, ...]]:
    """What `predict` says, by file name."""
    found = [path for path in clips.rglob("*.*") if path.suffix != ".txt"]
    return {path.name: predictor.predict(path).probabilities for path in found}


def rows_in(output: Output) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = dataset.dataset(output.address).to_table().to_pylist()
    return rows


def run(
    source: str | Path, folder: Path, predictor: Predictor, config: ScoreConfig = CONFIG, **how: Any
) -> tuple[Summary, list[dict[str, Any]]]:
    output = open_output(str(folder), predictor.manifest, config)
    summary = score(str(source), output, LocalPool(predictor, output, config, **how), config)
    return summary, rows_in(output)


def pack(path: Path, folder: Path, mode: str = "w") -> Path:
    """A tar as WebDataset writes it: beside each clip its label."""
    with tarfile.open(path, mode) as tar:
        for file in sorted(folder.rglob("*.*")):
            content = file.read_bytes()
            for name, inside in ((file.name, content), (f"{file.stem}.json", b"{}")):
                member = tarfile.TarInfo(f"{file.parent.name}/{name}")
                member.size = len(inside)
                tar.addfile(member, io.BytesIO(inside))
    return path


def kind_of_input(kind: str, clips: Path, tmp_path: Path) -> str:
    match kind:
        case "glob":
            return f"{clips}/*/[0-9].*"
        case "tar":
            return str(pack(tmp_path / "clips.tar", clips))
        case "tar.gz":
            return str(pack(tmp_path / "clips.tar.gz", clips, "w:gz"))
        case "folder of tars":
            for part in "ab":
                (tmp_path / "tars").mkdir(exist_ok=True)
                pack(tmp_path / "tars" / f"{part}.tar", clips / part)
            return str(tmp_path / "tars")
        case "zip":
            with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
                for file in clips.rglob("*.*"):
                    archive.write(file, file.relative_to(clips))
            return f"zip://::{tmp_path / 'clips.zip'}"
        case "address":
            memory = fsspec.filesystem("memory")
            memory.store.clear()
            memory.put(str(clips), "/archive", recursive=True)
            return "memory://archive"
    return str(clips)


KINDS = ["folder", "glob", "tar", "tar.gz", "folder of tars", "zip", "address"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_input_gives_the_answers_of_predict(
    kind: str, clips: Path, expected: dict[str, Any], predictor: Predictor, tmp_path: Path
) -> None:
    source = kind_of_input(kind, clips, tmp_path)
    summary, rows = run(source, tmp_path / "out", predictor)
    assert (summary.n_clips, summary.n_errors, summary.n_before) == (10, 0, 0)
    heard = {Path(row["clip"].split("::")[-1]).name: row for row in rows if not row["error"]}
    if kind == "zip":  # zip://a/0.FLAC::clips.zip
        heard = {Path(row["clip"].split("::")[0]).name: row for row in rows}
    assert sorted(heard) == sorted(expected)
    for name, probabilities in expected.items():
        found = [heard[name][label] for label in predictor.labels]
        np.testing.assert_allclose(found, probabilities, atol=1e-5)
        assert heard[name]["emotion"] == predictor.labels[int(np.argmax(probabilities))]
    again, rows_again = run(source, tmp_path / "out", predictor)
    assert (again.n_clips, again.n_before) == (0, 10)
    assert rows_again == rows


def test_windows_are_rows_as_analyse_cuts_them(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    config = replace(CONFIG, rows="windows")
    _, rows = run(clips / "b" / "7.wav", tmp_path / "out", predictor, config)
    windows = predictor.analyse(clips / "b" / "7.wav").windows
    assert len(windows) > 1
    assert [row["start_s"] for row in rows] == pytest.approx([w.start_s for w in windows])
    found = [[row[label] for label in predictor.labels] for row in rows]
    np.testing.assert_allclose(found, [w.probabilities for w in windows], atol=1e-5)


def test_utterances_are_rows_and_files_beside_recordings_say_who_speaks(
    predictor: Predictor, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    talk = np.concatenate([make_babble(seed=1), make_babble(seed=2, duration_s=1.5)])
    for name in ("found.wav", "given.wav"):
        soundfile.write(folder / name, talk, RATE_HZ)
    soundfile.write(folder / "silent.wav", np.zeros(2 * RATE_HZ), RATE_HZ)
    (folder / "given.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,500\n[Ada]: Good morning.\n\n"
        "2\n00:01:00,000 --> 00:01:01,000\nToo late.\n"
    )
    summary, rows = run(folder, tmp_path / "out", predictor, replace(CONFIG, rows="utterances"))
    assert (summary.n_clips, summary.n_errors) == (3, 1)
    names = ("found.wav", "given.wav", "silent.wav")
    by_clip = {name: [row for row in rows if row["clip"].endswith(name)] for name in names}
    assert [row["speaker"] for row in by_clip["found.wav"]] == [None] * len(by_clip["found.wav"])
    assert len(by_clip["found.wav"]) >= 2
    expected = [*segment(folder / "found.wav", predictor)]
    assert [row["start_s"] for row in by_clip["found.wav"]] == [s.start_s for s in expected]
    assert [row["emotion"] for row in by_clip["found.wav"]] == [
        s.prediction and s.prediction.emotion for s in expected
    ]
    said, late = by_clip["given.wav"]
    assert (said["start_s"], said["end_s"], said["speaker"]) == (1.0, 2.5, "Ada")
    assert said["text"] == "Good morning."
    assert said["emotion"] in predictor.labels
    assert (late["emotion"], late["warnings"]) == (None, ["short"])
    (silent,) = by_clip["silent.wav"]
    assert silent["error"] == "There is no speech in it."
    assert run(folder, tmp_path / "out", predictor, replace(CONFIG, rows="utterances"))[1] == rows


def test_utterances_have_their_speakers_and_answers_relative_to_them(
    predictor: Predictor, tmp_path: Path
) -> None:
    first, second = (make_babble(seed=seed, duration_s=4.0) for seed in (1, 2))
    silence = np.zeros_like(first)
    call = np.stack([np.r_[first, silence, first], np.r_[silence, second, silence]], axis=1)
    soundfile.write(tmp_path / "call.wav", call, RATE_HZ)
    config = replace(CONFIG, rows="utterances", speakers="auto", relative=True)
    _, rows = run(tmp_path / "call.wav", tmp_path / "out", predictor, config)
    plain = [*segment_speakers(tmp_path / "call.wav", predictor, "auto")]
    expected = adapt_speakers(plain)
    assert {row["speaker"] for row in rows} == {"channel 1", "channel 2"}
    assert [row["speaker"] for row in rows] == [part.speaker for part in expected]
    given = [part.prediction.confidence for part in expected if part.prediction]
    np.testing.assert_allclose([row["confidence"] for row in rows], given, atol=1e-5)
    assert given != [part.prediction.confidence for part in plain if part.prediction]
    with pytest.raises(ScoreError, match="started with speakers 'auto', not 'none', relative True"):
        run(tmp_path / "call.wav", tmp_path / "out", predictor, replace(CONFIG, rows="utterances"))


def test_a_file_of_segments_is_used_and_a_changed_one_alone_gives_other_rows(
    predictor: Predictor, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("given.WAV", "other.wav", "found.wav"):
        soundfile.write(folder / name, make_babble(duration_s=3.0), RATE_HZ)
    cue = "1\n00:00:00,{} --> 00:00:02,000\nGood morning.\n"
    for name in ("given.srt", "other.srt", "alone.srt"):
        (folder / name).write_text(cue.format(500))
    (folder / "given.vtt").write_text("WEBVTT\n\n00:00:00.500 --> 00:00:02.000\nGood day.\n")
    utterances = replace(CONFIG, rows="utterances")
    summary, rows = run(folder, out, predictor, utterances)
    assert (summary.n_clips, dict(summary.skipped)) == (3, {".srt": 2})  # given.srt comes second
    assert run(folder, out, predictor, utterances)[0].n_before == 3
    (folder / "other.srt").write_text(cue.format(750))
    again, changed = run(folder, out, predictor, utterances)
    assert (again.n_before, again.n_clips) == (2, 1)
    starts = {Path(row["clip"]).name: row["start_s"] for row in changed}
    assert (starts["given.WAV"], starts["other.wav"], len(changed)) == (0.5, 0.75, len(rows))
    (folder / "given.vtt").unlink()  # now the other file counts
    last, rows = run(folder, out, predictor, utterances)
    assert (last.n_clips, dict(last.skipped)) == (1, {".srt": 1})
    assert "Good morning." in [row["text"] for row in rows if row["clip"].endswith("WAV")]
    clips, _ = run(folder, tmp_path / "clips", predictor)
    assert dict(clips.skipped) == {".srt": 3}  # files of segments say nothing about clips


def test_a_replaced_clip_of_a_store_is_analysed_again(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    source = kind_of_input("address", clips, tmp_path)
    run(source, tmp_path / "out", predictor)
    memory = fsspec.filesystem("memory")
    (replaced,) = memory.glob("/archive/**/2.wav")
    memory.pipe_file(replaced, (clips / "b" / "5.wav").read_bytes())
    summary, rows = run(source, tmp_path / "out", predictor)
    assert (summary.n_before, summary.n_clips, len(rows)) == (9, 1, 10)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 store on this machine with a bucket; where moto and s3fs are installed."""
    moto, s3fs = pytest.importorskip("moto.server"), pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    store.mkdir("bucket")
    yield store
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_an_s3_store_is_read_and_written(
    bucket: Any, clips: Path, expected: dict[str, Any], predictor: Predictor, tmp_path: Path
) -> None:
    bucket.put(str(clips), "bucket/in", recursive=True)
    bucket.put(str(pack(tmp_path / "more.tar", clips / "b")), "bucket/in/more.tar")
    bucket.pipe_file("bucket/in/a/", b"")  # consoles mark folders like this
    output = open_output("s3://bucket/out", predictor.manifest, CONFIG)

    def run_again() -> Summary:
        return score("s3://bucket/in", output, LocalPool(predictor, output), CONFIG)

    with pytest.raises(KeyboardInterrupt):
        score("s3://bucket/in", output, LocalPool(predictor, output, n_tasks=2), CONFIG)
    n_before = len(output.written())
    done = run_again()
    assert 0 < n_before == done.n_before == 15 - done.n_clips
    assert dict(done.skipped) == {".txt": 1}
    rows = [row for _, part in read_parts("s3://bucket/out") for row in part or ()]
    assert len({row["clip"] for row in rows}) == len(rows) == 15
    for row in rows:
        assert row["clip"].startswith("s3://bucket/in/")
        probabilities = [row[label] for label in predictor.labels]
        name = Path(row["clip"].split("::")[-1]).name
        np.testing.assert_allclose(probabilities, expected[name], atol=1e-5)
    bucket.put(str(clips / "b" / "5.wav"), "bucket/in/a/2.wav")
    replaced = run_again()
    assert (replaced.n_before, replaced.n_clips, len(output.written())) == (14, 1, 15)
    assert not [name for name in bucket.ls("bucket/out") if "_unfinished" in name]
    assert len(list(list_clips("s3://bucket/in/*/[0-9].wav", Counter()))) == 6
    with pytest.raises(ScoreError, match="s3://nowhere/in does not exist"):
        list(list_clips("s3://nowhere/in", Counter()))


def test_an_s3_store_that_cannot_be_reached_is_an_error_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("s3fs").S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ScoreError, match=r"s3://bucket/in cannot be listed: .* credentials"):
        list(list_clips("s3://bucket/in", Counter()))
    with pytest.raises(ScoreError, match=r"s3://bucket/out cannot be written: .* credentials"):
        check_address("s3://bucket/out")


def test_a_package_that_segments_need_ends_the_job_in_a_sentence(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", make_babble(), RATE_HZ)
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,500\nGood morning.\n")
    monkeypatch.setitem(sys.modules, "srt", None)
    with pytest.raises(ScoreError, match=r"srt is not installed.*pip install .*srt"):
        run(tmp_path / "a.wav", tmp_path / "out", predictor, replace(CONFIG, rows="utterances"))


def test_bad_clips_are_rows_with_their_reason(predictor: Predictor, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "x"
    folder.mkdir(parents=True)
    soundfile.write(folder / "good.wav", make_babble(), RATE_HZ)
    soundfile.write(folder / "silent.wav", np.zeros(RATE_HZ), RATE_HZ)
    (folder / "text.wav").write_text("no sound")
    (folder / "huge.wav").write_bytes(b"")
    os.truncate(folder / "huge.wav", 60_000_000)
    pack(tmp_path / "in" / "shard.tar", folder)
    summary, rows = run(tmp_path / "in", tmp_path / "out", predictor)
    reasons = {Path(row["clip"]).name: row["error"] for row in rows if row["error"]}
    assert reasons["silent.wav"].startswith("We heard")
    assert reasons["text.wav"].startswith("We couldn't read text.wav")
    assert "60,000,000 bytes; at most 50,000,000" in reasons["huge.wav"]
    assert summary.n_clips == len({row["clip"] for row in rows}) == len(rows)
    assert summary.n_errors == sum(row["error"] is not None for row in rows) == 6
    assert {row["emotion"] is None for row in rows if row["error"]} == {True}
    assert any("::x/good.wav" in row["clip"] for row in rows)
    assert not [row for row in rows if sources.FETCHED in (row["error"] or "")]


def test_a_shard_that_is_cut_off_is_a_row_and_its_clips_are_analysed(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    shard = pack(tmp_path / "cut.tar", clips)
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    summary, rows = run(shard, tmp_path / "out", predictor)
    (broken,) = [row for row in rows if row["error"]]
    assert broken["clip"] == str(shard)
    assert "damaged or cut off" in broken["error"]
    assert 0 < summary.n_clips - 1 < 10


def test_a_run_that_was_ended_goes_on_where_it_was(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(clips, tmp_path / "out", predictor, n_tasks=2)
    n_written = len(dataset.dataset(tmp_path / "out").to_table())
    assert 0 < n_written < 10
    (tmp_path / "out" / "_unfinished-1").write_bytes(b"half a part")
    summary, rows = run(clips, tmp_path / "out", predictor)
    assert (summary.n_before, summary.n_clips) == (n_written, 10 - n_written)
    assert len(rows) == len({row["clip"] for row in rows}) == 10
    assert not list((tmp_path / "out").glob("_unfinished*"))


def test_a_shard_left_half_way_is_read_on_and_a_finished_one_is_not_read_again(
    clips: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, out = pack(tmp_path / "clips.tar", clips), tmp_path / "out"
    true_write, written = Output.write, []

    def write_twice(self: Output, rows: list[dict[str, Any]]) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(len(rows))
        true_write(self, rows)

    monkeypatch.setattr(Output, "write", write_twice)
    with pytest.raises(KeyboardInterrupt):
        run(shard, out, predictor)
    monkeypatch.setattr(Output, "write", true_write)
    summary, rows = run(shard, out, predictor)
    assert (summary.n_before, summary.n_clips) == (6, 4)
    assert len(rows) == len({row["clip"] for row in rows}) == 10
    state = shard.stat()
    shard.write_bytes(b"nothing of a tar".ljust(state.st_size))
    os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert run(shard, out, predictor) == (Summary(n_before=10), rows)


def test_a_clip_that_kills_its_worker_is_a_row_in_the_end(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    summary, rows = run(clips, tmp_path / "out", predictor, deadly="5.wav")
    (broken,) = [row for row in rows if row["error"]]
    assert broken["clip"].endswith("b/5.wav")
    assert "died 2 times" in broken["error"]
    assert len({row["clip"] for row in rows}) == len(rows) == summary.n_clips == 10


def test_workers_that_die_on_every_task_end_the_run(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    for i in range(20):
        os.link(clips / "a" / "2.wav", clips / f"more-{i}.wav")
    config = replace(CONFIG, clips_per_part=1)
    with pytest.raises(ScoreError, match="Workers died on each of 30 tasks"):
        run(clips, tmp_path / "out", predictor, config, deadly="")
    for i in range(20):
        (clips / f"more-{i}.wav").unlink()


def test_what_cannot_be_fetched_now_is_left_for_another_run(
    clips: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = kind_of_input("address", clips, tmp_path)
    memory = type(fsspec.filesystem("memory"))
    true_cat = memory.cat_file
    monkeypatch.setattr(sources, "FETCH_PAUSE_S", 0.0)

    def lose_one(self: Any, path: str, *rest: Any, **named: Any) -> bytes:
        if path.endswith("1.wav"):
            raise ConnectionError("the line is dead")
        return bytes(true_cat(self, path, *rest, **named))

    monkeypatch.setattr(memory, "cat_file", lose_one)
    summary, rows = run(source, tmp_path / "out", predictor)
    assert (summary.n_clips, summary.n_retryable, len(rows)) == (9, 1, 9)
    monkeypatch.setattr(memory, "cat_file", true_cat)
    summary, rows = run(source, tmp_path / "out", predictor)
    assert (summary.n_before, summary.n_clips, len(rows)) == (9, 1, 10)


def test_a_damaged_part_is_analysed_again(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(clips, out, predictor)
    part = next(out.glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:100])
    summary, rows = run(clips, out, predictor)
    assert 0 < summary.n_clips < 10
    assert len({row["clip"] for row in rows}) == len(rows) == 10


def test_names_that_are_not_unicode_are_written_in_hexadecimal(
    predictor: Predictor, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "good.wav", make_babble(), RATE_HZ)
    (folder / "good.wav").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav"))
    (folder / os.fsdecode(b"bad-\xe9.wav")).write_text("no sound")
    _, rows = run(folder, tmp_path / "out", predictor)
    assert sorted(Path(row["clip"]).name for row in rows) == [r"bad-\xe9.wav", r"caf\xe9.wav"]
    assert run(folder, tmp_path / "out", predictor)[0].n_before == 2


def test_a_folder_of_other_settings_or_other_things_is_refused(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    open_output(str(tmp_path / "out"), predictor.manifest, CONFIG)
    with pytest.raises(ScoreError, match="was started with rows 'clips', not 'windows'"):
        open_output(str(tmp_path / "out"), predictor.manifest, replace(CONFIG, rows="windows"))
    with pytest.raises(ScoreError, match="files that this command did not write"):
        open_output(str(clips), predictor.manifest, CONFIG)
    assert not (clips / "_finished").exists()


def test_a_run_that_another_one_follows_writes_no_more(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    first = open_output(str(tmp_path / "out"), predictor.manifest, CONFIG)
    open_output(str(tmp_path / "out"), predictor.manifest, CONFIG)
    with pytest.raises(SupersededError, match="Another run is writing"):
        score(str(clips), first, LocalPool(predictor, first), CONFIG)
    assert not list((tmp_path / "out").glob("*.parquet"))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nowhere", "does not exist"),
        ("nosuch://bucket", "cannot be reached"),
        ("{}/*/*.opus", "contains nothing to analyse"),
        ("{}/empty", "contains nothing to analyse"),
    ],
)
def test_an_input_without_clips_says_what_is_wrong(
    source: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScoreError, match=reason):
        list(list_clips(source.format(tmp_path), Counter()))


@pytest.mark.parametrize("pattern", ["*/*.wav", "**/*.wav", "[!b]/?.*", "a/2.*", "**", "b/**"])
def test_a_glob_lists_what_fsspec_finds(pattern: str, clips: Path) -> None:
    expected = fsspec.filesystem("file").glob(f"{clips}/{pattern}", detail=True)
    files = sorted(name for name, info in expected.items() if info["type"] == "file")
    assert files
    assert sorted(list_clips(f"{clips}/{pattern}", Counter())) == files


@pytest.mark.parametrize("place", ["on disk", "in a store"])
def test_a_folder_that_cannot_be_listed_is_counted_and_done_by_the_next_run(
    place: str,
    clips: Path,
    predictor: Predictor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, store = str(clips), fsspec.filesystem("memory")
    lister, name = (os, "scandir") if place == "on disk" else (type(store), "ls")
    if place == "in a store":
        store.put(str(clips), source := "memory://unlisted", recursive=True)
    list_folder = getattr(lister, name)

    def fail_in_a(*args: Any, **options: Any) -> Any:
        if str(args[-1]).endswith("/a"):
            raise PermissionError(args)
        return list_folder(*args, **options)

    with monkeypatch.context() as context:
        context.setattr(lister, name, fail_in_a)
        first, rows = run(source, tmp_path, predictor)
    assert (first.n_clips, len(rows), first.n_retryable) == (5, 5, 1)
    assert first.skipped == {".txt": 1, sources.UNREADABLE_FOLDERS: 1}
    second, rows = run(source, tmp_path, predictor)
    assert (second.n_before, second.n_clips, len(rows), second.n_retryable) == (5, 5, 10, 0)


def test_a_store_that_lists_a_folder_in_itself_has_its_clips_once(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fsspec.filesystem("memory")
    store.put(str(clips), "memory://marked", recursive=True)
    list_folder = type(store).ls

    def with_marker(self: Any, path: str, **options: Any) -> Any:
        marker = {"name": f"{path}/", "type": "directory", "size": 0}
        return [marker, *list_folder(self, path, **options)]

    monkeypatch.setattr(type(store), "ls", with_marker)
    found, skipped = list(list_clips("memory://marked", counts := Counter[str]())), counts
    assert (len(found), len(set(found)), skipped) == (10, 10, {".txt": 1})


def test_names_are_listed_as_workers_need_them(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"/archive/{i:06d}.wav" for i in range(50_000)]
    n_ahead, n_listed, n_done, most = 1_000, 0, 3_000, 0

    def list_lazily(*_: Any, **__: Any) -> Iterator[str]:
        nonlocal n_listed
        for name in names:
            n_listed += 1
            yield name

    class IdlePool(LocalPool):
        def run(self, tasks: Iterable[Task]) -> Iterator[TaskResult]:
            nonlocal n_done, most
            for task in tasks:
                most = max(most, n_listed - n_done)
                done.update(task.source.names)
                n_done = before + len(done)
                yield TaskResult(task.number, len(task.source.names), 0, 0, 0.0, 0)

    config = ScoreConfig(clips_per_part=50)
    output = open_output(str(tmp_path), predictor.manifest, config)
    for start in range(0, 3_000, 50):  # some were analysed before
        output.write([{"clip": name} for name in names[start : start + 50]])
    monkeypatch.setattr("ser_core.score.run.list_clips", list_lazily)
    monkeypatch.setattr("ser_core.score.run.CLIPS_AHEAD", n_ahead)
    done, before = set[str](), 3_000
    summary = score("", output, IdlePool(predictor, output, config), config)
    assert (summary.n_before, summary.n_clips) == (3_000, 47_000)
    assert done == set(names[3_000:])
    assert most <= n_ahead + 2 * config.clips_per_part


def add_member(tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = b"0") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content), kind, "1.wav"
    tar.addfile(member, io.BytesIO(content))


def test_every_member_of_a_tar_is_a_row_or_is_counted(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    sound = (clips / "b" / "1.wav").read_bytes()
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        add_member(tar, "1.wav", sound)
        add_member(tar, "2.wav", kind=tarfile.SYMTYPE)
        add_member(tar, "3.wav", kind=tarfile.LNKTYPE)
        add_member(tar, "4.wav", kind=tarfile.FIFOTYPE)
        add_member(tar, "more.wav/", kind=tarfile.DIRTYPE)
        add_member(tar, "._5.wav", b"no sound")
        add_member(tar, "__MACOSX/6.wav", b"no sound")
        add_member(tar, "1.wav", sound)
        add_member(tar, "1.json", b"{}")
        add_member(tar, "README", b"")
        add_member(tar, "7.M4B", sound)
        add_member(tar, "8.wav", sound)
    summary, rows = run(tmp_path / "links.tar", tmp_path / "out", predictor)
    names = [row["clip"].rpartition("::")[2] for row in rows]
    assert (names, summary.n_errors) == (["1.wav", "7.M4B", "8.wav"], 0)
    assert dict(summary.skipped) == {
        sources.LINKS_IN_TARS: 2, sources.DEVICES: 1, sources.SIDE_FILES: 2,
        sources.REPEATED: 1, ".json": 1, "without a suffix": 1,
    }  # fmt: skip


def test_every_file_of_a_folder_is_a_row_or_is_counted(
    clips: Path, predictor: Predictor, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    sound = clips / "b" / "1.wav"
    for suffix in ("3gp", "au", "caf", "m4b", "mka", "mov", "w64", "weba", "mkv", "wav"):
        (folder / f"x.{suffix}").write_bytes(sound.read_bytes())  # the content decides
    (folder / "link.wav").symlink_to(sound)
    (folder / "gone.wav").symlink_to(tmp_path / "gone")
    (folder / "folder.wav").symlink_to(clips / "a")
    os.mkfifo(folder / "pipe.wav")
    for name in ("._x.wav", "notes.txt", "more.zip"):
        (folder / name).write_bytes(b"no sound")
    for kind in ("tar", "tar.bz2", "tar.xz"):
        pack(folder / f"{kind[-3:]}.{kind}", clips / "b", f"w:{kind[4:]}")
    summary, rows = run(folder, tmp_path / "out", predictor)
    assert (summary.n_clips, summary.n_errors) == (27, 1)
    assert [row["clip"] for row in rows if row["error"]] == [str(folder / "gone.wav")]
    assert dict(summary.skipped) == {
        sources.LINKED_FOLDERS: 1, sources.DEVICES: 1, sources.SIDE_FILES: 1,
        ".txt": 1, ".zip": 1, ".json": 15,
    }  # fmt: skip
    assert sources.describe_skipped({".txt": 1_200, "links": 2}) == "1,200 .txt, 2 links"


def test_what_was_refused_is_tried_again_when_its_bytes_or_the_version_changed(
    clips: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shard = pack(folder / "cut.tar", clips / "a")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    (folder / "bad.wav").write_bytes(b"no sound")
    (folder / "good.wav").write_bytes((clips / "b" / "1.wav").read_bytes())
    first, rows = run(folder, tmp_path / "out", predictor)
    assert (first.n_errors, first.n_refused) == (2, 0)
    again, same_rows = run(folder, tmp_path / "out", predictor)
    assert (again.n_clips, again.n_refused, same_rows) == (0, 2, rows)
    monkeypatch.setattr("ser_core.score.run.VERSION", "v-next")
    monkeypatch.setattr("ser_core.score.worker.VERSION", "v-next")
    later, later_rows = run(folder, tmp_path / "out", predictor)
    assert (later.n_clips, later.n_errors, later.n_refused) == (2, 2, 0)
    assert len(later_rows) == len(rows)
    shard.write_bytes(whole)
    (folder / "bad.wav").write_bytes((clips / "b" / "5.wav").read_bytes())
    mended, rows = run(folder, tmp_path / "out", predictor)
    assert (mended.n_errors, mended.n_refused) == (0, 0)
    assert not [row for row in rows if row["error"]]
    assert len({row["clip"] for row in rows}) == len(rows) == 7
