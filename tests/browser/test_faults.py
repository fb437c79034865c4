"""What goes wrong around a running app, and what its visitors notice of it."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file

from benchmarks.load import LiveClient, session_of
from ser_core.labels import LABELS
from tests.browser.conftest import run_app
from tests.browser.test_hostile import call, file_data, upload
from tests.conftest import ROOT

pytestmark = pytest.mark.browser

COMPACT = str(ROOT / "model" / "compact")
POOR_MACHINE = """
import resource, time
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
true_time = time.time
time.time = lambda: true_time() + 3600 * (int(4 * true_time()) % 3 - 1)
import app
app.main()
"""
"""The app where files end at 2 MB, as on a full disk, and the clock jumps by an hour."""
ONE_PLACE = """
from ser_core.web import page
page.MAX_STREAMS = 1
import app
app.main()
"""
SHORT_QUEUE = """
from ser_core.web import page
page.MAX_WAITING = 2
import app
app.main()
"""


def is_answered(url: str, clip: Path) -> bool:
    client = Client(url, verbose=False, analytics_enabled=False)
    return client.predict(audio=handle_file(clip), api_name="/predict")["emotion"] in LABELS


@pytest.fixture(scope="module")
def long_clip(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes of the voice, which take a while."""
    samples, rate_hz = soundfile.read(voice)
    path = tmp_path_factory.mktemp("long") / "long.flac"
    soundfile.write(path, np.resize(samples, 120 * rate_hz), rate_hz)
    return path


@pytest.fixture(scope="module")
def poor_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app on a poor machine, which can write to its temporary folder alone."""
    folder, nowhere = tmp_path_factory.mktemp("poor"), "/proc/nowhere"
    with run_app(
        ["-c", POOR_MACHINE],
        folder / "log.txt",
        MOODMIRROR_MODEL="auto",
        MOODMIRROR_CACHE=nowhere,
        MOODMIRROR_ENCODER="",
        HOME=nowhere,
        HF_HOME=nowhere,
        HF_HUB_OFFLINE="1",
        NUMBA_CACHE_DIR=str(folder),
        MPLCONFIGDIR=str(folder),
    ) as url:
        yield url


@pytest.fixture(scope="module")
def small_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An app with one place to talk live."""
    log = tmp_path_factory.mktemp("small") / "log.txt"
    with run_app(["-c", ONE_PLACE], log, MOODMIRROR_MODEL=COMPACT) as url:
        yield url
    assert "Traceback" not in log.read_text()


def test_a_visitor_who_leaves_in_the_middle_of_an_upload_harms_nobody(
    app_url: str, voice: Path
) -> None:
    address = urlsplit(app_url)
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {address.netloc}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    )
    for _ in range(5):
        with socket.create_connection((address.hostname, address.port)) as visitor:
            visitor.sendall(head.encode() + bytes(200_000))
    assert is_answered(app_url, voice)


def test_two_apps_share_a_machine(app_url: str, small_url: str, voice: Path) -> None:
    assert app_url != small_url
    assert is_answered(app_url, voice)
    assert is_answered(small_url, voice)


def test_an_end_in_the_middle_of_work_comes_soon_and_leaves_no_clip(
    tmp_path: Path, long_clip: Path
) -> None:
    with run_app([str(ROOT / "app.py")], tmp_path / "log.txt", MOODMIRROR_MODEL=COMPACT) as url:
        with httpx.Client(base_url=url, timeout=30.0) as http:
            clip = upload(http, "long.flac", long_clip.read_bytes())
            data = {"data": [file_data(clip), "auto", False]}
            for _ in range(3):
                assert http.post("gradio_api/call/predict", json=data).status_code == 200
        time.sleep(0.3)
        begun = time.monotonic()
    # `run_app` has sent SIGTERM, waited, and looked for clips that were left.
    assert time.monotonic() - begun < 60


def test_a_full_disk_fails_an_upload_and_small_clips_go_on(poor_url: str, voice: Path) -> None:
    files = {"files": ("big.flac", bytes(4_000_000))}
    assert httpx.post(f"{poor_url}gradio_api/upload", files=files).status_code == 507
    assert is_answered(poor_url, voice)


def test_nothing_but_the_temporary_folder_need_be_writable(poor_url: str, voice: Path) -> None:
    assert is_answered(poor_url, voice)


def test_a_clock_that_is_set_anew_costs_no_answer(poor_url: str, voice: Path) -> None:
    assert all(is_answered(poor_url, voice) for _ in range(4))


def test_a_full_queue_says_so_and_empties_again(
    tmp_path: Path, voice: Path, long_clip: Path
) -> None:
    arguments = ["-c", SHORT_QUEUE]
    with run_app(arguments, tmp_path / "log.txt", MOODMIRROR_MODEL=COMPACT) as url:
        with httpx.Client(base_url=url, timeout=120.0) as http:
            clip = upload(http, "long.flac", long_clip.read_bytes())

            def ask(_: int) -> str:
                return call(http, [file_data(clip), "auto", False])

            with ThreadPoolExecutor(10) as visitors:
                told = list(visitors.map(ask, range(10)))
        turned_away = [answer for answer in told if "event: complete" not in answer]
        assert 0 < len(turned_away) < 10
        assert all("refused 429" in a or "full" in a.lower() for a in turned_away), turned_away
        assert is_answered(url, voice)


def test_a_talker_too_many_is_told_so_and_heard_once_a_place_is_free(
    voice: Path, small_url: str
) -> None:
    samples, rate_hz = soundfile.read(voice, dtype="float32")
    with ThreadPoolExecutor() as pool:
        first, second = (LiveClient(small_url, samples, rate_hz) for _ in range(2))
        talk = pool.submit(first.stream, 3.0)
        time.sleep(1.5)
        *shown, summary = second.stream(15.0)
        assert not any("places are in use" in panel for panel in talk.result())
        first.close()
        second.close()
    assert "places are in use" in shown[0]
    assert "places are in use" not in shown[-1]
    assert session_of(summary)["answers"]
