"""The commands that bring corpora into the data folder and look after them."""

from pathlib import Path
from typing import Annotated

import typer

from ser_core.cli.common import BAD_INPUT, app, errors_as_one_line, needs_extra
from ser_core.cli.lab import DATA, DataOption
from ser_core.cli.names import CORPORA, one_of
from ser_core.console import print_states

COMPLETED = one_of(*CORPORA)

data_app = typer.Typer(
    help="Download the corpora from their publishers, and check them.", no_args_is_help=True
)
app.add_typer(data_app, name="data")


@data_app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(help=f"{', '.join(CORPORA)}.", autocompletion=COMPLETED)
    ],
    data: DataOption = DATA,
) -> None:
    """Download corpora from their publishers; an interrupted download resumes.

    The licence and citation are shown before anything is downloaded.
    """
    with errors_as_one_line(), needs_extra("train"):
        from ser_core.training.fetch import fetch_corpus, find_source

        sources = [find_source(name) for name in names]
        for source in sources:
            typer.echo(source.describe())
        states = [fetch_corpus(source, data) for source in sources]
    print_states(states)
    if not all(state.whole for state in states):
        raise typer.Exit(BAD_INPUT)


@data_app.command()
def place(
    name: Annotated[
        str, typer.Argument(help="The corpus, such as savee.", autocompletion=COMPLETED)
    ],
    path: Annotated[Path, typer.Argument(help="The zip or folder that you downloaded.")],
    data: DataOption = DATA,
) -> None:
    """Install a corpus that you downloaded yourself."""
    with errors_as_one_line(), needs_extra("train"):
        from ser_core.training.fetch import find_source, place_corpus

        source = find_source(name)
        typer.echo(source.describe())
        state = place_corpus(source, path, data)
    print_states([state])
    if not state.whole:
        raise typer.Exit(BAD_INPUT)


@data_app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Corpora that must be complete; default: show all.", autocompletion=COMPLETED
        ),
    ] = None,
    data: DataOption = DATA,
) -> None:
    """Compare the clips found with the publishers' counts.

    The exit code is 2 if a named corpus is incomplete.
    """
    with errors_as_one_line(), needs_extra("train"):
        from ser_core.training.fetch import check_corpora

        states = check_corpora(data, names or ())
    print_states(states)
    if names and not all(state.whole for state in states):
        raise typer.Exit(BAD_INPUT)
