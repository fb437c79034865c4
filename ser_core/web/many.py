"""The tab that judges many files at once."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from ser_core.batch import MAX_FILES, BatchRow, collect_files, judge_files
from ser_core.errors import SerError
from ser_core.labels import LABELS
from ser_core.models import ModelSwitch
from ser_core.web import drawing, moments, theme, words

logger = logging.getLogger(__name__)

COLUMNS = ("file", "emotion", "problem", "confidence", *LABELS)
WIDTHS: list[str | int] = ["220px", "110px", "260px", *["110px"] * (1 + len(LABELS))]
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a cell."""

Table = list[list[Any]]


def build_many(models: ModelSwitch) -> None:
    """Add the tab to the page that is being built.

    Args:
        models: Who answers.
    """
    theme.own_html(f'<p class="mm-small">{words.many_hint(MAX_FILES)}</p>')
    files = gr.File(file_count="multiple", label=words.MANY_FILES, elem_id="many-files")
    with gr.Row():
        judge = gr.Button(words.MANY_JUDGE, variant="primary", size="lg")
        cancel = gr.Button(words.MANY_CANCEL, size="lg")
    note = theme.told_html(drawing.status(words.MANY_EMPTY), elem_id="many-note")
    table = gr.Dataframe(
        headers=list(COLUMNS),
        datatype=_types(),
        interactive=False,
        label=words.MANY_TABLE,
        elem_id="many-table",
        wrap=True,
        column_widths=WIDTHS,
        show_search="filter",
    )

    def run(paths: list[str] | None) -> Iterator[tuple[str, Table]]:
        yield from judge_all(models, paths or [])

    running = judge.click(
        run, files, [note, table], show_progress="hidden", api_visibility="private"
    )
    cancel.click(None, None, None, cancels=[running], api_visibility="private").then(
        lambda: drawing.status(words.MANY_CANCELLED),
        None,
        note,
        show_progress="hidden",
        api_visibility="private",
    )
    files.clear(
        lambda: (drawing.status(words.MANY_EMPTY), []),
        None,
        [note, table],
        show_progress="hidden",
        api_visibility="private",
    )


def judge_all(models: ModelSwitch, paths: Sequence[str]) -> Iterator[tuple[str, Table]]:
    """Judge files one by one, and say after each how far it is.

    Args:
        models: Who answers.
        paths: Recordings and zip archives.

    Yields:
        What the page says, and the table so far.
    """
    rows: list[BatchRow] = []
    table: Table = []
    try:
        # Members of archives are gone with the last row, and when the visitor cancels.
        with tempfile.TemporaryDirectory() as folder:
            files = collect_files([Path(path) for path in paths], Path(folder))
            for row in judge_files(files, models):
                rows.append(row)
                table.append(cells(row))
                done = drawing.progress(len(rows), len(files), words.many_progress)
                yield done, [*table]
    except SerError as error:
        yield drawing.failure(str(error)), table
    except Exception:
        logger.exception("A batch could not be judged")
        yield drawing.failure(words.APOLOGY), table
    else:
        yield finished(rows), table


def _types() -> list[Literal["str", "number", "bool", "date", "markdown", "html"]]:
    """What Gradio needs to know of each column: plain text is never read as markup."""
    return ["str" if column in ("file", "emotion", "problem") else "number" for column in COLUMNS]


def cells(row: BatchRow) -> list[Any]:
    """One line of the table."""
    if row.prediction is None:
        return [row.name, "", row.error, None, *[None] * len(LABELS)]
    shares = dict(zip(row.prediction.labels, row.prediction.probabilities, strict=True))
    rounded = [round(shares.get(label, 0.0), 4) for label in LABELS]
    return [row.name, row.prediction.emotion, "", round(row.prediction.confidence, 4), *rounded]


def finished(rows: Sequence[BatchRow]) -> str:
    """What came out of a batch, and the files to take home."""
    table = [[harmless(cell) for cell in cells(row)] for row in rows]
    links = moments.download_links([row.to_dict() for row in rows], COLUMNS, table)
    n_failed = sum(row.prediction is None for row in rows)
    return (
        f'<section class="mm-answer">{drawing.status(words.many_done(len(rows), n_failed))}'
        f"{links}</section>"
    )


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell
