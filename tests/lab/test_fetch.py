"""Corpora fetched from a publisher on loopback, placed by hand, and counted."""

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ser_core.cli import app
from ser_core.corpora import CORPORA
from ser_core.errors import CorpusError, OutputError
from ser_lab.data.tables import read_actors, read_votes
from ser_lab.fetch import (
    SOURCES,
    Source,
    check_corpora,
    fetch_corpus,
    place_corpus,
    sources,
    transfer,
)
from ser_lab.fetch.sources import find_source
from ser_lab.fetch.transfer import Remote, fetch_file, matches, open_session
from tests.lab.conftest import NAMES, write_clip
from tests.lab.publisher import Publisher, serve_publisher

SPEECH = "/Audio_Speech.zip"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "FIRST_PAUSE_S", 0.0)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with serve_publisher() as running:
        yield running


def sound(seed: int, folder: Path) -> bytes:
    """A clip's bytes."""
    path = folder / f"made-{seed}.wav"
    write_clip(path, seed=seed)
    return path.read_bytes()


def pack(members: dict[str, bytes]) -> bytes:
    """A zip of them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def lfs_sha1(content: bytes) -> str:
    """How Git names a file that it keeps in LFS."""
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"
    )
    return git_sha1(pointer.encode())


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def ravdess(publisher: Publisher, tmp_path: Path) -> Source:
    """A RAVDESS of 32 clips, in one archive with a known hash."""
    clip = sound(0, tmp_path / "made")
    members = {f"Actor_{name[-2:]}/{name}.wav": clip for name in NAMES["ravdess"]}
    archive = pack(members | {"__MACOSX/._Actor_01": b"clutter"})
    publisher.files[SPEECH] = archive
    remote = Remote(publisher.url + SPEECH, "Audio_Speech.zip", md5(archive))
    return replace(
        SOURCES["ravdess"],
        corpus=replace(CORPORA["ravdess"], n_clips=len(members)),
        list_files=lambda _: [remote],
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def assert_fetched(source: Source, data: Path) -> None:
    clips = CORPORA["ravdess"].find_clips(data)
    assert len(clips) == source.corpus.n_clips
    assert [path.name for path in data.iterdir()] == ["ravdess"]


def assert_nothing_there(data: Path) -> None:
    assert not CORPORA["ravdess"].is_present(data)
    (state,) = check_corpora(data, ["ravdess"])
    assert (state.n_clips, state.whole, state.text) == (0, False, "not found")


def test_an_archive_is_fetched_unpacked_and_put_where_loaders_look(
    ravdess: Source, publisher: Publisher, data: Path
) -> None:
    assert fetch_corpus(ravdess, data).whole
    assert_fetched(ravdess, data)
    assert (data / "ravdess" / "Actor_01").is_dir()
    assert not (data / "ravdess" / "__MACOSX").exists()
    assert fetch_corpus(ravdess, data).whole
    assert len(publisher.requests) == 1  # what is whole is left alone


def test_a_broken_download_resumes(ravdess: Source, publisher: Publisher, data: Path) -> None:
    publisher.breaks = [300_000, 200_000]
    fetch_corpus(ravdess, data)
    assert_fetched(ravdess, data)
    starts = [0 if wanted is None else int(wanted[6:-1]) for _, wanted in publisher.requests]
    assert len(starts) == 3
    assert 200_000 < starts[1] <= 300_000
    assert starts[1] + 100_000 < starts[2] <= 500_000


def test_the_next_run_resumes(ravdess: Source, publisher: Publisher, data: Path) -> None:
    publisher.breaks = [300_000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "ATTEMPTS", 1)
        with pytest.raises(
            CorpusError,
            match=r"\(IncompleteRead\(.*it resumes after the 0\.[1-9] MB already downloaded",
        ):
            fetch_corpus(ravdess, data)
    assert_nothing_there(data)
    fetch_corpus(ravdess, data)
    assert_fetched(ravdess, data)
    assert int(publisher.requests[-1][1][6:-1]) > 200_000


def test_without_range_support_the_download_restarts(
    ravdess: Source, publisher: Publisher, data: Path
) -> None:
    publisher.resumes, publisher.breaks = False, [300_000]
    fetch_corpus(ravdess, data)
    assert_fetched(ravdess, data)


def test_another_part_than_requested_is_not_joined(
    ravdess: Source, publisher: Publisher, data: Path
) -> None:
    publisher.shifts, publisher.breaks = 10, [300_000]
    fetch_corpus(ravdess, data)
    assert_fetched(ravdess, data)
    assert publisher.requests[-1][1] is None  # restarted, without a range


@pytest.mark.parametrize("extra", [0, 7])
def test_a_part_as_long_as_the_file_or_longer_is_settled(
    ravdess: Source, publisher: Publisher, data: Path, extra: int
) -> None:
    part = data / ".ravdess.partial" / "arrived" / "Audio_Speech.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(publisher.files[SPEECH] + bytes(extra))
    fetch_corpus(ravdess, data)
    assert_fetched(ravdess, data)
    assert len(publisher.requests) == (2 if extra else 1)


def test_a_busy_server_is_retried(ravdess: Source, publisher: Publisher, data: Path) -> None:
    publisher.moods = [503, 429]
    fetch_corpus(ravdess, data)
    assert_fetched(ravdess, data)


def test_a_wrong_hash_leaves_nothing(ravdess: Source, publisher: Publisher, data: Path) -> None:
    publisher.files[SPEECH] += b"!"
    with pytest.raises(CorpusError, match="is not the file that its publisher describes"):
        fetch_corpus(ravdess, data)
    assert_nothing_there(data)
    assert not list((data / ".ravdess.partial").rglob("Audio*"))


def test_a_full_disk_is_an_error_before_anything_is_written(
    ravdess: Source, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=51_000_000))
    with pytest.raises(CorpusError, match=r"51 MB free, and \d\d MB are needed. Free some space"):
        fetch_corpus(ravdess, data)
    assert not [path for path in data.rglob("*") if path.is_file()]


def test_a_disk_without_room_for_what_is_unpacked_keeps_the_archive(
    ravdess: Source, publisher: Publisher, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {"Actor_01/03-01-05-01-01-01-01.wav": bytes(3_000_000)}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(*next(iter(members.items())))
    publisher.files[SPEECH] = stream.getvalue()
    remote = Remote(publisher.url + SPEECH, "Audio_Speech.zip", md5(stream.getvalue()))
    small = replace(
        ravdess, corpus=replace(ravdess.corpus, n_clips=1), list_files=lambda _: [remote]
    )
    with monkeypatch.context() as patch:
        patch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=52_000_000))
        with pytest.raises(CorpusError, match="52 MB free, and 53 MB are needed"):
            fetch_corpus(small, data)
    assert_nothing_there(data)
    assert fetch_corpus(small, data).whole
    assert len(publisher.requests) == 1


def test_a_moved_file_says_what_to_do(ravdess: Source, publisher: Publisher, data: Path) -> None:
    publisher.files.clear()
    with pytest.raises(CorpusError, match=r'answers 404 .* "data place"'):
        fetch_corpus(ravdess, data)
    assert len(publisher.requests) == 1
    assert_nothing_there(data)


def test_without_a_network_the_command_says_so(ravdess: Source, data: Path) -> None:
    gone = Remote("http://127.0.0.1:9/speech.zip", "speech.zip", "md5:0")
    with pytest.raises(CorpusError, match=r"fetched \(.*Connection refused\)\. Check the network"):
        fetch_corpus(replace(ravdess, list_files=lambda _: [gone]), data)
    assert_nothing_there(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BOREALIS", "http://127.0.0.1:9")
        with pytest.raises(
            CorpusError, match=r"reached \(.*Connection refused\)\. Check the network"
        ):
            fetch_corpus(find_source("tess"), data)


def test_an_archive_cut_off_by_its_publisher_is_not_taken_for_whole(
    ravdess: Source, publisher: Publisher, data: Path
) -> None:
    publisher.files[SPEECH] = publisher.files[SPEECH][:-100]
    unchecked = Remote(publisher.url + SPEECH, "Audio_Speech.zip")
    with pytest.raises(CorpusError, match="cannot be unpacked"):
        fetch_corpus(replace(ravdess, list_files=lambda _: [unchecked]), data)
    assert_nothing_there(data)
    assert not list((data / ".ravdess.partial").rglob("Audio*"))


def test_a_damaged_member_is_not_taken_for_whole(
    ravdess: Source, publisher: Publisher, data: Path
) -> None:
    archive = bytearray(publisher.files[SPEECH])
    archive[20_000] ^= 0xFF
    publisher.files[SPEECH] = bytes(archive)
    unchecked = Remote(publisher.url + SPEECH, "Audio_Speech.zip")
    with pytest.raises(CorpusError, match="Bad CRC"):
        fetch_corpus(replace(ravdess, list_files=lambda _: [unchecked]), data)
    assert_nothing_there(data)


@pytest.mark.parametrize("name", ["../evil.wav", "/etc/evil.wav", "a/../../evil.wav", "C:/e.wav"])
def test_a_member_that_leaves_the_folder_is_refused(name: str, tmp_path: Path, data: Path) -> None:
    path = tmp_path / "savee.zip"
    path.write_bytes(pack({"AudioData/DC/a01.wav": b"0" * 300, name: b"evil"}))
    with pytest.raises(CorpusError, match="leads out of the folder"):
        place_corpus(SOURCES["savee"], path, data)
    assert not list(tmp_path.rglob("e*.wav"))
    assert not CORPORA["savee"].is_present(data)


def test_a_link_in_an_archive_is_refused(tmp_path: Path, data: Path) -> None:
    path, link = tmp_path / "savee.zip", zipfile.ZipInfo("AudioData/DC/a01.wav")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CorpusError, match="leads out of the folder"):
        place_corpus(SOURCES["savee"], path, data)


@pytest.fixture
def tess(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A TESS of 14 clips, as a Dataverse lists and serves them."""
    rows = []
    for i, name in enumerate(NAMES["tess"]):
        content = sound(i % 8, tmp_path / "made") + bytes([i])
        publisher.files[f"/api/access/datafile/{i}"] = content
        digest = {"type": "MD5", "value": hashlib.md5(content).hexdigest()}
        file = {"id": i, "filename": f"{name}.wav", "filesize": len(content), "checksum": digest}
        rows.append({"label": f"{name}.wav", "dataFile": file})
    rows.append({"dataFile": rows[0]["dataFile"] | {"id": 99, "filename": "Readme.txt"}})
    monkeypatch.setattr(sources, "BOREALIS", publisher.url)
    listing = "/api/datasets/:persistentId/versions/:latest/files"
    query = f"?persistentId={sources.TESS_DOI}"
    publisher.files[listing + query] = json.dumps({"status": "OK", "data": rows}).encode()
    return replace(SOURCES["tess"], corpus=replace(CORPORA["tess"], n_clips=14))


def test_tess_is_fetched_clip_by_clip(tess: Source, publisher: Publisher, data: Path) -> None:
    assert fetch_corpus(tess, data).whole
    assert len(CORPORA["tess"].find_clips(data)) == 14
    assert [path.name for path in data.iterdir()] == ["tess"]
    assert len(publisher.requests) == 15  # the listing, and no readme


def test_a_wrong_clip_is_fetched_again_and_the_right_ones_are_not(
    tess: Source, publisher: Publisher, data: Path
) -> None:
    right = publisher.files["/api/access/datafile/13"]
    publisher.files["/api/access/datafile/13"] = right + b"!"
    with pytest.raises(CorpusError, match=r"datafile/13 is not the file that its publisher"):
        fetch_corpus(tess, data)
    assert not CORPORA["tess"].is_present(data)
    here = {path.stem for path in (data / ".tess.partial" / "arrived").glob("*.wav")}
    assert len(here) > 5
    publisher.files["/api/access/datafile/13"] = right
    publisher.requests.clear()
    assert fetch_corpus(tess, data).whole
    assert len(publisher.requests) == 1 + 14 - len(here)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"{}", b'{"data": [{"dataFile": {"id": 1}}]}', b'{"data": []}', b"[1]"]
)
def test_a_listing_of_another_kind_is_an_error(
    tess: Source, publisher: Publisher, data: Path, answer: bytes
) -> None:
    (listing,) = [path for path in publisher.files if "versions" in path]
    publisher.files[listing] = answer
    with pytest.raises(
        CorpusError,
        match=r"not with JSON|gave an unexpected answer|did not answer with JSON|lists no file",
    ):
        fetch_corpus(tess, data)


def test_what_was_moved_before_a_kill_is_not_fetched_again(
    tess: Source, publisher: Publisher, data: Path
) -> None:
    gathered = data / ".tess.partial" / "gathered"
    gathered.mkdir(parents=True)
    for i, name in enumerate(NAMES["tess"][:13]):
        (gathered / f"{name}.wav").write_bytes(publisher.files[f"/api/access/datafile/{i}"])
    (gathered.parent / "arrived").mkdir()
    (gathered.parent / "arrived" / "tmp_of_a_killed_run").write_bytes(b"half")
    assert fetch_corpus(tess, data).whole
    assert len(publisher.requests) == 2
    assert len(list((data / "tess").iterdir())) == 14


def test_a_kill_while_the_hash_is_checked_loses_nothing(
    ravdess: Source, publisher: Publisher, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def be_killed(*_: object, **__: object) -> bool:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("ser_lab.fetch.transfer.matches", be_killed)
        with pytest.raises(Killed):
            fetch_corpus(ravdess, data)
    fetch_corpus(ravdess, data)
    assert_fetched(ravdess, data)
    n_bytes = len(publisher.files[SPEECH])
    assert [wanted for _, wanted in publisher.requests] == [None, f"bytes={n_bytes}-"]


def test_a_listed_name_that_leaves_the_folder_is_refused(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.files["/a"] = b"evil"
    with open_session() as session, pytest.raises(CorpusError, match="leads out of the folder"):
        fetch_file(Remote(f"{publisher.url}/a", "../a.wav"), tmp_path, session)
    assert not publisher.requests


@pytest.fixture
def crema_d(publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A CREMA-D of 12 clips in Git LFS, with its tables, as GitHub lists and serves them."""
    clips = {f"AudioWAV/{n}.wav": sound(i, tmp_path / "made") for i, n in
             enumerate(NAMES["crema-d"])}  # fmt: skip
    tables = {
        "VideoDemographics.csv": b"ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Asian,No\n",
        "processedResults/tabulatedVotes.csv": b",A,D,F,H,N,S,fileName\n"
        b"100001,5,0,0,0,1,0,1001_DFA_ANG_XX\n",
        "README.md": b"not asked for",
    }
    base = f"{sources.CREMA_D_REPOSITORY}/{sources.CREMA_D_BRANCH}"
    publisher.files |= {f"/media/{base}/{path}": content for path, content in clips.items()}
    publisher.files |= {f"/raw/{base}/{path}": content for path, content in tables.items()}
    tree = [{"path": path, "sha": lfs_sha1(content)} for path, content in clips.items()]
    tree += [{"path": path, "sha": git_sha1(content)} for path, content in tables.items()]
    tree += [{"path": "AudioWAV", "sha": "0"}]
    url = f"/repos/{sources.CREMA_D_REPOSITORY}/git/trees/{sources.CREMA_D_BRANCH}?recursive=1"
    publisher.files[url] = json.dumps({"tree": tree, "truncated": False}).encode()
    monkeypatch.setattr(sources, "GITHUB_API", publisher.url)
    monkeypatch.setattr(sources, "GITHUB_MEDIA", f"{publisher.url}/media")
    monkeypatch.setattr(sources, "GITHUB_RAW", f"{publisher.url}/raw")
    return replace(SOURCES["crema-d"], corpus=replace(CORPORA["crema-d"], n_clips=12))


def test_crema_d_comes_with_its_tables(crema_d: Source, data: Path) -> None:
    assert fetch_corpus(crema_d, data).whole
    assert len(CORPORA["crema-d"].find_clips(data)) == 12
    assert read_votes(data).loc["1001_DFA_ANG_XX", "angry"] == 5
    assert read_actors(data).loc["crema-d/1001", "age"] == 51
    assert not (data / "crema_d" / "README.md").exists()


def test_a_clip_that_git_knows_otherwise_is_refused(
    crema_d: Source, publisher: Publisher, data: Path
) -> None:
    path = next(path for path in publisher.files if path.endswith("1001_DFA_ANG_XX.wav"))
    content = publisher.files[path]
    publisher.files[path] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(CorpusError, match=r"its hash is not lfs:[0-9a-f]{40}"):
        fetch_corpus(crema_d, data)
    assert not CORPORA["crema-d"].is_present(data)


def test_half_a_listing_is_refused(crema_d: Source, publisher: Publisher, data: Path) -> None:
    (listing,) = [path for path in publisher.files if "trees" in path]
    publisher.files[listing] = publisher.files[listing].replace(b"false", b"true")
    with pytest.raises(CorpusError, match="lists only some of the files"):
        fetch_corpus(crema_d, data)


def test_git_knows_a_file_by_the_hash_that_git_gives(tmp_path: Path) -> None:
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    # As git hash-object has it, of the file and of its LFS pointer.
    assert matches(path, "git:ce013625030ba8dba906f756967f9e9ca394464a")
    assert matches(path, "lfs:fa61e1ef71c9908c0926776a4aa3504b3a27f159")
    assert matches(path, "sha1:f572d396fae9206628714fb2ce00f72e94f2258f")
    assert not matches(path, "lfs:ce013625030ba8dba906f756967f9e9ca394464a")
    assert matches(path, "")


@pytest.mark.parametrize("packed", [True, False])
def test_jl_corpus_has_no_checksum_and_is_whole_or_refused(
    packed: bool, publisher: Publisher, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"Raw JL corpus/JL(wav+txt)/{name}.wav": bytes(300) for name in NAMES["jl-corpus"]}
    path = "/api/v1/datasets/download/tli725/jl-corpus"
    publisher.files[path] = pack(members) if packed else b"<html>Sign in</html>"
    monkeypatch.setattr(sources, "KAGGLE", publisher.url)
    source = replace(
        SOURCES["jl-corpus"], corpus=replace(CORPORA["jl-corpus"], n_clips=len(members))
    )
    if packed:
        assert fetch_corpus(source, data).whole
    else:
        with pytest.raises(CorpusError, match="cannot be unpacked: File is not a zip file"):
            fetch_corpus(source, data)
    assert CORPORA["jl-corpus"].is_present(data) == packed


def test_a_disk_that_is_full_while_unpacking_keeps_an_archive_without_checksum(
    publisher: Publisher, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = {f"Raw JL corpus/JL(wav+txt)/{name}.wav": bytes(300) for name in NAMES["jl-corpus"]}
    publisher.files["/api/v1/datasets/download/tli725/jl-corpus"] = pack(members)
    monkeypatch.setattr(sources, "KAGGLE", publisher.url)
    source = replace(
        SOURCES["jl-corpus"], corpus=replace(CORPORA["jl-corpus"], n_clips=len(members))
    )

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", fill)
        with pytest.raises(OutputError, match="data cannot be written: No space left on device"):
            fetch_corpus(source, data)
    assert fetch_corpus(source, data).whole
    assert len(publisher.requests) == 1
    leftover = data / f".{source.folder}.partial" / "gathered"
    leftover.mkdir(parents=True)
    assert fetch_corpus(source, data).whole
    assert not leftover.parent.exists()


def test_a_corpus_is_not_placed_from_where_it_is_gathered(data: Path) -> None:
    gathered = data / f".{SOURCES['savee'].folder}.partial" / "gathered"
    write_clip(gathered / "DC" / "a01.wav", seed=0)
    with pytest.raises(CorpusError, match="is where the corpus is gathered"):
        place_corpus(SOURCES["savee"], gathered, data)
    assert (gathered / "DC" / "a01.wav").is_file()


def test_savee_is_given_out_on_request_only(data: Path) -> None:
    with pytest.raises(CorpusError, match='"data place savee PATH"'):
        fetch_corpus(SOURCES["savee"], data)


@pytest.mark.parametrize("packed", [True, False])
def test_savee_is_placed_from_what_its_visitor_has(
    packed: bool, tmp_path: Path, data: Path
) -> None:
    folder = tmp_path / "given" / "AudioData"
    for name in NAMES["savee"]:
        write_clip(folder / name[:2] / f"{name[3:]}.wav", seed=0)
    path = folder
    if packed:
        path = Path(shutil.make_archive(str(tmp_path / "AudioData"), "zip", folder.parent))
    source = replace(SOURCES["savee"], corpus=replace(CORPORA["savee"], n_clips=14))
    assert place_corpus(source, path, data).whole
    assert len(CORPORA["savee"].find_clips(data)) == 14
    assert [path.name for path in data.iterdir()] == ["savee"]
    assert folder.is_dir()  # copied, not moved
    with pytest.raises(CorpusError, match="already contains 14 of the 14 clips of savee"):
        place_corpus(source, path, data)


@pytest.mark.parametrize("kind", ["folder", "zip", "nothing", "no zip"])
def test_what_is_no_savee_is_not_placed(kind: str, tmp_path: Path, data: Path) -> None:
    path = tmp_path / "given"
    if kind == "folder":
        write_clip(path / "holiday.wav", seed=0)
    elif kind != "nothing":
        path.write_bytes(pack({"holiday.wav": b"0"}) if kind == "zip" else b"no zip")
    with pytest.raises(CorpusError, match=r"a clip of savee|does not exist|cannot be unpacked"):
        place_corpus(SOURCES["savee"], path, data)
    assert not CORPORA["savee"].is_present(data)


def test_part_of_a_corpus_is_not_written_over(
    ravdess: Source, publisher: Publisher, data: Path
) -> None:
    own = data / "RAVDESS" / "03-01-05-01-01-01-01.wav"
    write_clip(own, seed=1)
    with pytest.raises(CorpusError, match="already contains 1 of the 32 clips of ravdess"):
        fetch_corpus(ravdess, data)
    assert own.is_file()
    assert not publisher.requests


def test_a_clone_without_lfs_is_not_whole(tmp_path: Path) -> None:
    for name in NAMES["crema-d"]:
        path = tmp_path / "CREMA-D" / "AudioWAV" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (state,) = check_corpora(tmp_path, ["crema-d"])
    assert not state.whole
    assert state.text.startswith("12 without audio")


def test_check_counts_the_clips_of_dropped_emotions_too(every_corpus: Path) -> None:
    counts = {state.corpus.name: state.n_clips for state in check_corpora(every_corpus)}
    assert counts == {name: len(names) for name, names in NAMES.items()}


@pytest.mark.needs_data
def test_check_finds_the_real_corpora_as_they_are() -> None:
    from tests.conftest import data_folder

    states = {state.corpus.name: state.text for state in check_corpora(data_folder())}
    assert states["ravdess"] == states["ravdess-song"] == states["tess"] == "complete"


@pytest.mark.parametrize("name", SOURCES)
def test_sources_conform(name: str) -> None:
    source = SOURCES[name]
    assert source.corpus is CORPORA[name]
    assert source.folder in source.corpus.folders
    told = source.describe()
    for part in (source.corpus.licence, source.corpus.citation, source.corpus.source):
        assert part in told
    assert set(SOURCES) == set(CORPORA)


def test_the_command_prints_the_licence_before_any_request(
    ravdess: Source, publisher: Publisher, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner()
    publisher.moods = [404]
    with monkeypatch.context() as patch:
        patch.setitem(SOURCES, "ravdess", ravdess)
        failed = run.invoke(app, ["data", "fetch", "ravdess", "--data", str(data)])
        assert failed.exit_code == 2
        assert "licence   CC-BY-NC-SA-4.0" in failed.stdout
        assert "Livingstone SR" in failed.stdout
        assert failed.stderr.startswith("moodmirror: ")
        done = run.invoke(app, ["data", "fetch", "ravdess", "--data", str(data)])
        assert done.exit_code == 0
        assert "✔ complete" in done.stdout
    for names, code in ((["ravdess"], 2), (["tess"], 2), ([], 0), (["none"], 2)):
        checked = run.invoke(app, ["data", "check", *names, "--data", str(data)])
        assert checked.exit_code == code, names
    assert "1,408 missing" in run.invoke(app, ["data", "check", "--data", str(data)]).stdout


def test_the_command_places_savee_and_says_what_is_missing(tmp_path: Path, data: Path) -> None:
    write_clip(tmp_path / "AudioData" / "DC" / "a01.wav", seed=0)
    arguments = ["data", "place", "savee", str(tmp_path / "AudioData"), "--data", str(data)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "479 missing" in done.stdout
    assert (data / "savee" / "AudioData" / "DC" / "a01.wav").is_file()
