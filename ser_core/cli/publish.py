"""The commands that pass a model on: to another runtime, or to the Hugging Face Hub."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ser_core.cli.common import MODELS, command, one_of, quiet_native_code, show
from ser_core.errors import HubError

if TYPE_CHECKING:
    from ser_core.deploy.folder import Files


DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check and show everything without uploading.")
]
PrivateOption = Annotated[bool, typer.Option(help="Make the repository private.")]


@command()
def export(
    model: Annotated[
        str,
        typer.Argument(
            help="accurate, compact, or a model folder; not an export.",
            autocompletion=one_of(*MODELS),
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    to: Annotated[Literal["onnx", "tflite"], typer.Option(help="The runtime.")] = "onnx",
) -> None:
    """Write a model for ONNX Runtime or TensorFlow Lite; ONNX needs the extra export.

    The folder holds the network, its card and its settings. That of ONNX is a model for --model.
    """
    from ser_core.export import export as export_model
    from ser_core.export import is_export
    from ser_core.paths import check_output
    from ser_core.registry import resolve

    check_output(out, is_export)
    found = resolve(model).model
    found.download_weights()
    with quiet_native_code():
        distance = export_model(found, out, to=to)
    show(f"{out} written: its probabilities differ from the network's by at most {distance:.0e}.")


@command()
def deploy(
    space: Annotated[
        str, typer.Option(help="OWNER/NAME of the Space; created if it does not exist.")
    ],
    source: Annotated[Path, typer.Option(help="Checkout of the project.")] = Path(),
    hardware: Annotated[
        str | None, typer.Option(help="Hardware, such as cpu-basic or cpu-upgrade.")
    ] = None,
    secrets: Annotated[
        list[str] | None,
        typer.Option("--secret", help="Environment variable to set as a secret; can be repeated."),
    ] = None,
    variables: Annotated[
        list[str] | None, typer.Option("--variable", help="NAME=VALUE; can be repeated.")
    ] = None,
    private: PrivateOption = False,
    skip_smoke_test: Annotated[
        bool, typer.Option(help="Do not test the app in a fresh environment first.")
    ] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Deploy the app to a Space: check, upload, wait for the build, and query it once."""
    from ser_core.deploy.folder import check_folder, copy_files, space_files
    from ser_core.deploy.repository import check_name, open_hub
    from ser_core.deploy.space import SpacePlan, fresh_environment, smoke_test
    from ser_core.deploy.space import deploy as deploy_space

    check_name(space)
    pairs = dict(_split_pair(variable) for variable in variables or [])
    plan = SpacePlan(space, hardware, tuple(secrets or []), pairs, private)
    plan.secret_values()
    with TemporaryDirectory(prefix="moodmirror-space-") as place:
        folder = Path(place) / "space"
        files = copy_files(space_files(source), folder)
        for line in check_folder(folder):
            show(line)
        api = None if dry_run else open_hub()
        if skip_smoke_test:
            show("smoke test: skipped; this folder has not been shown to run")
        else:
            show("smoke test: installing requirements.txt into a fresh environment …")
            python = fresh_environment(folder / "requirements.txt", Path(place) / "venv")
            show(smoke_test(folder, python))
        if api is None:
            _print_files(files)
        for line in plan.steps(files) if api is None else deploy_space(api, plan, files):
            show(line)


@command()
def publish_model(
    folder: Annotated[Path, typer.Argument(help="Model folder with its model card.")],
    repo: Annotated[str, typer.Argument(help="OWNER/NAME of the repository.")],
    file_format: Annotated[
        Literal["keras", "saved_model"],
        typer.Option(
            "--format",
            help="keras: the weights, which run no code. saved_model: the SavedModel as well, "
            "which is a program and runs only with --trust.",
        ),
    ] = "keras",
    private: PrivateOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Upload a model folder to the Hub, for MOODMIRROR_MODEL=hf://OWNER/NAME@REVISION."""
    from ser_core.deploy.repository import check_name, open_hub, publishable, weights_only
    from ser_core.deploy.repository import publish_model as publish

    check_name(repo)
    with TemporaryDirectory(prefix="moodmirror-model-") as draft:
        is_whole = file_format == "saved_model"
        files = publishable(folder) if is_whole else weights_only(folder, Path(draft))
        if dry_run:
            _print_files(files)
            show(f"would create the repository {repo} if needed, and upload these files")
            return
        for line in publish(open_hub(), files, repo, private=private):
            show(line)


def _split_pair(variable: str) -> tuple[str, str]:
    name, sign, value = variable.partition("=")
    if not (name and sign):
        raise HubError(f"--variable {variable} has no value; expected NAME=VALUE.")
    return name, value


def _print_files(files: "Files") -> None:
    for name, path in files.items():
        show(f"{path.stat().st_size:>12,}  {name}")
