"""What is pushed: of the project only what serving needs, of a model what it says of itself."""

import ast
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ser_core.errors import HubError, SerError
from ser_core.model.manifest import FILE_NAME, Manifest

MAX_BYTES = 100_000_000
"""Far above what serving needs: a bigger folder holds what does not belong there."""
MAX_DESCRIPTION = 60
"""Characters of a Space's `short_description` that the Hub takes."""
COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
"""What the Hub takes as `colorFrom` and `colorTo`."""


def check_folder(folder: Path) -> Iterator[str]:
    """Check a folder that is to become a Space.

    Args:
        folder: As it will be pushed.

    Yields:
        A line for each check that passed.

    Raises:
        HubError: After the last check, with all that is wrong.
    """
    failed = []
    for check in (_check_header, _check_versions, _check_size, _check_licences):
        try:
            yield check(folder)
        except SerError as error:
            failed.append(str(error))
    if failed:
        raise HubError(" ".join(failed))


def _check_header(folder: Path) -> str:
    header = read_metadata(folder / CARD)
    rules: dict[str, tuple[str, Callable[[str], bool]]] = {
        "title": ("a name", bool),
        "sdk": ("gradio", lambda value: value == "gradio"),
        "app_file": (APP, lambda value: value == APP),
        "license": ("an identifier of the Hub", bool),
        "colorFrom": (" or ".join(COLOURS), lambda value: value in COLOURS),
        "colorTo": (" or ".join(COLOURS), lambda value: value in COLOURS),
        "short_description": (
            f"at most {MAX_DESCRIPTION} characters",
            lambda value: 0 < len(value) <= MAX_DESCRIPTION,
        ),
    }
    for key, (expected, fits) in rules.items():
        if not fits(str(header.get(key, ""))):
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
    told = f"{sum(sizes.values()) / 1e6:.1f} MB, the largest file {sizes[largest] / 1e6:.1f} MB"
    if sum(sizes.values()) > MAX_BYTES:
        raise HubError(
            f"The folder is too large: {told} ({largest.relative_to(folder).as_posix()}); at most "
            f"{MAX_BYTES / 1e6:.0f} MB is allowed. Remove what does not belong there."
        )
    return f"size: {told}"


def _check_licences(folder: Path) -> str:
    for name in ("LICENSE", f"{EXAMPLES}/{CARD}"):
        if not (folder / name).is_file():
            raise HubError(f"{name}, which states the licences, is missing.")
    found = [str(read_metadata(folder / CARD).get("license"))]
    for path in sorted((folder / MODELS).glob(f"*/{FILE_NAME}")):
        check_card(path.parent, Manifest.read(path.parent))
        found.append(f"{path.parent.name} {Manifest.read(path.parent).licence}")
    return f"licences: {', '.join(found)}"


def check_card(folder: Path, manifest: Manifest) -> None:
    """Hold a model's card against its manifest.

    Args:
        folder: A model folder.
        manifest: Its manifest.

    Raises:
        HubError: The card's metadata lack what the Hub sorts by, or name another licence.
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
    """What stands between the first two lines of dashes of a card.

    Args:
        card: A README.md.

    Raises:
        HubError: There is nothing, or it is no YAML.
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


APP = "app.py"
CARD = "README.md"
SINGLE = (APP, "requirements.txt", "packages.txt", CARD, "LICENSE")
PACKAGE = "ser_core"
EXAMPLES = "examples"
CLIP = f"{EXAMPLES}/synthetic-angry.flac"
"""What an app is asked about."""
MODELS = "model"
FIGURES = "figures"

Files = Mapping[str, Path]
"""Files on this machine, by their path in the repository."""


def space_files(project: Path) -> Files:
    """Pick what a Space needs to serve the page.

    Args:
        project: Folder of the project.

    Returns:
        The single files, the modules that the app imports with what lies beside them, the
        bundled models and the examples.

    Raises:
        HubError: The folder is not the whole project, or a file of those is not under version
            control, so that nobody's recording is pushed by mistake.
        ModelError: A bundled model does not match its manifest.
    """
    if absent := [
        name for name in (*SINGLE, PACKAGE, MODELS, CLIP) if not (project / name).exists()
    ]:
        raise HubError(
            f"{project.resolve()} contains no {', '.join(absent)}, so it is not the whole project. "
            "Pass a checkout with --source."
        )
    paths = [project / name for name in SINGLE]
    paths += sorted(_imported(project))
    paths += sorted(_beside_modules(project, paths))
    paths += sorted(
        path
        for path in (project / EXAMPLES).glob("*")
        if path.suffix != ".py" and not path.is_dir()
    )
    for folder in sorted(path.parent for path in (project / MODELS).glob(f"*/{FILE_NAME}")):
        paths += model_files(folder).values()
    files = {path.relative_to(project).as_posix(): path for path in paths}
    if strays := sorted(set(files) - _tracked(project, files)):
        raise HubError(
            f"{', '.join(strays)} would be uploaded but is not under version control. "
            '"git add" it, or remove it.'
        )
    return files


def model_files(folder: Path) -> Files:
    """The files of a model: its manifest, what that names, the card and the card's pictures.

    Args:
        folder: A model folder.

    Raises:
        HubError: It has no card.
        ModelError: It does not match its manifest.
    """
    manifest = Manifest.read(folder)
    if not (folder / CARD).is_file():
        raise HubError(f"{folder} contains no {CARD}. Write the model card, with Hub metadata.")
    names = [FILE_NAME, CARD, *sorted(manifest.files)]
    names += sorted(f"{FIGURES}/{path.name}" for path in (folder / FIGURES).glob("*.png"))
    return {name: folder / name for name in names}


def copy_files(files: Files, target: Path) -> Path:
    """Lay files out as they will lie in the repository.

    Args:
        files: What to copy.
        target: An empty folder.

    Returns:
        The same folder.
    """
    for name, path in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)
    return target


def total_bytes(files: Files) -> int:
    """Size of all files together."""
    return sum(path.stat().st_size for path in files.values())


def _tracked(project: Path, files: Files) -> set[str]:
    """Those of the files that git knows; all of them where this is no checkout."""
    listing = ["git", "-C", str(project), "ls-files", "-z"]
    try:
        done = subprocess.run(listing, capture_output=True, text=True)
    except FileNotFoundError:
        return set(files)
    return set(done.stdout.split("\0")) if done.returncode == 0 else set(files)


def _beside_modules(project: Path, modules: list[Path]) -> set[Path]:
    """What is no code in the packages of some modules, and in folders below the inner ones."""
    root = project / PACKAGE
    packages = {path.parent for path in modules if path.parent != project}
    return {
        path
        for package in packages
        for path in (package.glob("*") if package == root else package.rglob("*"))
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }


def _imported(project: Path) -> set[Path]:
    """Modules of the package that the app imports, now or later, at first or at second hand."""
    found: set[Path] = set()
    waiting = [project / APP]
    while waiting:
        for name in _imports(waiting.pop()):
            path = _module_file(project, name)
            if path is not None and path not in found:
                found.add(path)
                waiting.append(path)
    return found


def _imports(path: Path) -> Iterator[str]:
    """Names of what a module imports, and of the packages above."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _module_file(project: Path, name: str) -> Path | None:
    """File of a module of the package; None for anything else."""
    if name.partition(".")[0] != PACKAGE:
        return None
    place = project.joinpath(*name.split("."))
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((path for path in candidates if path.is_file()), None)
