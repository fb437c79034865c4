"""The command line: `python -m ser_core …`, or `moodmirror …` once installed."""

import csv
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from ser_core.errors import SerError
from ser_core.labels import BY_NAME

if TYPE_CHECKING:
    from ser_core.predictor import Prediction, Predictor
    from ser_core.training.metrics import Scores

BAD_INPUT = 2
"""Exit code where the caller can mend something."""

app = typer.Typer(
    help="Speech emotion recognition.", no_args_is_help=True, pretty_exceptions_enable=False
)

DataOption = Annotated[Path, typer.Option(help="Folder that holds a folder for each corpus.")]
ModelOption = Annotated[Path, typer.Option(help="Model folder.", envvar="MOODMIRROR_MODEL")]

DATA = Path("../shared/data")
MODEL = Path("model")


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
) -> None:
    """Speech emotion recognition: a voice in, eight probabilities out."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING)


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
    from ser_core.predictor import Predictor

    with _errors_as_one_line(), _quiet_native_code():
        predictor = Predictor.from_folder(model)
    failed: list[Path] = []
    answers = _predict_each(predictor, files, failed)
    if as_json:
        _print_json(answers)
    elif as_csv:
        _print_csv(answers, predictor.labels)
    else:
        _print_table(answers)
    if failed:
        raise typer.Exit(BAD_INPUT)


@app.command()
def train(
    data: DataOption = DATA,
    out: Annotated[Path, typer.Option(help="Model folder to write.")] = Path("runs/lstm/model"),
    runs: Annotated[Path, typer.Option(help="Logs and checkpoints.")] = Path("runs/lstm"),
    seeds: Annotated[int, typer.Option(min=1, help="How many runs, seeds 0, 1, …")] = 3,
    epochs: Annotated[int | None, typer.Option(min=1, help="Most epochs.")] = None,
) -> None:
    """Train the baseline on RAVDESS and TESS and write a model folder with its card."""
    with _errors_as_one_line(), _needs_extra("train"):
        from ser_core.training.recipe import BASELINE, train_and_export

        recipe = BASELINE
        if epochs is not None:
            recipe = replace(recipe, training=replace(recipe.training, epochs=epochs))
        manifest = train_and_export(recipe, data, out, seeds=range(seeds), runs=runs)
    uar = manifest.metrics["test"]["uar"]
    typer.echo(f"{out} written: seed {manifest.seed}, UAR {uar:.1%} on the test speakers.")


@app.command()
def evaluate(
    protocol: Annotated[
        str, typer.Argument(help="`test`: the model's own test speakers.")
    ] = "test",
    model: ModelOption = MODEL,
    data: DataOption = DATA,
) -> None:
    """Repeat the figures of a model card through the path that serves visitors."""
    if protocol != "test":
        raise typer.BadParameter(f"{protocol!r} is no protocol; known: test.")
    with _errors_as_one_line(), _needs_extra("train"):
        from ser_core.predictor import Predictor
        from ser_core.training.evaluate import evaluate_test

        with _quiet_native_code():
            predictor = Predictor.from_folder(model)
        scores, _ = evaluate_test(predictor, data)
    _print_scores(scores)
    stated = predictor.manifest.metrics["test"]["uar"]
    typer.echo(f"The model card says UAR {stated:.1%}.")


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


def _print_json(answers: Iterable[tuple[Path, "Prediction"]]) -> None:
    for file, prediction in answers:
        print(json.dumps({"file": str(file)} | prediction.to_dict()), flush=True)


def _print_csv(answers: Iterable[tuple[Path, "Prediction"]], labels: tuple[str, ...]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "emotion", "confidence", *labels, "duration_s", "warnings"])
    for file, prediction in answers:
        shares = [f"{share:.4f}" for share in prediction.probabilities]
        codes = " ".join(warning.code for warning in prediction.warnings)
        answer = [prediction.emotion, f"{prediction.confidence:.4f}", *shares]
        writer.writerow([file, *answer, f"{prediction.duration_s:.2f}", codes])


def _print_table(answers: Iterable[tuple[Path, "Prediction"]]) -> None:
    table = Table(
        Column("file", overflow="fold"), "emotion", "confidence", "next", "length", "warnings",
        box=None, pad_edge=False,
    )  # fmt: skip
    for file, prediction in answers:
        following = ", ".join(f"{label} {p:.0%}" for label, p in prediction.ranked()[1:3])
        table.add_row(
            str(file),
            f"{BY_NAME[prediction.emotion].sign} {prediction.emotion}",
            f"{prediction.confidence:.0%}",
            following,
            f"{prediction.duration_s:.1f} s",
            ", ".join(warning.code for warning in prediction.warnings),
        )
    if table.row_count:
        Console().print(table)


def _print_scores(scores: "Scores") -> None:
    low, high = scores.uar_interval
    typer.echo(
        f"{scores.n_clips} clips: UAR {scores.uar:.1%} (95 % interval {low:.1%} to {high:.1%}), "
        f"WAR {scores.war:.1%}, expected calibration error {scores.ece:.3f}"
    )
    table = Table("emotion", "precision", "recall", "F1", "clips", box=None)
    for label, row in scores.per_emotion.items():
        shares = [f"{row[key]:.1%}" for key in ("precision", "recall", "f1")]
        table.add_row(label, *shares, f"{row['support']:.0f}")
    Console().print(table)
