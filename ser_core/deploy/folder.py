"""What is pushed: of the project only what serving needs, of a model what it says of itself."""

import ast
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from ser_core.errors import HubError
from ser_core.manifest import FILE_NAME, Manifest

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
