"""The command that runs the papers' systems again."""

from pathlib import Path
from typing import Annotated

import typer

from ser_core.cli.common import app, errors_as_one_line, needs_extra, quiet_native_code
from ser_core.cli.lab import DATA, RUNS, DataOption, RunsOption
from ser_core.cli.names import SPLITS, SYSTEMS, one_of


@app.command()
def reproduce(
    name: Annotated[
        str,
        typer.Argument(help=f"{', '.join(SYSTEMS)}.", autocompletion=one_of(*SYSTEMS)),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="random (as in the papers) or speaker; default: both.",
            autocompletion=one_of(*SPLITS),
        ),
    ] = None,
    variant: Annotated[str | None, typer.Option(help="One variant; default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of runs, with seeds 0, 1, …")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Maximum number of epochs.")] = None,
    data: DataOption = DATA,
    runs: RunsOption = RUNS,
    out: Annotated[
        Path, typer.Option(help="Folder for curves, matrices, reports, predictions and models.")
    ] = Path("runs/reproduction"),
) -> None:
    """Train a paper's system and compare it with the paper's published figures.

    Missing corpora are reported, and the others are used. Each run writes a record; the
    report command turns all records into docs/reproduction.md.
    """
    with errors_as_one_line(), needs_extra("train"):
        with quiet_native_code():
            from ser_core.training.reproduce.jobs import find_jobs, run_job
        for job in find_jobs(name, variant, split, seeds=range(seeds), epochs=epochs):
            typer.echo(run_job(job, data, runs_folder=runs, out=out))
