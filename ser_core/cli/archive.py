"""The command that scores archives."""

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ser_core.cli.common import (
    BAD_INPUT,
    MODEL,
    DenoiseOption,
    ModelOption,
    app,
    errors_as_one_line,
    needs_extra,
)

if TYPE_CHECKING:
    from ser_core.manifest import Manifest
    from ser_core.score import ScoreConfig, Summary


@app.command()
def score(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="Folder, glob, tar or recording; also s3://…"),
    ],
    output: Annotated[str, typer.Argument(help="Folder for the Parquet parts.")],
    model: ModelOption = MODEL,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of workers, each with its own model; default: one per core."
        ),
    ] = None,
    use_ray: Annotated[
        bool, typer.Option("--ray", help="Use Ray Data, on the cluster at RAY_ADDRESS.")
    ] = False,
    rows: Annotated[
        Literal["clips", "windows"], typer.Option(help="One row per clip, or one per window.")
    ] = "clips",
    part: Annotated[int, typer.Option(min=1, help="Maximum number of clips per part.")] = 500,
    denoise: DenoiseOption = False,
) -> None:
    """Analyse a whole archive into Parquet; an interrupted run resumes where it stopped.

    Clips that cannot be analysed are listed with the error, and the exit code is then 2.
    """
    with errors_as_one_line(), needs_extra("cluster"):
        from ser_core.models import fetch_parts, settle
        from ser_core.score import ScoreConfig

        fetch_parts(model)
        name, manifest = settle(model)
        config = ScoreConfig(rows=rows, denoise=denoise, clips_per_part=part)
        summary = _score(
            (source, output), (name, manifest), config, workers or _n_cores(), use_ray=use_ray
        )
    typer.echo(
        f"{output}: {summary.n_clips} clips analysed, {summary.n_refused} with an error, "
        f"{summary.audio_s / 3600:.2f} h of audio; {summary.n_before} were already done."
    )
    if summary.n_postponed:
        message = f"{summary.n_postponed} could not be fetched. Run the command again."
        typer.echo(f"moodmirror: {message}", err=True)
    if summary.n_refused or summary.n_postponed:
        raise typer.Exit(BAD_INPUT)


def _score(
    ends: tuple[str, str],
    model: "tuple[str, Manifest]",
    config: "ScoreConfig",
    n_workers: int,
    *,
    use_ray: bool,
) -> "Summary":
    """Score from one end to the other, with a progress bar on stderr."""
    from ser_core.models import open_predictor
    from ser_core.score import open_output, score

    if use_ray:
        from ser_core.score.cluster import Actors as Crew
    else:
        from ser_core.score.local import Processes as Crew  # type: ignore[assignment]
    (source, output), (name, manifest) = ends, model
    place = open_output(output, manifest, config)
    columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=Console(stderr=True)) as bar,
        Crew(n_workers, partial(open_predictor, name), place, config) as crew,
    ):
        shown = bar.add_task("", total=None)

        def tell(so_far: "Summary", n_total: int) -> None:
            bar.update(shown, completed=so_far.n_before + so_far.n_clips, total=n_total)

        return score(source, place, crew, config, on_progress=tell)


def _n_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1
