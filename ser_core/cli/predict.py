"""The commands that analyse recordings, one by one or as a whole archive."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ser_core.cli.common import (
    BAD_INPUT,
    FORMATS,
    MODEL,
    DenoiseOption,
    FileArgument,
    ModelOption,
    ModelsOption,
    RelativeOption,
    RuntimeOption,
    SpeakersOption,
    TrustOption,
    command,
    complain,
    fail,
    one_of,
    open_model,
    quiet_native_code,
    show,
)
from ser_core.cli.output import print_csv, print_json, print_table, print_tasks
from ser_core.errors import SerError
from ser_core.paths import check_output, lists_its_files, replacing, write_listing

if TYPE_CHECKING:
    from ser_core.prediction import Prediction
    from ser_core.predictor import Predictor
    from ser_core.reference import Reference
    from ser_core.score import Summary
    from ser_core.speaker import SpeakerProfile


@command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Recordings.")],
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    runtime: RuntimeOption = "tensorflow",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a CSV row per recording.")] = False,
    as_tasks: Annotated[
        bool, typer.Option("--label-studio", help="Print tasks for Label Studio's import, as JSON.")
    ] = False,
    denoise: DenoiseOption = False,
    voice: Annotated[
        Path | None, typer.Option(help="Voice profile of teach; results are relative to it.")
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(help="Another recording of the same speaker; name several, of varied mood."),
    ] = None,
) -> None:
    """Recognise the emotion in each recording.

    A recording that cannot be analysed is reported on stderr; the others continue, and the
    exit code is 2.
    """
    profile = None if voice is None else _read_profile(voice)
    predictor = open_model(model, trust=trust, runtime=runtime)
    failed: list[Path] = []
    answers = _predict_each(predictor, files, failed, denoise=denoise, profile=profile)
    if reference:
        from ser_core.reference import Reference

        known = [predictor.analyse(file, denoise=denoise).prediction for file in reference]
        answers = _adapt_each(answers, Reference.of_predictions(known))
    if as_json:
        print_json(answers)
    elif as_csv:
        print_csv(answers, predictor.labels)
    elif as_tasks:
        print_tasks(answers)
    else:
        print_table(answers)
    if failed:
        raise typer.Exit(BAD_INPUT)


def _read_profile(path: Path) -> "SpeakerProfile":
    from ser_core.speaker import SpeakerError, SpeakerProfile

    try:
        return SpeakerProfile.from_json(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise SpeakerError(f"{path} cannot be read: {error.strerror}.") from error
    except SpeakerError as error:
        raise SpeakerError(f"{path}: {error}") from error


def _predict_each(
    predictor: "Predictor",
    files: Iterable[Path],
    failed: list[Path],
    *,
    denoise: bool,
    profile: "SpeakerProfile | None",
) -> Iterator[tuple[Path, "Prediction"]]:
    """Yield each recording's prediction; add those that cannot be analysed to `failed`."""
    for file in files:
        try:
            prediction = predictor.analyse(file, denoise=denoise).prediction
            yield file, prediction if profile is None else profile.adapt(prediction)
        except SerError as error:
            complain(f"{file}: {error}")
            failed.append(file)


def _adapt_each(
    answers: "Iterable[tuple[Path, Prediction]]", reference: "Reference"
) -> "Iterator[tuple[Path, Prediction]]":
    for file, prediction in answers:
        yield file, reference.adapt_prediction(prediction)


@command()
def timeline(
    file: FileArgument,
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    denoise: DenoiseOption = False,
) -> None:
    """Print the emotions over time in a recording, as JSON."""
    show(json.dumps(open_model(model, trust=trust).analyse(file, denoise=denoise).timeline()))


@command()
def explain(
    file: FileArgument,
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    denoise: DenoiseOption = False,
) -> None:
    """Print how much each moment of a recording contributed to the result, as JSON."""
    from ser_core.explain import explain as explain_analysis
    from ser_core.explain import to_dict

    predictor = open_model(model, trust=trust)
    analysis = predictor.analyse(file, denoise=denoise)
    show(json.dumps(to_dict(analysis, explain_analysis(analysis, predictor.model))))


@command()
def compare(
    file: FileArgument,
    models: ModelsOption = None,
    trust: TrustOption = False,
    denoise: DenoiseOption = False,
) -> None:
    """Compare the results of several models for one recording, as a table."""
    predictors = [open_model(name, trust=trust) for name in models or ["accurate", "compact"]]
    print_table(
        (Path(p.manifest.name), p.analyse(file, denoise=denoise).prediction) for p in predictors
    )


@command()
def batch(
    files: Annotated[list[Path], typer.Argument(help="Recordings, and zips of them.")],
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    one_voice: Annotated[
        bool, typer.Option("--one-voice", help="All are of one speaker: adapt to that voice.")
    ] = False,
) -> None:
    """Analyse up to 200 recordings and print JSON: a row each, and scores for labelled names."""
    from ser_core.batch import batch_to_dict, predict_paths

    rows = predict_paths(files, open_model(model, trust=trust), one_voice=one_voice)
    show(json.dumps(batch_to_dict(rows)))
    if any(row.prediction is None for row in rows):
        raise typer.Exit(BAD_INPUT)


@command()
def teach(
    file: Annotated[Path, typer.Argument(help="10 to 20 s of ordinary speech.")],
    out: Annotated[Path, typer.Option(help="Voice profile to write: JSON, no audio.")] = Path(
        "moodmirror-voice.json"
    ),
    model: ModelOption = MODEL,
    trust: TrustOption = False,
) -> None:
    """Write a profile of one speaker's ordinary voice, for predict --voice."""
    from ser_core.speaker import SpeakerProfile

    check_output(out, _is_profile)
    predictor = open_model(model, trust=trust)
    profile = SpeakerProfile.enroll(predictor.analyse(file), predictor.manifest.neutral_reference)
    with replacing(out, _is_profile) as draft:
        draft.write_text(profile.to_json() + "\n", encoding="utf-8")
    show(f"{out} written, for {profile.model}.")


def _is_profile(path: Path) -> bool:
    return {"format", "model", "shift"} <= set(json.loads(path.read_text(encoding="utf-8")))


@command()
def draw(
    file: FileArgument,
    out: Annotated[Path, typer.Option(help="Output folder.")] = Path("pictures"),
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    denoise: DenoiseOption = False,
) -> None:
    """Plot a recording, and save its audio after each processing step."""
    import soundfile

    from ser_core.plots import draw_features, draw_sound
    from ser_core.predictor import trace_pipeline

    check_output(out, lists_its_files)
    trace = trace_pipeline(file, open_model(model, trust=trust).pipeline(denoise=denoise))
    with replacing(out, lists_its_files) as draft:
        draft.mkdir()
        for i, (name, waveform) in enumerate(trace.stages.items(), 1):
            with (draft / f"{i}-{name}.wav").open("wb") as stage:  # its path may be no UTF-8
                rate_hz = trace.sample_rate_hz
                soundfile.write(stage, waveform, rate_hz, subtype="FLOAT", format="WAV")
        for picture in draw_sound(trace.stages["loaded"], trace.sample_rate_hz):
            (draft / f"{picture.name.replace(' ', '-').lower()}.png").write_bytes(picture.png)
        (draft / "features.png").write_bytes(draw_features(trace.features, trace.hop_s))
        write_listing(draft)
    show(f"{out} written.")


@command(extra="cluster")
def score(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="Folder, glob, tar or recording; also s3://…")
    ],
    output: Annotated[str, typer.Argument(help="Folder for the Parquet parts.")],
    model: ModelOption = MODEL,
    trust: TrustOption = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers, each with a model; default: one per core.")
    ] = None,
    use_ray: Annotated[
        bool, typer.Option("--ray", help="Use Ray, on the cluster at RAY_ADDRESS.")
    ] = False,
    rows: Annotated[
        Literal["clips", "windows", "utterances"],
        typer.Option(
            help="One row per clip, per window, or per utterance of recordings of any length."
        ),
    ] = "clips",
    speakers: SpeakersOption = "none",
    relative: RelativeOption = False,
    part: Annotated[int, typer.Option(min=1, help="Maximum number of clips per part.")] = 500,
    denoise: DenoiseOption = False,
    runtime: RuntimeOption = "auto",
    to: Annotated[
        str | None,
        typer.Option(
            help=f"Format of files of segments, from --rows utterances: {', '.join(FORMATS)}.",
            autocompletion=one_of(*FORMATS),
        ),
    ] = None,
    files: Annotated[
        Path | None, typer.Option(help="Folder for such a file for each recording.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Only read the parts back and check their digests.")
    ] = False,
) -> None:
    """Analyse a whole archive into Parquet; an interrupted run resumes where it stopped.

    Clips that cannot be analysed are listed with the error, and the exit code is then 2.
    """
    from ser_core.diarization import number_of_speakers
    from ser_core.registry import in_runtime, open_predictor, resolve
    from ser_core.score import ProcessPool, RayPool, ScoreConfig, check_address, open_output
    from ser_core.score import score as score_archive
    from ser_core.score.files import check_format, write_files
    from ser_core.score.sources import describe_skipped

    if verify:
        _verify(output)
        return
    check_address(output)
    if to is not None:
        check_format(to)
    if files:
        check_output(files, lambda _: True)
    if (to or files) and not (to and files and rows == "utterances"):
        fail("Name '--rows utterances', '--to' and '--files' together.")
    number_of_speakers(speakers)
    if (speakers != "none" or relative) and rows != "utterances":
        fail("'--speakers' and '--relative' go with '--rows utterances'.")
    with quiet_native_code():
        named = resolve(model, trust=trust)
        resolved = in_runtime(named, runtime)
    resolved.model.download_weights()
    config = ScoreConfig(
        rows=rows, denoise=denoise, speakers=speakers, relative=relative, clips_per_part=part
    )
    # Runtimes answer alike: a run that one of them began is resumed by the other.
    folder = open_output(output, named.model.manifest, config)
    pool_of = RayPool if use_ray else ProcessPool
    with (
        _progress_bar() as on_progress,
        pool_of(
            workers or _n_cores(),
            partial(open_predictor, resolved.choice, trust=trust, runtime=runtime),
            folder,
            config,
        ) as pool,
    ):
        summary = score_archive(source, folder, pool, config, on_progress=on_progress)
    show(
        f"{output}: {summary.n_clips} clips analysed, {summary.n_errors} with an error, "
        f"{summary.audio_s / 3600:.2f} h of audio; {summary.n_before} were already done."
    )
    if to and files:
        n_files = write_files(output, source, files, to, named.model.manifest)
        show(f"{files}: {n_files} files of segments.")
    if summary.n_retryable:
        complain(f"{summary.n_retryable} could not be fetched. Run the command again.")
    if summary.n_refused:
        complain(
            f"{summary.n_refused} had an error before, and neither they nor the program changed."
        )
    if text := describe_skipped(summary.skipped, "Passed by: "):
        complain(f"{text}.")
    if summary.n_errors or summary.n_retryable or summary.n_refused:
        raise typer.Exit(BAD_INPUT)


def _verify(output: str) -> None:
    """Read all parts back; exit with 2 where one is damaged."""
    from ser_core.score import read_parts

    n_parts, n_rows, damaged = 0, 0, []
    for name, rows in read_parts(output):
        n_parts, n_rows = n_parts + 1, n_rows + len(rows or ())
        damaged += [name] if rows is None else []
    if not n_parts:
        fail(f"{output} contains no parts. Name the output folder of a run.")
    show(f"{output}: {n_parts} parts, {n_rows} rows in whole parts.")
    if damaged:
        fail(f"Damaged: {', '.join(damaged)}. Run the command again without --verify.")


@contextmanager
def _progress_bar() -> Iterator[Callable[["Summary", int], None]]:
    """Show a progress bar on stderr, and yield the function that updates it."""
    columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)
        yield lambda summary, n_total: bar.update(
            task, completed=summary.n_before + summary.n_clips, total=n_total
        )


def _n_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
