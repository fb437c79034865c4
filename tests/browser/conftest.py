"""The app as its users meet it: a process of its own, and Chromium with a microphone of tape."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import psutil
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserType, ConsoleMessage, Page, Request, sync_playwright
from playwright.sync_api import Error as BrowserError

from tests.conftest import IN_CI, ROOT, data_folder

READY_WITHIN_S = 120
ANSWER_WITHIN_MS = 30_000
ENDS_WITHIN_S = 120
REAL_CLIP = "ravdess/03-01-05-02-01-01-12.opus"
PLAYER_CANNOT_PLAY = "Waveform load error"
"""Gradio's own player, on a file that is no sound; the page says so in its own words."""
EXAMPLE = ROOT / "examples" / "synthetic-angry.flac"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test what the page says then."""
    report = yield
    page = item.funcargs.get("page")
    if report.when == "call" and report.failed and isinstance(page, Page):
        with suppress(BrowserError):
            report.sections.append(("The page says", page.locator("body").inner_text()))
    return report


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """Folder of the model that answers, for the app and for the tests."""
    return Path(os.environ.get("MOODMIRROR_MODEL", ROOT / "model" / "compact")).resolve()


@pytest.fixture(scope="session")
def app_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the app prints."""
    return tmp_path_factory.mktemp("app") / "log.txt"


@pytest.fixture(scope="session")
def app_url(model_folder: Path, app_log: Path) -> Iterator[str]:
    """Address of the running app, which is also a server for agents where that is installed."""
    settings = {"MOODMIRROR_MODEL": str(model_folder)}
    if find_spec("mcp"):
        settings["GRADIO_MCP_SERVER"] = "True"
    with run_app([str(ROOT / "app.py")], app_log, **settings) as url:
        yield url


@contextmanager
def run_app(arguments: list[str], log: Path, **environment: str) -> Iterator[str]:
    """Run the app in a process of its own, which must leave no clip behind when it ends.

    Args:
        arguments: Of Python.
        log: Where all goes that the app prints.
        **environment: What it sees beside this process's own.

    Yields:
        The address of the page, once it answers.
    """
    clips = log.parent / "clips"
    clips.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(clips),
        "PYTHONFAULTHANDLER": "1",
    }
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | where | environment,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}/"
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGABRT)  # prints where each thread is
                process.wait()
                pytest.fail(f"The app did not end; it said:\n{log.read_text()}")
    assert [path for path in clips.rglob("*") if path.is_file()] == []


def app_process(app_url: str) -> psutil.Process:
    """The running app."""
    port = urlsplit(app_url).port
    (listener,) = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    }
    return psutil.Process(listener)


@contextmanager
def slowed(process: psutil.Process) -> Iterator[None]:
    """Let a process run for a tenth of the time, so that the page sees its work unfinished."""
    ended = Event()

    def stop_and_go() -> None:
        while not ended.wait(0.02):
            process.suspend()
            ended.wait(0.18)
            process.resume()

    thread = Thread(target=stop_and_go)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    fate = f"did not answer within {READY_WITHIN_S} s" if process.poll() is None else "stopped"
    pytest.fail(f"The app {fate}; it said:\n{log.read_text()}")


def to_wav(source: Path, folder: Path) -> Path:
    """The same recording as WAV."""
    samples, rate_hz = soundfile.read(source)
    target = folder / f"{source.stem}.wav"
    soundfile.write(target, samples, rate_hz)
    return target


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice as WAV: a real one where the recordings are, a synthetic one elsewhere."""
    real = data_folder() / REAL_CLIP
    return to_wav(real if real.exists() else EXAMPLE, tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def browser(voice: Path) -> Iterator[Browser]:
    """Chromium whose microphone plays `voice` over and over."""
    with sync_playwright() as playwright:
        browser = launch(
            playwright.chromium,
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={voice}",
        )
        yield browser
        browser.close()


def launch(browser_type: BrowserType, *arguments: str) -> Browser:
    """Return a new Chromium without a window."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if IN_CI:
            pytest.fail("Chromium is missing; install Debian's package chromium.")
        pytest.skip("Chromium is missing; install Debian's package chromium")
    args = ["--headless=new", "--no-sandbox", "--disable-background-networking"]
    return browser_type.launch(
        executable_path=chromium, args=[*args, "--disable-component-update", *arguments]
    )


@pytest.fixture
def page(browser: Browser, app_url: str) -> Iterator[Page]:
    """The open page; fails a test that leaves an error or asks another host for anything."""
    complaints: list[str] = []

    def check_host(request: Request) -> None:
        if not request.url.startswith((app_url, "blob:", "data:")):
            complaints.append(f"request to another host: {request.url}")

    def check_console(message: ConsoleMessage) -> None:
        if message.type == "error" and PLAYER_CANNOT_PLAY not in message.text:
            complaints.append(f"console: {message.text}")

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(ANSWER_WITHIN_MS)
    context.on("request", check_host)
    context.on("console", check_console)
    context.on("weberror", lambda error: complaints.append(f"uncaught: {error.error}"))
    page = context.new_page()
    page.goto(app_url)
    yield page
    context.close()
    assert complaints == []
