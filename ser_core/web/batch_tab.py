"""The tab "Batch": many files at once."""

import json
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr

from ser_core.batch import (
    MAX_FILES,
    BatchMetrics,
    BatchRow,
    adapt_rows,
    batch_to_dict,
    collect_files,
    measure_rows,
    predict_files,
    shown_name,
)
from ser_core.corpora import read_speaker
from ser_core.label_studio import to_task
from ser_core.labels import column_of, find_emotion
from ser_core.prediction import Prediction
from ser_core.switch import ModelSwitch
from ser_core.web import drawing, words
from ser_core.web.components import (
    BATCH,
    Localized,
    custom_html,
    error_message,
    live_region,
    localized,
    on,
    uploads_only,
)
from ser_core.web.language import label, translate

SHOWN_EVERY_S = 1.0
"""Time between two states of the table while files are analysed: each is the whole table."""
LABELLING = Path(__file__).with_name("labels.js").read_text(encoding="utf-8")
LABEL_FILES = ("labels.csv", "label-studio.json")
"""Files of labels, which labels.js writes: a table for `train` and `evaluate`, and tasks."""
COLUMNS = ("file", "actual", "emotion", "problem", "confidence")
"""First columns of the files to download; the others are those of `Prediction.to_dict`."""


def build_batch(models: ModelSwitch) -> list[Localized]:
    """Add the tab to the page under construction."""
    texts = [localized(lambda: drawing.small(translate("batch_hint", n=MAX_FILES)))]
    files = uploads_only(
        gr.File(file_count="multiple", label=label("batch_files"), elem_id="batch-files")
    )
    one_voice = gr.Checkbox(False, label=label("one_voice"), info=label("one_voice_hint"))
    with gr.Row():
        analyse = gr.Button(label("batch_analyse"), variant="primary", size="lg")
        cancel = gr.Button(label("batch_cancel"), size="lg")
    note = live_region(_empty(), elem_id="batch-note")
    labels = custom_html(_label_tools(), elem_id="batch-labels", js_on_load=LABELLING)
    table = custom_html("", elem_id="batch-table")
    rows = gr.State([])

    def run(paths: list[str] | None, one_voice: bool) -> Iterator[tuple[str, str, list[BatchRow]]]:
        yield from analyse_files(models, paths or [], one_voice=one_voice)

    running = on(analyse.click, run, [files, one_voice], [note, table, rows], **BATCH)
    cancelled = on(cancel.click, None, None, None, cancels=[running])
    on(cancelled.then, draw_stopped, [rows, one_voice], note)
    on(one_voice.change, redraw, [rows, one_voice, files], [note, table])
    on(files.change, None, files, None, js="files => moodmirror.nameFiles(files)")
    on(files.clear, lambda: (_empty(), "", []), None, [note, table, rows])
    return [*texts, (note, _empty), (labels, _label_tools)]


def _label_tools() -> str:
    """Return the button that starts labelling, and what labels.js fills in: state and files."""
    hint = translate("batch_label_hint", keys="{keys}")
    percent = translate("percent", value="{percent}")
    agreement = translate("batch_agreement", n="{n}", all="{all}", agree="{agree}", percent=percent)
    links = " ".join(f'<a download="{name}">{name}</a>' for name in LABEL_FILES)
    return (
        f'<section class="mm-labels" hidden data-hint="{escape(hint)}" '
        f'data-agreement="{escape(agreement)}">'
        f'<button aria-pressed="false">{translate("batch_label_start")}</button>'
        '<p class="mm-small" role="status"></p>'
        f'<p class="mm-small mm-label-files" hidden>{translate("download")} {links}</p></section>'
    )


def _empty() -> str:
    return drawing.status(translate("batch_empty"))


def analyse_files(
    models: ModelSwitch, paths: Sequence[str], *, one_voice: bool = False
) -> Iterator[tuple[str, str, list[BatchRow]]]:
    """Analyse files one by one.

    Args:
        models: The current one analyses each file.
        paths: Recordings and zip archives.
        one_voice: Whether to show the rows adapted to their common speaker.

    Yields:
        The progress about once a second, at last the summary or an error, as HTML; the table so
        far, as HTML; and its rows, not adapted.
    """
    rows: list[BatchRow] = []
    shown_s = -SHOWN_EVERY_S
    try:
        # Members of archives are deleted with the last row, and when the visitor cancels.
        with tempfile.TemporaryDirectory() as folder:
            files = collect_files([Path(path) for path in paths], Path(folder))
            for row in predict_files(files, models):
                rows.append(row)
                if time.monotonic() - shown_s >= SHOWN_EVERY_S:
                    shown_s = time.monotonic()
                    table = draw_table(_adapted(rows, one_voice), paths)
                    yield _progress(len(rows), len(files)), table, [*rows]
        yield *redraw(rows, one_voice, paths), rows
    except Exception as error:
        table = draw_table(_adapted(rows, one_voice), paths)
        yield drawing.failure(error_message(error)), table, rows


def _adapted(rows: Sequence[BatchRow], one_voice: bool) -> Sequence[BatchRow]:
    return adapt_rows(rows) if one_voice else rows


def redraw(
    rows: Sequence[BatchRow], one_voice: bool, paths: Sequence[str] | None = None
) -> tuple[str, str]:
    """Return the summary and the table of finished rows, adapted to one voice or not."""
    shown = _adapted(rows, one_voice)
    text = translate("batch_done", n=len(rows)) if rows else translate("batch_empty")
    return _summary(shown, text), draw_table(shown, paths or [])


def draw_stopped(rows: Sequence[BatchRow], one_voice: bool) -> str:
    """Return the summary of a batch that the visitor stopped."""
    return _summary(_adapted(rows, one_voice), translate("batch_cancelled", n=len(rows)))


def draw_table(rows: Sequence[BatchRow], paths: Sequence[str] = ()) -> str:
    """Return one row per file, as a table that sorts by a click on a head (page.js).

    Args:
        rows: The rows.
        paths: The uploaded files, which page.js plays; members of archives have no play button.
    """
    if not rows:
        return ""
    labels = next((row.prediction.labels for row in rows if row.prediction), ())
    names = {row.name for row in rows}
    uploaded = {shown_name(Path(path).name) for path in paths}
    playable = {name for name in uploaded if f"{name} (2)" not in names}  # else it may be another
    columns: list[tuple[str, Callable[[BatchRow], str]]]
    columns = [
        ("batch_result", partial(_result, playable=playable)),
        ("batch_label", _choice),
        ("batch_speaker", _speaker),
    ]
    if any(row.prediction and row.prediction.intensity is not None for row in rows):
        columns.append(("batch_intensity", _intensity))
    if any(row.actual for row in rows):
        columns.append(("batch_actual", _actual))
    if any(row.error for row in rows):
        columns.append(("batch_problem", _problem))
    cells = [
        "".join(draw(row) for _, draw in columns)
        + "".join(_share(row.prediction, label) for label in labels)
        for row in rows
    ]
    heads = [translate(key) for key in ("batch_file", *(key for key, _ in columns))]
    heads += [words.emotion(label) for label in labels]
    body = list(zip([row.name for row in rows], cells, strict=True))
    return drawing.table("mm-batch", translate("batch_table"), heads, body, sortable=True)


def _cell(value: str, text: str, html: str = "") -> str:
    """Return a cell that sorts by `value`."""
    return f'<td data-value="{escape(value)}">{escape(text)}{html}</td>'


def _result(row: BatchRow, *, playable: Container[str]) -> str:
    p = row.prediction
    if p is None:
        return _cell("", "")
    sign = find_emotion(p.emotion).sign
    text = f"{sign} {words.emotion(p.emotion)} {words.percent(p.confidence)}"
    unsure = "" if p.certain else f" <small>{translate('batch_uncertain')}</small>"
    name = escape(row.name)
    play = translate("play", what=name)
    button = f'<button class="mm-play" data-file="{name}" aria-label="{play}"></button>'
    html = f"{escape(text)}{unsure}{button if row.name in playable else ''}"
    return _cell(f"{p.emotion} {1 - p.confidence:.4f}", "", html)


def _choice(row: BatchRow) -> str:
    """Return the cell with a row's label, and all that labels.js writes about it."""
    if (p := row.prediction) is None:
        return _cell("", "")
    name = escape(row.name)
    options = '<option value="">–</option>' + "".join(
        f'<option value="{escape(label)}">{i} {escape(words.emotion(label))}</option>'
        for i, label in enumerate(p.labels, 1)
    )
    task = escape(json.dumps(to_task(row.name, p)))
    return (
        f'<td class="mm-choice" data-value="" data-name="{name}" data-task="{task}" '
        f'data-predicted="{escape(p.emotion)}" data-confidence="{p.confidence:.4f}" '
        f'data-speaker="{escape(_speaker_in(row.name))}">'
        f'<select aria-label="{translate("batch_label_of", what=name)}">{options}</select></td>'
    )


def _speaker(row: BatchRow) -> str:
    if row.prediction is None:
        return _cell("", "")
    of_name = translate("batch_speaker_of", what=escape(row.name))
    return f'<td class="mm-speaker"><input aria-label="{of_name}" autocomplete="off" /></td>'


def _speaker_in(name: str) -> str:
    """Return the speaker in a corpus's file name, else the folder; empty without either."""
    return read_speaker(Path(name)) or PurePosixPath(name).parent.name


def _actual(row: BatchRow) -> str:
    actual = words.emotion(row.actual) if row.actual else ""
    if not actual or row.prediction is None:
        return _cell("", actual)
    is_right = row.actual == row.prediction.emotion
    meaning, mark = ("batch_right", "✓") if is_right else ("batch_wrong", "✗")
    html = f' <span role="img" aria-label="{translate(meaning)}">{mark}</span>'
    return _cell(f"{mark} {row.actual}", actual, html)


def _problem(row: BatchRow) -> str:
    return f'<td class="mm-problem">{escape(words.error(row.error))}</td>'


def _share(prediction: Prediction | None, label: str) -> str:
    if prediction is None:
        return _cell("", "")
    share = prediction.probabilities[prediction.labels.index(label)]
    return _cell(f"{share:.4f}", words.percent(share))


def _intensity(row: BatchRow) -> str:
    if row.prediction is None or row.prediction.intensity is None:
        return _cell("", "")
    return _cell(f"{row.prediction.intensity:.4f}", words.percent(row.prediction.intensity))


def to_columns(row: BatchRow) -> dict[str, Any]:
    """Return all that `BatchRow.to_dict` holds as the columns of a table."""
    first = dict.fromkeys(COLUMNS) | {"file": row.name, "actual": row.actual, "problem": row.error}
    if row.prediction is None:
        return first
    rest = row.prediction.to_dict()
    shares, timings_ms = rest.pop("probabilities"), rest.pop("timings_ms")
    warnings = "; ".join(f"{warning['code']}: {warning['message']}" for warning in rest["warnings"])
    return (
        first
        | {"emotion": rest["emotion"], "confidence": rest["confidence"]}
        | {column_of(label): share for label, share in shares.items()}
        | rest
        | {"warnings": warnings}
        | {f"{stage}_ms": duration for stage, duration in timings_ms.items()}
    )


def _progress(n_done: int, n_files: int) -> str:
    text = translate("batch_progress", done=n_done, n=n_files)
    return drawing.progress(text, n_done, n_files)


def _summary(rows: Sequence[BatchRow], text: str) -> str:
    """Return a sentence on the rows, the rows as files to download, and the accuracy."""
    if n_failed := sum(row.prediction is None for row in rows):
        text += f" {translate('batch_problems', n=n_failed)}"
    table = [to_columns(row) for row in rows]
    header = list(dict.fromkeys(name for row in table for name in row))
    cells = [[row.get(name) for name in header] for row in table]
    links = drawing.download_links(batch_to_dict(rows), header, cells, parquet=True) if rows else ""
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
