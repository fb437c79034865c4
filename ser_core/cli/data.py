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
    help="Fetch the corpora from their publishers, and check what is there.", no_args_is_help=True
)
app.add_typer(data_app, name="data")


@data_app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(help=f"{', '.join(CORPORA)}.", autocompletion=COMPLETED)
    ],
    data: DataOption = DATA,
) -> None:
    """Fetch corpora from their publishers; an interrupted download goes on where it stopped.

    Licence and citation are told before anything is downloaded.
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
    path: Annotated[Path, typer.Argument(help="The zip or folder that you were given.")],
    data: DataOption = DATA,
) -> None:
    """Put into place a corpus that you fetched yourself."""
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
            help="Corpora that must be whole; all are shown if none.", autocompletion=COMPLETED
        ),
    ] = None,
    data: DataOption = DATA,
) -> None:
    """Count what is there against the publishers' counts.

    The exit code is 2 when a corpus that was named is not whole.
    """
    with errors_as_one_line(), needs_extra("train"):
        from ser_core.training.fetch import check_corpora

        states = check_corpora(data, names or ())
    print_states(states)
    if names and not all(state.whole for state in states):
        raise typer.Exit(BAD_INPUT)
