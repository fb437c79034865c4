"""What several tests share: signals made up on the spot, real recordings where they are."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner
from xdist.scheduler import LoadFileScheduling

from ser_core.cli import app
from ser_core.predictor import Predictor

ROOT = Path(__file__).resolve().parents[1]
RATE_HZ = 16_000
SYLLABLES_PER_S = 4
IN_CI = bool(os.environ.get("CI"))
os.environ["MOODMIRROR_RUNTIME"] = "tensorflow"  # to export a model takes half a minute


def needs(is_there: object, reason: str) -> pytest.MarkDecorator:
    """Skips a test where what it needs is missing, but not in CI, where it must be there."""
    return pytest.mark.skipif(not (is_there or IN_CI), reason=reason)


def needs_program(name: str) -> pytest.MarkDecorator:
    """For tests that run it."""
    return needs(shutil.which(name), f"{name} is not installed")


needs_ffmpeg = needs_program("ffmpeg")
needs_checkout = needs(
    shutil.which("git") and (ROOT / ".git").exists(), "git is not installed, or this no checkout"
)
"""For tests that ask git what belongs to the project."""


def data_folder() -> Path:
    """The real recordings: `MOODMIRROR_DATA`, or `../shared/data` beside the checkout."""
    return (ROOT / os.environ.get("MOODMIRROR_DATA", "../shared/data")).resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs recordings where there are none, except in CI, where it must run."""
    if data_folder().is_dir() or IN_CI:
        return
    reason = f"no recordings in {data_folder()}; set MOODMIRROR_DATA"
    for item in items:
        if "needs_data" in item.keywords:
            item.add_marker(pytest.mark.skip(reason=reason))


class ModuleScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Run the tests of a module in one process, and all browser tests in one.

    So app and Chromium start once.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = str(super()._split_scope(nodeid))
        return "browser" if "/browser/" in module else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ModuleScheduling:
    return ModuleScheduling(config, log)


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the real recordings."""
    return data_folder()


@pytest.fixture(scope="session")
def bundled_model() -> Path:
    """Folder of the model that the app ships."""
    return ROOT / "model" / "compact"


@pytest.fixture(scope="session")
def predictor(bundled_model: Path) -> Predictor:
    """The predictor of that model, loaded once."""
    return Predictor.from_folder(bundled_model)


def run_cli(*arguments: object, **environment: str) -> Result:
    """Run a command in this process; errors that it does not handle are raised."""
    return CliRunner().invoke(
        app,
        [str(argument) for argument in arguments],
        env={"COLUMNS": "200"} | environment,
        prog_name="moodmirror",
        catch_exceptions=False,
    )


@pytest.fixture(scope="session")
def whisper_folder() -> Path:
    """Whisper's encoder and what it must answer: `MOODMIRROR_ENCODER`, or beside the recordings."""
    configured = os.environ.get("MOODMIRROR_ENCODER")
    folder = Path(configured) if configured else data_folder().parent / "encoder"
    return folder.parent if folder.is_file() else folder


@pytest.fixture(scope="session")
def whisper_weights(whisper_folder: Path) -> Path:
    """The true weights."""
    return whisper_folder / "model.safetensors"


@pytest.fixture
def babble() -> np.ndarray:
    """2 s that behave like speech: harmonic, in syllables, between two silences.

    (64,000,) float32 at 16 kHz, peak 0.5; sound from 1.0 to 3.0 s.
    """
    return make_babble()


@pytest.fixture(scope="session")
def tone() -> np.ndarray:
    """A second of a rising tone between silences, with an offset."""
    t = np.arange(RATE_HZ) / RATE_HZ
    rising = 0.2 * np.sin(2 * np.pi * (200 + 100 * t) * t)
    silence = np.zeros(RATE_HZ // 2)
    return (np.concatenate([silence, rising, silence]) + 0.1).astype(np.float32)


def make_babble(*, seed: int = 0, duration_s: float = 2.0) -> np.ndarray:
    """See `babble`; another seed gives another voice."""
    random = np.random.default_rng(seed)
    t = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    syllable, place = np.divmod(SYLLABLES_PER_S * t, 1.0)
    n_syllables = int(syllable[-1]) + 1
    syllable = syllable.astype(int)
    accents_hz = random.uniform(-20, 20, n_syllables)[syllable] * np.sin(np.pi * place)
    f0 = 150 + 30 * np.sin(2 * np.pi * 0.7 * t + random.uniform(0, 6)) + accents_hz
    phase = 2 * np.pi * np.cumsum(f0) / RATE_HZ
    formants_hz = random.uniform((300, 900, 2_300), (800, 2_200, 2_900), (n_syllables, 3))
    voice = np.zeros_like(t)
    for k in range(1, 24):
        distance = (k * f0[:, np.newaxis] - formants_hz[syllable]) / (150, 200, 300)
        loud = 0.02 + np.exp(-(distance**2)) @ (1.0, 0.5, 0.25)
        voice += loud / np.sqrt(k) * np.sin(k * phase)
    voice *= np.sin(np.pi * np.clip((place - 0.25) / 0.75, 0, 1)) ** 0.7
    consonants = np.diff(random.normal(size=len(t)), prepend=0.0)
    consonants *= np.sin(np.pi * np.clip(place / 0.3, 0, 1))
    speech = voice / np.abs(voice).max() + 0.03 * consonants
    clip = np.concatenate(
        [np.zeros(RATE_HZ), 0.5 * speech / np.abs(speech).max(), np.zeros(RATE_HZ)]
    )
    return clip.astype(np.float32)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let goldens be updated, to be reviewed in the diff."""
    parser.addoption("--update-goldens", action="store_true", help="update tests/golden")


class Golden:
    """Arrays that were right once, in tests/golden; changes show in the diff."""

    def __init__(self, *, update: bool) -> None:
        self._update = update

    def check(
        self, name: str, actual: np.ndarray, *, atol: float, cache_format: int | None = None
    ) -> None:
        """Hold an array against the stored one, or store it.

        Where a cache holds such numbers, the format of its entries is stored beside them. They
        must not change under one format: caches would go on with the old ones.
        """
        path = ROOT / "tests" / "golden" / f"{name}.csv"
        header = "" if cache_format is None else f"format {cache_format}"
        is_bound = bool(header) and path.exists() and _header_of(path) == header
        if self._update and not is_bound:
            np.savetxt(path, actual, fmt="%.6g", delimiter=",", header=header)
        assert _header_of(path) == header, f"Update {name} with --update-goldens."
        expected = np.loadtxt(path, delimiter=",", ndmin=actual.ndim)
        remedy = f"If this is meant, raise the {header} of the cache." if header else ""
        np.testing.assert_allclose(actual, expected, atol=atol, rtol=1e-4, err_msg=remedy)


def _header_of(path: Path) -> str:
    first = path.read_text().partition("\n")[0]
    return first.removeprefix("# ") if first.startswith("#") else ""


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Stored arrays to compare with; `--update-goldens` updates them."""
    return Golden(update=request.config.getoption("--update-goldens"))


@pytest.fixture(scope="session")
def examples() -> Path:
    """Folder of the clips that this project made itself."""
    return ROOT / "examples"
