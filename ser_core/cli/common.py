"""The app, the registration of its commands, shared options, and how a model is opened."""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, ParamSpec

import typer
from typer.core import TyperGroup

from ser_core import __version__
from ser_core.errors import SerError
from ser_core.names import printable

if TYPE_CHECKING:
    from ser_core.predictor import Predictor
    from ser_core.registry import Runtime

P = ParamSpec("P")

BAD_INPUT = 2
"""Exit code for errors that the user can correct."""
MODEL = "auto"
MODELS = ("auto", "accurate", "compact")
FORMATS = ("srt", "vtt", "textgrid", "rttm", "eaf", "audacity", "csv", "json", "parquet")
"""Those of `ser_core.segment_formats`; a test checks it."""


def one_of(*names: str) -> Callable[[str], list[str]]:
    """Return a function for `autocompletion=` that completes these names.

    Where it returns no name the shell completes files, which suits model folders.
    """
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


ModelOption = Annotated[
    str,
    typer.Option(
        help="auto, accurate, compact, a model folder, the .keras file in one, or "
        "hf://OWNER/NAME@REVISION.",
        envvar="MOODMIRROR_MODEL",
        autocompletion=one_of(*MODELS),
    ),
]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option("--model", help="Can be repeated.", autocompletion=one_of(*MODELS)),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the SavedModel of a model from elsewhere. It is a program: trust its author.",
        envvar="MOODMIRROR_TRUST",
    ),
]
SpeakersOption = Annotated[
    str,
    typer.Option(
        help="none; channels; auto, channels that take turns; find, by their voices; or their "
        "number.",
        autocompletion=one_of("none", "auto", "channels", "find"),
    ),
]
RelativeOption = Annotated[
    bool, typer.Option("--relative", help="Adapt the answers to each speaker's voice.")
]
RuntimeOption = Annotated[
    Literal["auto", "tensorflow", "onnx"],
    typer.Option(
        help="onnx: ONNX Runtime, which starts faster and takes less memory; the model is exported "
        "once, with the extra export; a folder of export needs the extra onnx alone. auto: onnx "
        "where it is installed.",
        envvar="MOODMIRROR_RUNTIME",
    ),
]
DenoiseOption = Annotated[bool, typer.Option(help="Reduce background noise first.")]
FileArgument = Annotated[Path, typer.Argument(help="A recording.")]


class _Commands(TyperGroup):
    """All commands; arguments that do not fit are one line on stderr, too."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command of the arguments, and exit."""
        _print_any_text()
        try:
            code = super().main(*args, **(options | {"standalone_mode": False}))
        except _UsageError as error:
            if message := error.format_message():  # empty where the help was printed
                complain(f"{message.rstrip('.')}. The option --help shows what is expected.")
            code = error.exit_code
        except typer.Abort:
            code = 1
        sys.exit(code)


_UsageError: Any = typer.BadParameter.__mro__[2]  # ClickException, under no public name
app = typer.Typer(
    cls=_Commands,
    help="Speech emotion recognition.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def command(
    group: typer.Typer = app, *, extra: str = ""
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command that exits with code 2 and one line on stderr after some errors.

    These are a SerError, a file that cannot be used, and a missing package.

    Args:
        group: The app or a group of it.
        extra: Extra to install where a package is missing.
    """

    def register(function: Callable[P, None]) -> Callable[P, None]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except SerError as error:
                fail(str(error))
            except OSError as error:
                if error.filename is None:
                    raise
                fail(
                    f"{error.filename} cannot be used: {error.strerror}. Check the path, the disk "
                    "and the permissions."
                )
            except ModuleNotFoundError as error:
                if not extra:
                    raise
                fail(
                    f"{error.name} is not installed, and this command needs it. "
                    f"Install it with: pip install '.[{extra}]'"
                )

        return group.command()(run)

    return register


def show(text: object) -> None:
    """Print text, whose lines may contain names from elsewhere."""
    typer.echo("\n".join(map(printable, str(text).split("\n"))))


def complain(message: str) -> None:
    """Print a message to stderr."""
    typer.echo(f"moodmirror: {printable(message)}", err=True)


def fail(message: str) -> NoReturn:
    """Print a message to stderr and exit with code 2."""
    complain(message)
    raise typer.Exit(BAD_INPUT)


def _print_version(is_given: bool) -> None:
    if is_given:
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
    # A descriptor of its own, which `quiet_native_code` leaves open.
    log = logging.StreamHandler(os.fdopen(os.dup(2), "w", errors="backslashreplace"))
    log.setFormatter(_PrintableFormatter(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[log])


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def _print_any_text() -> None:
    """Make the streams print characters as escapes that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def open_model(
    choice: str, *, trust: bool | None = None, runtime: "Runtime" = "tensorflow"
) -> "Predictor":
    """Open the model of `--model`; a download shows its progress.

    Args:
        choice: As in `resolve`.
        trust: As in `resolve`; None for that of `MOODMIRROR_TRUST`.
        runtime: As in `resolve`.
    """
    from ser_core.registry import chosen_trust, resolve

    trust = chosen_trust() if trust is None else trust
    with nullcontext() if runtime == "tensorflow" else quiet_native_code():
        resolved = resolve(choice, trust=trust, runtime=runtime)
    resolved.model.download_weights()
    with quiet_native_code():
        return resolved.open()


@contextmanager
def quiet_native_code() -> Iterator[None]:
    """Keep TensorFlow's C++ messages off stderr.

    Some are printed before any of TensorFlow's settings takes effect. Python's own errors leave
    this context as exceptions, and so are not lost.
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
