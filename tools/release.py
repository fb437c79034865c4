"""Build wheel and sdist, try the wheel in a fresh environment, write the release notes.

    python -m tools.release

Writes to dist/. The wheel is built from the sdist, which shows that both are complete.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from ser_core import __version__
from tests.conftest import RATE_HZ, ROOT, make_babble

DIST = ROOT / "dist"
UNRELEASED = "Unreleased"
TOLERANCE = 1e-4
START_WITHIN_S = 120.0


def notes(changelog: str, version: str) -> str:
    """Return a version's section of the changelog, or the unreleased one where it has none.

    Args:
        changelog: The whole text.
        version: Such as 0.1.0.
    """
    parts = re.split(r"^## (.+)$", changelog, flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for title, body in sections.items():
        if title.split(" ")[0] == version:
            return f"# MoodMirror {title}\n\n{body.strip()}\n"
    if UNRELEASED not in sections:
        raise SystemExit(f"CHANGELOG.md has no section {version}, and none {UNRELEASED}.")
    return f"# MoodMirror {version}, not dated yet\n\n{sections[UNRELEASED].strip()}\n"


def build() -> Path:
    """Build sdist and wheel, and return the path of the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT)], check=True)
    (wheel,) = DIST.glob(f"moodmirror-{__version__}-*.whl")
    (_,) = DIST.glob(f"moodmirror-{__version__}.tar.gz")
    return wheel


def try_wheel(wheel: Path) -> None:
    """Install a wheel into an empty environment, and use it as a newcomer would."""
    with TemporaryDirectory(prefix="moodmirror-release-") as name:
        place, empty = Path(name) / "venv", Path(name) / "empty"
        empty.mkdir()
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile"]
        subprocess.run([*pip, str(wheel)], check=True, cwd=empty, env=outside())
        soundfile.write(empty / "clip.wav", make_babble(), RATE_HZ)
        arguments = ["predict", "--json", "--model", "compact", "clip.wav"]
        there = run_json([str(place / "bin" / "moodmirror"), *arguments], empty)
        here = run_json([sys.executable, "-m", "ser_core", *arguments], empty, PYTHONPATH=str(ROOT))
        answers = [list(answer["probabilities"].values()) for answer in (there, here)]
        if not np.allclose(*answers, atol=TOLERANCE):
            raise SystemExit(f"The wheel answers {there}, and the checkout {here}.")
        print(f"{wheel.name}: {there['emotion']} {there['confidence']:.0%}, as in the checkout.")
        try_page(place / "bin" / "moodmirror", empty)


def outside() -> dict[str, str]:
    """Return the environment without variables that lead back into the checkout."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MOODMIRROR_MODEL")}


def run_json(command: list[str], folder: Path, **environment: str) -> dict[str, object]:
    """Run a command that prints one JSON object, and return it."""
    env = outside() | environment
    done = subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.PIPE)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def try_page(moodmirror: Path, folder: Path) -> None:
    """Start the page from the wheel, and request it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(moodmirror), "serve", "--model", "compact", "--port", str(port)]
    page = subprocess.Popen(command, cwd=folder, env=outside())
    try:
        end = time.monotonic() + START_WITHIN_S
        while page.poll() is None and time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/config") as answer:
                    if "synthetic-angry" in answer.read().decode():
                        print("The page answers, examples and all.")
                        return
                    raise SystemExit("The page answers, but without its examples.")
            except urllib.error.URLError:
                time.sleep(0.5)
        raise SystemExit("The page does not answer.")
    finally:
        page.terminate()
        page.wait(30)


def main() -> None:
    """Build, try the wheel, and write the release notes."""
    text = notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), __version__)
    try_wheel(build())
    (DIST / "notes.md").write_text(text, encoding="utf-8")
    for path in sorted(DIST.iterdir()):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
