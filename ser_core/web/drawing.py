"""Pure functions that draw the parts of the page as HTML: bars, notes, tables, players, links."""

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import zip_longest
from typing import Any

import soundfile

from ser_core.labels import LABELS, find_emotion
from ser_core.names import escape_formula
from ser_core.prediction import Prediction
from ser_core.preprocess import Waveform
from ser_core.quality import QualityWarning
from ser_core.web import words
from ser_core.web.language import translate, translate_all

Table = Sequence[Sequence[Any]]
SECONDS_FROM_MS = 10_000
"""Time of an analysis from which it is told in seconds."""
Stretch = tuple[float, float]
"""Start and end in a recording, in seconds."""


def headline(eyebrow: str, sentence: str, *emotions: str) -> str:
    """Return a prediction as a sentence, with the signs of its emotions."""
    signs = " ".join(find_emotion(emotion).sign for emotion in emotions)
    return (
        f'<p class="mm-eyebrow">{eyebrow}</p>'
        f'<h2 class="mm-sentence"><span aria-hidden="true">{signs}</span>'
        f"<span>{escape(sentence)}</span></h2>"
    )


def bars(
    prediction: Prediction,
    *,
    compared: Prediction | None = None,
    played: Mapping[str, Stretch] | None = None,
) -> str:
    """Return one bar per emotion, in the model's order, under a heading.

    Args:
        prediction: Its probabilities are the lengths.
        compared: Its probabilities, of the same labels, are marked in the bars.
        played: The stretch of the recording that a click on a label's bar plays.
    """
    shares = dict(zip(prediction.labels, prediction.probabilities, strict=True))
    marks = compared.probabilities if compared else ()
    return share_bars(shares, top=prediction.emotion, marks=marks, played=played)


def share_bars(
    shares: dict[str, float],
    *,
    top: str,
    marks: Sequence[float] = (),
    played: Mapping[str, Stretch] | None = None,
) -> str:
    """Return one bar per label under a heading, that of the label `top` emphasised."""
    rows = "".join(
        f"<li{_bar_attributes(label == top, (played or {}).get(label))}>"
        f"{_bar(label, share, mark)}</li>"
        for (label, share), mark in zip_longest(shares.items(), marks)
    )
    return f'<h3>{translate("bars_heading")}</h3><ul class="mm-bars">{rows}</ul>'


def _bar_attributes(is_top: bool, played: Stretch | None) -> str:
    top = "mm-top" if is_top else ""
    if played:
        return plays(*played, kind=top)
    return f' class="{top}"' if top else ""


def plays(start_s: float, end_s: float, *, kind: str = "", style: str = "") -> str:
    """Return the attributes of an element that a click plays (player.js), and that shows when.

    Args:
        start_s: Start in the recording; inside an element with `--duration` it places the element.
        end_s: End in the recording.
        kind: Further classes of the element.
        style: Further declarations.
    """
    classes = f"{kind} mm-plays".strip()
    return f' class="{classes}" style="--from:{start_s:g};--to:{end_s:g};{style}"'


def _bar(label: str, probability: float, mark: float | None) -> str:
    value = spoken = escape(words.percent(probability))
    colour = find_emotion(label).colour
    fill = f'<span style="width:{100 * probability:.2f}%;background:{colour}"></span>'
    if mark is not None:
        spoken = translate("bar_compared", percent=value, other=escape(words.percent(mark)))
        fill += f'<i style="left:{100 * mark:.2f}%"></i>'
    meter = (
        f'role="meter" aria-label="{words.emotion(label)}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * probability:.1f}" aria-valuetext="{spoken}"'
    )
    return _row(label, meter=meter, fill=fill, value=value)


def _row(label: str, *, meter: str = "", fill: str = "", value: str = "") -> str:
    return (
        f'<span class="mm-sign" aria-hidden="true">{find_emotion(label).sign}</span>'
        f'<span class="mm-label">{words.emotion(label)}</span>'
        f'<span class="mm-track" {meter}>{fill}</span>'
        f'<span class="mm-percent" aria-hidden="true">{value}</span>'
    )


def empty(labels: Sequence[str] = LABELS) -> str:
    """Return instructions for a start, laid out like the result of a model with these labels."""
    rows = "".join(f"<li>{_row(label)}</li>" for label in labels)
    return (
        '<section class="mm-answer mm-empty">'
        f'<p class="mm-eyebrow">{translate("answer_eyebrow")} …</p>'
        f'<h2 class="mm-sentence">{translate("empty_heading")}</h2>'
        f"<p>{translate('empty_text')}</p>"
        f'<h3>{translate("bars_heading")}</h3><ul class="mm-bars">{rows}</ul>'
        f"{_hints()}</section>"
    )


def failure(message: str, heading: str = "failure_heading", *, hints: bool = True) -> str:
    """Return an error's message under a heading, and hints for the next recording."""
    return (
        '<section class="mm-answer"><div class="mm-failure" role="alert">'
        f"<h2>{translate(heading)}</h2><p>{escape(message)}</p></div>"
        f"{_hints() if hints else ''}</section>"
    )


def _hints() -> str:
    hints = items(translate_all("hint"))
    return f'<h3>{translate("hints_heading")}</h3><ul class="mm-list">{hints}</ul>'


def warning_list(warnings: Sequence[QualityWarning]) -> str:
    """Return the warnings about a recording; nothing for a good one."""
    if not warnings:
        return ""
    texts = [translate(f"warning_{warning.code}") for warning in warnings]
    return (
        f'<div class="mm-warnings" role="note"><h3>{translate("warnings_heading")}</h3>'
        f"<ul>{items(texts)}</ul></div>"
    )


def analysed_by(prediction: Prediction) -> str:
    """Return which model made the prediction, and how fast where it is known."""
    model = words.model(prediction.model)
    text = translate("answered_by", model=model)
    if total_ms := prediction.timings_ms.get("total"):
        text = translate("answered_in", model=model, ms=f"{total_ms:.0f}")
        if total_ms >= SECONDS_FROM_MS:
            text = translate("answered_after", model=model, duration=words.seconds(total_ms / 1e3))
    return f'<p class="mm-model">{escape(text)}</p>'


def progress(text: str, done: float, total: float) -> str:
    """Return a progress bar below a text that says the same."""
    return (
        f'{status(text)}<div class="mm-progress" role="progressbar" aria-label="{escape(text)}" '
        f'aria-valuemin="0" aria-valuemax="{total:g}" aria-valuenow="{done:g}">'
        f'<span style="width:{100 * done / total:.1f}%"></span></div>'
    )


def items(texts: Sequence[str]) -> str:
    """Return the items of a list."""
    return "".join(f"<li>{escape(text)}</li>" for text in texts)


def status(text: str) -> str:
    """Return a line about the current state."""
    return f'<p class="mm-status">{escape(text)}</p>'


def small(text: str) -> str:
    """Return a line in small print."""
    return f'<p class="mm-small">{escape(text)}</p>'


def table(
    kind: str,
    caption: str,
    heads: Sequence[str],
    rows: Sequence[tuple[str, str]],
    *,
    sortable: bool = False,
) -> str:
    """Return a table that scrolls sideways where it is wider than the page.

    Args:
        kind: Its class in the style sheet.
        caption: Its caption.
        heads: Heads of its columns.
        rows: The head of each row, and the HTML of its cells.
        sortable: Whether a click on a head sorts the rows (page.js).
    """
    open_, close = ("<button>", "</button>") if sortable else ("", "")
    head = "".join(f'<th scope="col">{open_}{escape(name)}{close}</th>' for name in heads)
    body = "".join(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>' for name, cells in rows)
    return (
        f'<div class="mm-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def player(samples: Waveform, sample_rate_hz: int, caption: str) -> str:
    """Return an audio player with the sound embedded in it.

    Args:
        samples: (n_samples,) float32; beyond full scale they are clipped.
        sample_rate_hz: Their rate.
        caption: Its label for screen readers.
    """
    sound = io.BytesIO()
    soundfile.write(sound, samples.clip(-1.0, 1.0), sample_rate_hz, format="FLAC")
    return (
        f'<audio controls="controls" preload="none" aria-label="{escape(caption)}" '
        f'src="{data_uri(sound.getvalue(), "audio/flac")}"></audio>'
    )


def download_links(
    result: object,
    header: Sequence[str],
    table: Table,
    *,
    parquet: bool = False,
    card: bool = False,
) -> str:
    """Return links to a result as files, which the page itself holds: none lies on the server.

    Args:
        result: Plain JSON types.
        header: Column names of the table.
        table: Its rows.
        parquet: Whether to offer the table as Parquet too.
        card: Whether to offer a picture, which card.js draws.
    """
    files = [
        ("moodmirror.json", "application/json", json.dumps(result, indent=2).encode()),
        ("moodmirror.csv", "text/csv", _to_csv(header, table)),
    ]
    if parquet:
        kind = "application/vnd.apache.parquet"
        files.append(("moodmirror.parquet", kind, _to_parquet(header, table)))
    links = " ".join(
        f'<a download="{name}" href="{data_uri(content, kind)}">{name}</a>'
        for name, kind, content in files
    )
    if card:
        links += f' <button class="mm-save-card">{translate("save_card")}</button>'
    return f'<p class="mm-small">{translate("download")} {links}</p>'


def _to_csv(header: Sequence[str], table: Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([escape_formula(cell) for cell in row] for row in table)
    return text.getvalue().encode()


def _to_parquet(header: Sequence[str], table: Table) -> bytes:
    import pyarrow as pa  # slow to import, rarely needed
    from pyarrow import parquet

    columns = zip(*table, strict=True) if table else [() for _ in header]
    sink = io.BytesIO()
    parquet.write_table(pa.table([pa.array(column) for column in columns], [*header]), sink)
    return sink.getvalue()


def data_uri(content: bytes, kind: str) -> str:
    """Return content of a media type as a URI for a link, an image or a player."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
