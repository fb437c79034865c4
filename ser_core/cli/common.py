"""What all commands share: the app itself, options, errors, and how a model is opened."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ser_core import __version__, corpora
from ser_core.errors import SerError

if TYPE_CHECKING:
    from ser_core.predictor import Predictor


MODELS = ("auto", "accurate", "compact")
RECIPES = ("lstm", "accurate", "compact")
PROTOCOLS = (
    "ravdess-6fold",
    "ravdess-5fold",
    "crema-d",
    "cross-corpus",
    "leave-one-corpus-out",
    "random-split",
)
SYSTEMS = ("lstm", "bilstm", "mfcc-lstm", "cnn", "dual-rnn", "svm", "hybrid-lstm")
SPLITS = ("random", "speaker")
CORPORA = tuple(corpora.CORPORA)


def one_of(*names: str) -> Callable[[str], list[str]]:
    """For `autocompletion=`: those of the names that go on as what is typed begins.

    Where there are none the shell offers files, which is right for a model folder.
    """

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


BAD_INPUT = 2
"""Exit code where the caller can mend something."""

app = typer.Typer(
    help="Speech emotion recognition.", no_args_is_help=True, pretty_exceptions_enable=False
)

ModelOption = Annotated[
    str,
    typer.Option(
        help="auto, accurate, compact, a model folder, the .keras file in one, or "
        "hf://OWNER/NAME@REVISION.",
        envvar="MOODMIRROR_MODEL",
        autocompletion=one_of(*MODELS),
    ),
]
DenoiseOption = Annotated[bool, typer.Option(help="Reduce background noise first.")]

MODEL = "auto"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"moodmirror {__version__}")
        raise typer.Exit


@app.callback()
def main(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show log messages.")] = False,
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Recognise emotions in speech: a recording in, eight probabilities out."""
    # A handle of its own, which `quiet_native_code` leaves open.
    log = os.fdopen(os.dup(2), "w")
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, stream=log)


def open_model(choice: str) -> "Predictor":
    """Open what `--model` names; a download shows its progress."""
    from ser_core.registry import download_weights, open_predictor

    download_weights(choice)
    with quiet_native_code():
        return open_predictor(choice)


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Turn a SerError into one line on stderr and exit code 2."""
    try:
        yield
    except SerError as error:
        typer.echo(f"moodmirror: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from error


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Name the extra to install where one of its packages is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SerError(
            f"{error.name} is not installed, and this command needs it. "
            f"Install it with: pip install '.[{extra}]'"
        ) from error


@contextmanager
def quiet_native_code() -> Iterator[None]:
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
