"""The tab that judges many files at once."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ser_core.batch import (
    MAX_FILES,
    BatchRow,
    BatchScores,
    batch_to_dict,
    collect_files,
    predict_files,
    score_rows,
)
from ser_core.errors import SerError
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, theme, words
from ser_core.web.files import download_links, sent_only
from ser_core.web.language import Greeting, label, say, translated

logger = logging.getLogger(__name__)

TEXT_COLUMNS = ("file", "actual", "emotion", "problem")
TEXT_WIDTHS: tuple[str | int, ...] = ("220px", "110px", "110px", "260px")
Table = list[list[Any]]


def build_many(models: ModelSwitch) -> list[Greeting]:
    """Add the tab to the page that is being built.

    Args:
        models: Who answers.

    Returns:
        What is to be said in the visitor's language.
    """
    hint = theme.greeting(lambda: drawing.small(say("many_hint", n=MAX_FILES)))
    files = sent_only(
        gr.File(file_count="multiple", label=label("many_files"), elem_id="many-files")
    )
    with gr.Row():
        judge = gr.Button(label("many_judge"), variant="primary", size="lg")
        cancel = gr.Button(label("many_cancel"), size="lg")
    note = theme.live_region(drawing.status(say("many_empty")), elem_id="many-note")
    headers = columns(models.manifest.labels)
    table = gr.Dataframe(
        headers=list(headers),
        # Plain text is never read as markup.
        datatype=["str" if column in TEXT_COLUMNS else "number" for column in headers],
        interactive=False,
        label=label("many_table"),
        elem_id="many-table",
        wrap=True,
        column_widths=[*TEXT_WIDTHS, *["110px"] * (len(headers) - len(TEXT_WIDTHS))],
    )

    def run(paths: list[str] | None) -> Iterator[tuple[str, Table]]:
        yield from judge_all(models, paths or [])

    running = judge.click(
        translated(run), files, [note, table], show_progress="hidden", api_visibility="private"
    )
    cancel.click(None, None, None, cancels=[running], api_visibility="private").then(
        translated(lambda: drawing.status(say("many_cancelled"))),
        None,
        note,
        show_progress="hidden",
        api_visibility="private",
    )
    files.clear(
        translated(lambda: (drawing.status(say("many_empty")), [])),
        None,
        [note, table],
        show_progress="hidden",
        api_visibility="private",
    )
    return [hint, (note, lambda: drawing.status(say("many_empty")))]


def judge_all(models: ModelSwitch, paths: Sequence[str]) -> Iterator[tuple[str, Table]]:
    """Judge files one by one, and say after each how far it is.

    Args:
        models: Who answers.
        paths: Recordings and zip archives.

    Yields:
        What the page says, and the table so far.
    """
    labels = models.manifest.labels
    rows: list[BatchRow] = []
    table: Table = []
    try:
        # Members of archives are gone with the last row, and when the visitor cancels.
        with tempfile.TemporaryDirectory() as folder:
            files = collect_files([Path(path) for path in paths], Path(folder))
            for row in predict_files(files, models):
                rows.append(row)
                table.append(cells(row, labels))
                done = drawing.progress(len(rows), len(files))
                yield done, [*table]
    except SerError as error:
        yield drawing.failure(str(error)), table
    except Exception:
        logger.exception("A batch could not be analysed")
        yield drawing.failure(say("apology")), table
    else:
        yield finished(rows, table, labels), table


def columns(labels: Sequence[str]) -> tuple[str, ...]:
    """Headers of the table."""
    return (*TEXT_COLUMNS, "confidence", *labels)


def cells(row: BatchRow, labels: Sequence[str]) -> list[Any]:
    """One line of the table.

    Args:
        row: A file and what was heard in it.
        labels: Emotions that have a column.
    """
    actual = row.actual or ""
    if row.prediction is None:
        return [row.name, actual, "", row.error, None, *[None] * len(labels)]
    shares = dict(zip(row.prediction.labels, row.prediction.probabilities, strict=True))
    rounded = [round(shares.get(label, 0.0), 4) for label in labels]
    confidence = round(row.prediction.confidence, 4)
    return [row.name, actual, row.prediction.emotion, "", confidence, *rounded]


def finished(rows: Sequence[BatchRow], table: Table, labels: Sequence[str]) -> str:
    """What came out of a batch, as rows and as lines of the table, and the files to take home."""
    links = download_links(batch_to_dict(rows), columns(labels), table, parquet=True)
    n_failed = sum(row.prediction is None for row in rows)
    return (
        f'<section class="mm-answer">{drawing.status(words.many_done(len(rows), n_failed))}'
        f"{links}{confusion(score_rows(rows))}</section>"
    )


def confusion(scores: BatchScores | None) -> str:
    """How often a batch was right, as a sentence and a table; nothing where no name tells."""
    if scores is None:
        return ""
    most = max(max(row) for row in scores.confusion)
    emotions = [words.emotion(emotion) for emotion in scores.emotions]
    cells = ["".join(_count(n, most) for n in counts) for counts in scores.confusion]
    heads, rows = [say("many_corner"), *emotions], list(zip(emotions, cells, strict=True))
    return (
        f"<h3>{say('many_scores_heading')}</h3><p>{words.many_scores(scores)}</p>"
        f"{drawing.table('mm-confusion', say('many_confusion'), heads, rows)}"
    )


def _count(n: int, most: int) -> str:
    return f'<td style="--share:{n / most:.3f}">{n}</td>'
