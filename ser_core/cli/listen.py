"""The commands that judge recordings: all that the page can do with them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ser_core.cli.common import (
    BAD_INPUT,
    MODEL,
    DenoiseOption,
    ModelOption,
    app,
    errors_as_one_line,
    open_model,
)
from ser_core.console import print_csv, print_json, print_object, print_table
from ser_core.errors import SerError

if TYPE_CHECKING:
    from ser_core.prediction import Prediction
    from ser_core.predictor import Predictor
    from ser_core.voice import VoiceProfile

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
        from ser_core.batch import batch_to_dict, judge_paths

        rows = judge_paths(files, open_model(model))
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
        from ser_core.voice import VoiceProfile

        predictor = open_model(model)
        profile = VoiceProfile.of(predictor.analyse(file), predictor.manifest.calm_reference)
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
        from ser_core.stages import walk_through

        walk = walk_through(file, open_model(model).path(denoise=denoise))
        out.mkdir(parents=True, exist_ok=True)
        for i, stage in enumerate(walk.stages, 1):
            path = out / f"{i}-{stage.name}.wav"
            soundfile.write(path, stage.waveform, walk.sample_rate_hz, subtype="FLOAT")
        for picture in draw_sound(walk.stages[0].waveform, walk.sample_rate_hz):
            (out / f"{picture.name.replace(' ', '-').lower()}.png").write_bytes(picture.png)
        (out / "features.png").write_bytes(draw_features(walk.features, walk.hop_s))
    typer.echo(f"{out} written.")


def _read_profile(path: Path | None) -> "VoiceProfile | None":
    """The profile that `--voice` names."""
    if path is None:
        return None
    from ser_core.voice import VoiceError, VoiceProfile

    try:
        return VoiceProfile.from_json(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise VoiceError(f"{path} cannot be read: {error.strerror}.") from error


def _predict_each(
    predictor: "Predictor",
    files: Iterable[Path],
    failed: list[Path],
    *,
    denoise: bool,
    profile: "VoiceProfile | None",
) -> Iterator[tuple[Path, "Prediction"]]:
    """Judge file after file; those that cannot be judged go to stderr and to `failed`."""
    for file in files:
        try:
            heard = predictor.analyse(file, denoise=denoise).prediction
            yield file, heard if profile is None else profile.relative(heard)
        except SerError as error:
            typer.echo(f"moodmirror: {file}: {error}", err=True)
            failed.append(file)
