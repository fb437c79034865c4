"""Selection and checks of the files that are uploaded for a Space or a model."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ser_core.errors import HubError, SerError
from ser_core.model.manifest import FILE_NAME, Manifest
from ser_core.paths import built_browser_page

APP = "app.py"
CARD = "README.md"
EXAMPLES = "examples"
CLIP = f"{EXAMPLES}/synthetic-angry.flac"
"""Recording with which a running app is tested."""
MODELS = "model"
FIGURES = "figures"
SINGLE_FILES = (APP, "requirements.txt", CARD, "LICENSE")
SPACE_FOLDERS = {
    "ser_core": (".py", ".npz", ".LICENSE", ".md"),
    "ser_core/audio": (".py",),
    "ser_core/corpora": (".py",),
    "ser_core/model": (".py",),
    "ser_core/web": (".py", ".css", ".html", ".js", ".svg", ".png"),
    "ser_core/web/languages": (".json",),
    "ser_core/whisper": (".py",),
    EXAMPLES: (".flac", ".md"),
}
"""Folders of a Space, each without its subfolders, and the suffixes of the files in it."""
BUILT_SUFFIXES = (".html", ".css", ".js", ".mjs", ".wasm", ".json", ".onnx")
"""Suffixes of the built page of `examples/browser`."""
COMMAND_LINE = "__main__.py"
"""Left out of a Space, as the package that it starts is."""

MAX_BYTES = 100_000_000
"""Far above what serving needs; a larger folder contains something else."""
MAX_DESCRIPTION = 60
"""Maximum length of a Space's `short_description` on the Hub."""
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
"""Values of `colorFrom` and `colorTo` on the Hub."""

Files = Mapping[str, Path]
"""Files on this machine by their path in the repository."""


def space_files(project: Path) -> Files:
    """Return the files of the project that a Space needs to serve the page.

    The built page of `examples/browser` is among them where there is one.

    Raises:
        HubError: The folder is not the whole project, or one of the files is not under version
            control: this keeps private recordings from being uploaded by mistake.
        ModelError: A bundled model does not match its manifest.
    """
    if missing := [
        name for name in (*SINGLE_FILES, *SPACE_FOLDERS, CLIP) if not (project / name).exists()
    ]:
        raise HubError(
            f"{project.resolve()} contains no {', '.join(missing)}, so it is not the whole "
            "project. Pass a checkout with --source."
        )
    paths = [project / name for name in SINGLE_FILES]
    for folder, suffixes in SPACE_FOLDERS.items():
        found = (path for path in (project / folder).iterdir() if path.suffix in suffixes)
        paths += sorted(path for path in found if path.name != COMMAND_LINE)
    for manifest in sorted((project / MODELS).glob(f"*/{FILE_NAME}")):
        paths += model_files(manifest.parent).values()
    files = {path.relative_to(project).as_posix(): path for path in paths}
    if strays := sorted(set(files) - _tracked(project, files)):
        raise HubError(
            f"{', '.join(strays)} would be uploaded but is not under version control. "
            '"git add" it, or remove it.'
        )
    if built := built_browser_page(project / EXAMPLES):
        pages = (path for path in sorted(built.iterdir()) if path.suffix in BUILT_SUFFIXES)
        files |= {path.relative_to(project).as_posix(): path for path in pages}
    return files


def model_files(folder: Path) -> Files:
    """Return a model's files: its manifest, the files named there, the card and its figures.

    Raises:
        HubError: The folder has no card.
        ModelError: The folder does not match its manifest.
    """
    manifest = Manifest.read(folder)
    if not (folder / CARD).is_file():
        raise HubError(f"{folder} contains no {CARD}. Write the model card, with Hub metadata.")
    names = [FILE_NAME, CARD, *sorted(manifest.files)]
    names += sorted(f"{FIGURES}/{path.name}" for path in (folder / FIGURES).glob("*.png"))
    return {name: folder / name for name in names}


def copy_files(files: Files, target: Path) -> Files:
    """Copy files to an empty folder under their paths in the repository; return the copies."""
    for name, path in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)
    return {name: target / name for name in files}


def check_folder(folder: Path) -> Iterator[str]:
    """Check a Space's folder, and yield a line for each check that passed.

    Raises:
        HubError: After the last check, with everything that is wrong.
    """
    failed = []
    for check in (_check_header, _check_versions, _check_size, _check_licences):
        try:
            yield check(folder)
        except SerError as error:
            failed.append(str(error))
    if failed:
        raise HubError(" ".join(failed))


def check_card(folder: Path, manifest: Manifest) -> None:
    """Check that a model's card agrees with its manifest.

    Raises:
        HubError: Its metadata lack the task, or name another licence.
    """
    metadata = read_metadata(folder / CARD)
    expected = {"license": manifest.licence.lower(), "pipeline_tag": "audio-classification"}
    for key, value in expected.items():
        if metadata.get(key) != value:
            raise HubError(
                f"The metadata of {folder.name}/{CARD} have {key}: {metadata.get(key)}; "
                f"expected {value}."
            )
    if nameless := [c.get("name") for c in manifest.corpora if not c.get("licence")]:
        raise HubError(f"{folder.name}/{FILE_NAME} gives no licence for the corpora {nameless}.")


def read_metadata(card: Path) -> dict[str, Any]:
    """Return the YAML metadata at the top of a card.

    Raises:
        HubError: There is none, or it is not YAML.
    """
    from huggingface_hub.repocard import metadata_load
    from yaml import YAMLError

    try:
        metadata = metadata_load(card)
    except (OSError, ValueError, YAMLError) as error:
        raise HubError(f"The metadata of {card.name} cannot be read: {error}.") from error
    if not metadata:
        raise HubError(f"{card.name} has no metadata; expected YAML between lines of ---.")
    return metadata


def _check_header(folder: Path) -> str:
    header = read_metadata(folder / CARD)
    rules = {
        "title": ("a name", ".+"),
        "sdk": ("gradio", "gradio"),
        "app_file": (APP, re.escape(APP)),
        "license": ("an identifier of the Hub", ".+"),
        "colorFrom": (" or ".join(COLOURS), "|".join(COLOURS)),
        "colorTo": (" or ".join(COLOURS), "|".join(COLOURS)),
        "short_description": (f"at most {MAX_DESCRIPTION} characters", f".{{1,{MAX_DESCRIPTION}}}"),
    }
    for key, (expected, pattern) in rules.items():
        if not re.fullmatch(pattern, str(header.get(key, ""))):
            raise HubError(
                f"The Space header of {CARD} has {key}: {header.get(key)}; expected {expected}."
            )
    return f"header: {header['title']}, {header['short_description']}"


def _check_versions(folder: Path) -> str:
    header = read_metadata(folder / CARD)
    lines = (folder / "requirements.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^gradio==(\S+)", lines, re.MULTILINE)
    if [str(header.get("sdk_version"))] != pinned:
        raise HubError(
            f"The Space header of {CARD} has sdk_version: {header.get('sdk_version')}, and "
            f"requirements.txt pins gradio to {' and '.join(pinned) or 'nothing'}; expected one "
            "version in both."
        )
    return f"versions: Gradio {pinned[0]}, Python {header.get('python_version', 'of the Hub')}"


def _check_size(folder: Path) -> str:
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    largest = max(sizes, key=lambda path: sizes[path])
    text = f"{sum(sizes.values()) / 1e6:.1f} MB, the largest file {sizes[largest] / 1e6:.1f} MB"
    if sum(sizes.values()) > MAX_BYTES:
        raise HubError(
            f"The folder is too large: {text} ({largest.relative_to(folder).as_posix()}); at most "
            f"{MAX_BYTES / 1e6:.0f} MB is allowed. Remove what does not belong there."
        )
    return f"size: {text}"


def _check_licences(folder: Path) -> str:
    for name in ("LICENSE", f"{EXAMPLES}/{CARD}"):
        if not (folder / name).is_file():
            raise HubError(f"{name}, which states the licences, is missing.")
    found = [str(read_metadata(folder / CARD).get("license"))]
    for path in sorted((folder / MODELS).glob(f"*/{FILE_NAME}")):
        manifest = Manifest.read(path.parent)
        check_card(path.parent, manifest)
        found.append(f"{path.parent.name} {manifest.licence}")
    return f"licences: {', '.join(found)}"


def _tracked(project: Path, files: Files) -> set[str]:
    """Return the files that git tracks; all of them outside a git repository."""
    command = ["git", "-C", str(project), "ls-files", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return set(files)
    return set(done.stdout.split("\0")) if done.returncode == 0 else set(files)
