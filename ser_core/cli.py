"""The command line: `python -m ser_core …`, or `moodmirror …` once installed."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ser_core.console import (
    print_csv,
    print_json,
    print_object,
    print_scores,
    print_summary,
    print_table,
)
from ser_core.errors import SerError

if TYPE_CHECKING:
    from ser_core.predictor import Prediction, Predictor

BAD_INPUT = 2
"""Exit code where the caller can mend something."""

app = typer.Typer(
    help="Speech emotion recognition.", no_args_is_help=True, pretty_exceptions_enable=False
)

DataOption = Annotated[Path, typer.Option(help="Folder that holds a folder for each corpus.")]
ModelOption = Annotated[
    str,
    typer.Option(help="auto, accurate, compact or a model folder.", envvar="MOODMIRROR_MODEL"),
]

RunsOption = Annotated[Path, typer.Option(help="Folder of the run records.")]

DATA = Path("../shared/data")
RUNS = Path("docs/runs")
MODEL = "auto"


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
) -> None:
    """Speech emotion recognition: a voice in, eight probabilities out."""
    # A handle of its own, which `_quiet_native_code` leaves open.
    log = os.fdopen(os.dup(2), "w")
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, stream=log)


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(help="Recordings.")],
    model: ModelOption = MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One row a recording.")] = False,
) -> None:
    """Name the emotion heard in each recording.

    A recording that cannot be judged is named on stderr, the others go on, and the exit
    code is 2.
    """
    with _errors_as_one_line():
        predictor = _open_model(model)
    failed: list[Path] = []
    answers = _predict_each(predictor, files, failed)
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
    file: Annotated[Path, typer.Argument(help="A recording.")], model: ModelOption = MODEL
) -> None:
    """Print what is heard in each stretch of a recording, as JSON."""
    with _errors_as_one_line():
        print_object(_open_model(model).analyse(file).timeline())


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(help="A recording.")], model: ModelOption = MODEL
) -> None:
    """Print what each moment of a recording did for the answer, as JSON."""
    with _errors_as_one_line():
        from ser_core.explain import explain as explain_analysis
        from ser_core.explain import to_dict

        predictor = _open_model(model)
        analysis = predictor.analyse(file)
        print_object(to_dict(analysis, explain_analysis(analysis, predictor.model)))


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(help="accurate, compact or the baseline, lstm.")
    ] = "lstm",
    data: DataOption = DATA,
    out: Annotated[Path | None, typer.Option(help="Model folder to write.")] = None,
    runs: Annotated[Path | None, typer.Option(help="Logs and checkpoints.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many runs, seeds 0, 1, …")] = 3,
) -> None:
    """Train a model and write a model folder with its figures and card."""
    with _errors_as_one_line(), _needs_extra("train"):
        from ser_core.training.ship import SHIPPERS

        if recipe not in SHIPPERS:
            raise SerError(f"{recipe!r} is no recipe; known: {', '.join(SHIPPERS)}.")
        runs = runs or Path("runs") / recipe
        out = out or runs / "model"
        manifest = SHIPPERS[recipe](data, out, seeds=range(seeds), runs=runs)
    uar = manifest.metrics["test"]["uar"]
    typer.echo(f"{out} written: seed {manifest.seed}, UAR {uar:.1%} on the test speakers.")


@app.command()
def evaluate(
    protocol: Annotated[
        str, typer.Argument(help="test: the model's own test speakers; or a protocol's name.")
    ] = "test",
    recipe: Annotated[
        str | None, typer.Option(help="Train this in each fold, and leave --model alone.")
    ] = None,
    model: ModelOption = MODEL,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings a fold, seeds 0, 1, …")] = 3,
    data: DataOption = DATA,
    runs: RunsOption = RUNS,
) -> None:
    """Measure a recipe, trained anew in each fold, or a model, through the path that serves.

    An interrupted run goes on where it stopped: a fold that has its record is not trained
    again.
    """
    with _errors_as_one_line(), _needs_extra("train"):
        if protocol == "test" and recipe is None:
            _evaluate_test(model, data)
        else:
            _evaluate_protocol(protocol, recipe, model, data, seeds=range(seeds), runs=runs)


@app.command()
def report(
    runs: RunsOption = RUNS,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("docs"),
) -> None:
    """Write figures.md and its charts from the run records."""
    with _errors_as_one_line(), _needs_extra("train"):
        from ser_core.training.report import write_report

        typer.echo(f"{write_report(runs, out)} written.")


def _evaluate_test(model: str, data: Path) -> None:
    """Repeat the figures of a model card, corpus by corpus."""
    from ser_core.training.evaluate import evaluate_test, score_by_corpus

    predictor = _open_model(model)
    _, answers = evaluate_test(predictor, data)
    stated = predictor.manifest.metrics["test"]
    for corpus, scores in score_by_corpus(answers).items():
        print_scores(corpus, scores)
        uar = stated.get("by_corpus", {}).get(corpus, stated)["uar"]
        typer.echo(f"The model card says UAR {uar:.1%}.")


def _evaluate_protocol(
    name: str, recipe: str | None, model: str, data: Path, *, seeds: Sequence[int], runs: Path
) -> None:
    from ser_core.training.evaluate import evaluate_model
    from ser_core.training.protocols import find_protocol
    from ser_core.training.runs import run_protocol

    protocol = find_protocol(name)
    if recipe is None:
        summary = evaluate_model(_open_model(model), protocol, data, runs_folder=runs)
    else:
        with _quiet_native_code():
            from ser_core.training.recipes import find_recipe
        chosen = find_recipe(recipe)
        summary = run_protocol(protocol, chosen, data, seeds=seeds, runs_folder=runs)
    print_summary(summary)


def _open_model(choice: str) -> "Predictor":
    """Open what `--model` names; a download shows its progress."""
    from ser_core.models import fetch_parts, open_predictor

    fetch_parts(choice)
    with _quiet_native_code():
        return open_predictor(choice)


@contextmanager
def _errors_as_one_line() -> Iterator[None]:
    """Turn a SerError into one line on stderr and exit code 2."""
    try:
        yield
    except SerError as error:
        typer.echo(f"moodmirror: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from error


@contextmanager
def _needs_extra(extra: str) -> Iterator[None]:
    """Name the extra to install where one of its packages is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SerError(
            f"{error.name} is not installed, and this command needs it. "
            f"Install it with: pip install '.[{extra}]'"
        ) from error


@contextmanager
def _quiet_native_code() -> Iterator[None]:
    """Keep TensorFlow's C++ greetings off stderr, where only our own lines belong.

    They are printed before any setting of TensorFlow's is heeded. Python's own errors
    leave this context as exceptions, and so are not lost.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _predict_each(
    predictor: "Predictor", files: Iterable[Path], failed: list[Path]
) -> Iterator[tuple[Path, "Prediction"]]:
    """Judge file after file; those that cannot be judged go to stderr and to `failed`."""
    for file in files:
        try:
            yield file, predictor.predict(file)
        except SerError as error:
            typer.echo(f"moodmirror: {file}: {error}", err=True)
            failed.append(file)
