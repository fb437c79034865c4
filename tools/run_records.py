"""MkDocs hook: a page for each folder of run records, to which figures.md links."""

from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

RECORDS = "runs"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page per folder that lists its records and subfolders."""
    inside: dict[PurePosixPath, set[str]] = {}
    for file in files:
        path = PurePosixPath(file.src_uri)
        if path.parts[0] == RECORDS:
            for child, folder in zip([path, *path.parents], path.parents, strict=False):
                if folder.parts:
                    inside.setdefault(folder, set()).add(child.name)
    for folder, names in inside.items():
        lines = [f"# {folder}", ""]
        for name in sorted(names):
            target = f"{name}/index.md" if folder / name in inside else name
            lines.append(f"- [{name}]({target})")
        page = File.generated(config, f"{folder}/index.md", content="\n".join(lines))
        files.append(page)
    return files
