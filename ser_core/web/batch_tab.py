"""The tab "Batch": many files at once."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ser_core.batch import (
    MAX_FILES,
    BatchMetrics,
    BatchRow,
    batch_to_dict,
    collect_files,
    measure_rows,
    predict_files,
)
from ser_core.labels import column_of
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, words
from ser_core.web.components import (
    BATCH,
    Localized,
    error_message,
    live_region,
    localized,
    on,
    uploads_only,
)
from ser_core.web.language import label, translate

TEXT_COLUMNS = {"file": "220px", "actual": "110px", "emotion": "110px", "problem": "260px"}
"""Names and widths of the columns that hold text."""
NUMBER_WIDTH = "110px"
Table = list[list[Any]]


def build_batch(models: ModelSwitch) -> list[Localized]:
    """Add the tab to the page under construction."""
    texts = [localized(lambda: drawing.small(translate("batch_hint", n=MAX_FILES)))]
    files = uploads_only(
        gr.File(file_count="multiple", label=label("batch_files"), elem_id="batch-files")
    )
    with gr.Row():
        analyse = gr.Button(label("batch_analyse"), variant="primary", size="lg")
        cancel = gr.Button(label("batch_cancel"), size="lg")
    note = live_region(_empty(), elem_id="batch-note")
    headers = columns(models.manifest.labels)
    table = gr.Dataframe(
        headers=headers,
        # Plain text is never read as markup.
        datatype=["str" if column in TEXT_COLUMNS else "number" for column in headers],
        interactive=False,
        label=label("batch_table"),
        elem_id="batch-table",
        wrap=True,
        column_widths=[TEXT_COLUMNS.get(column, NUMBER_WIDTH) for column in headers],
    )

    def run(paths: list[str] | None) -> Iterator[tuple[str, Table]]:
        yield from analyse_files(models, paths or [])

    running = on(analyse.click, run, files, [note, table], **BATCH)
    cancelled = on(cancel.click, None, None, None, cancels=[running])
    on(cancelled.then, lambda: drawing.status(translate("batch_cancelled")), None, note)
    on(files.clear, lambda: (_empty(), []), None, [note, table])
    return [*texts, (note, _empty)]


def _empty() -> str:
    return drawing.status(translate("batch_empty"))


def analyse_files(models: ModelSwitch, paths: Sequence[str]) -> Iterator[tuple[str, Table]]:
    """Analyse files one by one.

    Args:
        models: The current one analyses each file.
        paths: Recordings and zip archives.

    Yields:
        After each file the progress, at last the summary or an error, as HTML; and the table
        so far.
    """
    labels = models.manifest.labels
    rows: list[BatchRow] = []
    table: Table = []
    try:
        # Members of archives are deleted with the last row, and when the visitor cancels.
        with tempfile.TemporaryDirectory() as folder:
            files = collect_files([Path(path) for path in paths], Path(folder))
            for row in predict_files(files, models):
                rows.append(row)
                table.append(_cells(row, labels))
                yield _progress(len(rows), len(files)), [*table]
        yield _summary(rows, table, labels), table
    except Exception as error:
        yield drawing.failure(error_message(error)), table


def columns(labels: Sequence[str]) -> list[str]:
    """Return the headers of the table."""
    return [*TEXT_COLUMNS, "confidence", *map(column_of, labels)]


def _cells(row: BatchRow, labels: Sequence[str]) -> list[Any]:
    actual, prediction = row.actual or "", row.prediction
    if prediction is None:
        return [row.name, actual, "", row.error, None, *[None] * len(labels)]
    shares = dict(zip(prediction.labels, prediction.probabilities, strict=True))
    rounded = [round(shares.get(label, 0.0), 4) for label in labels]
    confidence = round(prediction.confidence, 4)
    return [row.name, actual, prediction.emotion, "", confidence, *rounded]


def _progress(n_done: int, n_files: int) -> str:
    text = translate("batch_progress", done=n_done, n=n_files)
    return (
        f'{drawing.status(text)}<div class="mm-progress" role="progressbar" '
        f'aria-label="{text}" aria-valuemin="0" aria-valuemax="{n_files}" '
        f'aria-valuenow="{n_done}"><span style="width:{100 * n_done / n_files:.1f}%"></span></div>'
    )


def _summary(rows: Sequence[BatchRow], table: Table, labels: Sequence[str]) -> str:
    """Return the number of files, the table as files to download, and the accuracy."""
    text = translate("batch_done", n=len(rows))
    if n_failed := sum(row.prediction is None for row in rows):
        text += f" {translate('batch_problems', n=n_failed)}"
    links = drawing.download_links(batch_to_dict(rows), columns(labels), table, parquet=True)
    return (
        f'<section class="mm-answer">{drawing.status(text)}{links}{_accuracy(measure_rows(rows))}'
        "</section>"
    )


def _accuracy(scores: BatchMetrics | None) -> str:
    """Return the accuracy and the confusion matrix; nothing where no actual emotion is known."""
    if scores is None:
        return ""
    sentence = translate(
        "batch_scores",
        n=scores.n_files,
        accuracy=words.percent(scores.accuracy),
        uar=words.percent(scores.uar),
    )
    most = max(max(counts) for counts in scores.confusion)
    emotions = [words.emotion(emotion) for emotion in scores.emotions]
    cells = [
        "".join(f'<td style="--share:{n / most:.3f}">{n}</td>' for n in counts)
        for counts in scores.confusion
    ]
    heads, rows = [translate("batch_corner"), *emotions], list(zip(emotions, cells, strict=True))
    return (
        f"<h3>{translate('batch_scores_heading')}</h3><p>{sentence}</p>"
        f"{drawing.table('mm-confusion', translate('batch_confusion'), heads, rows)}"
    )
