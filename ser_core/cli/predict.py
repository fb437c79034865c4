"""The command that scores archives."""

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
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
    open_model,
)
from ser_core.cli.output import print_csv, print_json, print_object, print_table
from ser_core.errors import SerError

if TYPE_CHECKING:
    from ser_core.model.manifest import Manifest
    from ser_core.prediction import Prediction
    from ser_core.predictor import Predictor
    from ser_core.score import ScoreConfig, Summary
    from ser_core.speaker import SpeakerProfile


FileArgument = Annotated[Path, typer.Argument(help="A recording.")]


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Recordings.")],
    model: ModelOption = MODEL,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, one row per recording.")
    ] = False,
    denoise: DenoiseOption = False,
    voice: Annotated[
        Path | None,
        typer.Option(help="Voice profile written by teach; results are relative to it."),
    ] = None,
) -> None:
    """Recognise the emotion in each recording.

    A recording that cannot be analysed is reported on stderr; the others continue, and the
    exit code is 2.
    """
    with errors_as_one_line():
        profile = _read_profile(voice)
        predictor = open_model(model)
    failed: list[Path] = []
    answers = _predict_each(predictor, files, failed, denoise=denoise, profile=profile)
    if as_json:
        print_json(answers)
    elif as_csv:
        print_csv(answers, predictor.labels)
    else:
        print_table(answers)
    if failed:
        raise typer.Exit(BAD_INPUT)


@app.command()
def timeline(
    file: FileArgument, model: ModelOption = MODEL, denoise: DenoiseOption = False
) -> None:
    """Print the emotions over time in a recording, as JSON."""
    with errors_as_one_line():
        print_object(open_model(model).analyse(file, denoise=denoise).timeline())


@app.command()
def explain(file: FileArgument, model: ModelOption = MODEL, denoise: DenoiseOption = False) -> None:
    """Print how much each moment of a recording contributed to the result, as JSON."""
    with errors_as_one_line():
        from ser_core.explain import explain as explain_analysis
        from ser_core.explain import to_dict

        predictor = open_model(model)
        analysis = predictor.analyse(file, denoise=denoise)
        print_object(to_dict(analysis, explain_analysis(analysis, predictor.model)))


@app.command()
def compare(
    file: FileArgument,
    models: Annotated[list[str] | None, typer.Option("--model", help="Can be repeated.")] = None,
    denoise: DenoiseOption = False,
) -> None:
    """Compare the results of several models for one recording, as a table."""
    with errors_as_one_line():
        names = models or ["accurate", "compact"]
        predictors = [open_model(name) for name in names]
        print_table(
            (Path(p.manifest.name), p.analyse(file, denoise=denoise).prediction) for p in predictors
        )


@app.command()
def batch(
    files: Annotated[list[Path], typer.Argument(help="Recordings, and zips of them.")],
    model: ModelOption = MODEL,
) -> None:
    """Analyse up to 200 recordings and print JSON: a row each, and scores for labelled names."""
    with errors_as_one_line():
        from ser_core.batch import batch_to_dict, predict_paths

        rows = predict_paths(files, open_model(model))
        print_object(batch_to_dict(rows))
    if any(row.prediction is None for row in rows):
        raise typer.Exit(BAD_INPUT)


@app.command()
def teach(
    file: Annotated[Path, typer.Argument(help="10 to 20 s of ordinary speech.")],
    out: Annotated[Path, typer.Option(help="Voice profile to write: JSON, no audio.")] = Path(
        "moodmirror-voice.json"
    ),
    model: ModelOption = MODEL,
) -> None:
    """Write a profile of one speaker's ordinary voice, for predict --voice."""
    with errors_as_one_line():
        from ser_core.speaker import SpeakerProfile

        predictor = open_model(model)
        profile = SpeakerProfile.of(predictor.analyse(file), predictor.manifest.calm_reference)
        out.write_text(profile.to_json() + "\n", encoding="utf-8")
    typer.echo(f"{out} written, for {profile.model}.")


@app.command()
def draw(
    file: FileArgument,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("pictures"),
    model: ModelOption = MODEL,
    denoise: DenoiseOption = False,
) -> None:
    """Plot a recording, and save its audio after each processing step."""
    with errors_as_one_line():
        import soundfile

        from ser_core.plots import draw_features, draw_sound
        from ser_core.predictor import trace_pipeline

        walk = trace_pipeline(file, open_model(model).path(denoise=denoise))
        out.mkdir(parents=True, exist_ok=True)
        for i, stage in enumerate(walk.stages, 1):
            path = out / f"{i}-{stage.name}.wav"
            soundfile.write(path, stage.waveform, walk.sample_rate_hz, subtype="FLOAT")
        for picture in draw_sound(walk.stages[0].waveform, walk.sample_rate_hz):
            (out / f"{picture.name.replace(' ', '-').lower()}.png").write_bytes(picture.png)
        (out / "features.png").write_bytes(draw_features(walk.features, walk.hop_s))
    typer.echo(f"{out} written.")


def _read_profile(path: Path | None) -> "SpeakerProfile | None":
    """The profile that `--voice` names."""
    if path is None:
        return None
    from ser_core.speaker import SpeakerError, SpeakerProfile

    try:
        return SpeakerProfile.from_json(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise SpeakerError(f"{path} cannot be read: {error.strerror}.") from error


def _predict_each(
    predictor: "Predictor",
    files: Iterable[Path],
    failed: list[Path],
    *,
    denoise: bool,
    profile: "SpeakerProfile | None",
) -> Iterator[tuple[Path, "Prediction"]]:
    """Judge file after file; those that cannot be judged go to stderr and to `failed`."""
    for file in files:
        try:
            heard = predictor.analyse(file, denoise=denoise).prediction
            yield file, heard if profile is None else profile.adapt(heard)
        except SerError as error:
            typer.echo(f"moodmirror: {file}: {error}", err=True)
            failed.append(file)


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
        from ser_core.registry import download_weights, settle
        from ser_core.score import ScoreConfig

        download_weights(model)
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
    from ser_core.registry import open_predictor
    from ser_core.score import open_output, score

    if use_ray:
        from ser_core.score.pool import Actors as Crew
    else:
        from ser_core.score.pool import Processes as Crew  # type: ignore[assignment]
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
