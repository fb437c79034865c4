"""What the Hub would not take is refused before it is sent."""

from pathlib import Path

import pytest

from ser_core.deploy.folder import check_folder
from ser_core.errors import HubError
from tests.deploy.conftest import replace_in


def test_this_project_passes_its_checks(folder: Path) -> None:
    lines = list(check_folder(folder))
    assert [line.partition(":")[0] for line in lines] == ["header", "versions", "size", "licences"]


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "message"),
    [
        ("README.md", "^sdk: .*", "sdk: docker", "has sdk: docker; expected gradio"),
        ("README.md", "^app_file: .*", "app_file: main.py", "app_file: main.py; expected app.py"),
        ("README.md", "^license: .*\n", "", "has license: None; expected an identifier"),
        ("README.md", "^colorTo: .*", "colorTo: teal", "has colorTo: teal; expected red or"),
        ("README.md", "^(short_.*)", r"\1" + "!" * 60, "expected at most 60 characters"),
        ("README.md", "^short_.*\n", "", "short_description: None; expected at most"),
        ("README.md", "^sdk_version: .*", "sdk_version: 5.0.0", "pins gradio to 6"),
        ("requirements.txt", "^gradio==", "gradio>=", "pins gradio to nothing"),
        ("README.md", "^title: .*", "title: [", "metadata of README.md cannot be read"),
        ("README.md", "^---$", "", "has no metadata"),
        ("model/compact/README.md", "^license: .*", "license: mit", "have license: mit; expected"),
        ("model/accurate/README.md", "^pipeline_tag: .*\n", "", "pipeline_tag: None; expected"),
    ],
)  # fmt: skip
def test_a_folder_that_the_hub_would_not_take_is_refused(
    copy: Path, file: str, pattern: str, replacement: str, message: str
) -> None:
    replace_in(copy / file, pattern, replacement)
    with pytest.raises(HubError, match=message):
        list(check_folder(copy))


def test_all_that_is_wrong_is_told_at_once(copy: Path) -> None:
    (copy / "LICENSE").unlink()
    (copy / "examples" / "long.wav").write_bytes(bytes(100_000_001))
    with pytest.raises(HubError, match=r"at most 100 MB .*LICENSE, which states") as raised:
        list(check_folder(copy))
    assert "examples/long.wav" in str(raised.value)
