"""What goes wrong around a running app, and what its visitors notice of it."""

import socket
import time
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
SMALL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
import app
app.main()
"""
"""The app where no file can grow beyond 300 kB, as on a disk that is full."""
JUMPING_CLOCK = """
import time
true_time = time.time
time.time = lambda: true_time() + 3600 * (int(true_time()) % 3 - 1)
import app
app.main()
"""
"""The app on a machine whose clock is set an hour back or on every second."""
ONE_PLACE = """
from ser_core.web import live
live.N_STREAMS = 1
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
    """Four minutes of the voice, which take a while."""
    samples, rate_hz = soundfile.read(voice)
    path = tmp_path_factory.mktemp("long") / "long.flac"
    soundfile.write(path, np.resize(samples, 240 * rate_hz), rate_hz)
    return path


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


def test_two_apps_share_a_machine(tmp_path: Path, voice: Path) -> None:
    logs = [tmp_path / "one" / "log.txt", tmp_path / "two" / "log.txt"]
    for log in logs:
        log.parent.mkdir()
    arguments = [str(ROOT / "app.py")]
    with (
        run_app(arguments, logs[0], MOODMIRROR_MODEL=COMPACT) as one,
        run_app(arguments, logs[1], MOODMIRROR_MODEL=COMPACT) as two,
    ):
        assert one != two
        assert is_answered(one, voice)
        assert is_answered(two, voice)
    assert all("Traceback" not in log.read_text() for log in logs)


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
    assert time.monotonic() - begun < 30


def test_a_full_disk_fails_an_upload_and_small_clips_go_on(
    tmp_path: Path, voice: Path, long_clip: Path
) -> None:
    with run_app(["-c", SMALL_DISK], tmp_path / "log.txt", MOODMIRROR_MODEL=COMPACT) as url:
        files = {"files": ("big.flac", long_clip.read_bytes())}
        assert httpx.post(f"{url}gradio_api/upload", files=files).status_code >= 400
        assert is_answered(url, voice)


def test_nothing_but_the_temporary_folder_need_be_writable(tmp_path: Path, voice: Path) -> None:
    nowhere = "/proc/nowhere"
    with run_app(
        [str(ROOT / "app.py")],
        tmp_path / "log.txt",
        MOODMIRROR_MODEL="auto",
        MOODMIRROR_CACHE=nowhere,
        MOODMIRROR_ENCODER="",
        HOME=nowhere,
        HF_HOME=nowhere,
        HF_HUB_OFFLINE="1",
        NUMBA_CACHE_DIR=str(tmp_path),
        MPLCONFIGDIR=str(tmp_path),
    ) as url:
        assert is_answered(url, voice)


def test_a_clock_that_is_set_anew_costs_no_answer(tmp_path: Path, voice: Path) -> None:
    with run_app(["-c", JUMPING_CLOCK], tmp_path / "log.txt", MOODMIRROR_MODEL=COMPACT) as url:
        for _ in range(4):
            assert is_answered(url, voice)
            time.sleep(0.7)


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
        assert all("refused 503" in a or "full" in a.lower() for a in turned_away), turned_away
        assert is_answered(url, voice)


def test_a_talker_too_many_is_told_so_and_heard_once_a_place_is_free(
    voice: Path, tmp_path: Path
) -> None:
    samples, rate_hz = soundfile.read(voice, dtype="float32")
    with (
        run_app(["-c", ONE_PLACE], tmp_path / "log.txt", MOODMIRROR_MODEL=COMPACT) as url,
        ThreadPoolExecutor() as pool,
    ):
        first, second = (LiveClient(url, samples, rate_hz) for _ in range(2))
        talk = pool.submit(first.stream, 3.0)
        time.sleep(1.5)
        *shown, summary = second.stream(15.0)
        assert not any("places are taken" in panel for panel in talk.result())
        first.close()
        second.close()
    assert "places are taken" in shown[0]
    assert "places are taken" not in shown[-1]
    assert session_of(summary)["answers"]
