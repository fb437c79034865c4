"""Answers as files that the page itself holds, so that none lies on the server."""

import base64
import csv
import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
import soundfile
from gradio_client.utils import is_http_url_like

from ser_core.preprocess import Waveform
from ser_core.web.language import label, say

Receiver = TypeVar("Receiver", gr.Audio, gr.File)


def recorder(key: str, *, elem_id: str) -> gr.Audio:
    """Where a visitor records or uploads one clip.

    Args:
        key: Of its label.
        elem_id: Its name in the style sheet.
    """
    return sent_only(
        gr.Audio(
            sources=["microphone", "upload"],
            type="filepath",
            label=label(key),
            editable=False,
            buttons=[],
            elem_id=elem_id,
        )
    )


def sent_only(component: Receiver) -> Receiver:
    """Let a component refuse addresses, which Gradio would fetch from this server.

    Args:
        component: Takes files from visitors. It is changed: a class of its own would make
            Gradio write a file beside our code.
    """
    move = component.async_move_resource_to_block_cache

    async def move_sent(url_or_file_path: str | Path | None) -> str | None:
        if is_http_url_like(str(url_or_file_path)):
            raise gr.Error(say("no_address"), print_exception=False)
        return await move(url_or_file_path)

    setattr(component, "async_move_resource_to_block_cache", move_sent)  # noqa: B010
    return component


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a cell."""

Table = Sequence[Sequence[Any]]


def download_links(
    answer: object, header: Sequence[str], table: Table, *, parquet: bool = False
) -> str:
    """Links to an answer as JSON and as a table.

    Args:
        answer: Plain JSON types.
        header: Names of the table's columns.
        table: Its rows.
        parquet: Whether the table is offered as Parquet, too.
    """
    files = [
        ("moodmirror.json", "application/json", json.dumps(answer, indent=2).encode()),
        ("moodmirror.csv", "text/csv", csv_of(header, table)),
    ]
    if parquet:
        files.append(
            ("moodmirror.parquet", "application/vnd.apache.parquet", parquet_of(header, table))
        )
    links = " ".join(
        f'<a download="{name}" href="{data_uri(content, kind)}">{name}</a>'
        for name, kind, content in files
    )
    return f'<p class="mm-small">{say("download")} {links}</p>'


def csv_of(header: Sequence[str], table: Table) -> bytes:
    """A table as CSV in UTF-8, no cell of which a spreadsheet takes for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([harmless(cell) for cell in row] for row in table)
    return text.getvalue().encode()


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell


def parquet_of(header: Sequence[str], table: Table) -> bytes:
    """A table as Parquet."""
    import pyarrow as pa  # a start does without it
    from pyarrow import parquet

    columns = zip(*table, strict=True) if table else [() for _ in header]
    sink = io.BytesIO()
    parquet.write_table(pa.table([pa.array(column) for column in columns], [*header]), sink)
    return sink.getvalue()


def player(samples: Waveform, sample_rate_hz: int, caption: str) -> str:
    """A player that holds its own sound.

    Args:
        samples: (n_samples,) float32; beyond full scale they are clipped.
        sample_rate_hz: Their rate.
        caption: What screen readers say of it.
    """
    sound = io.BytesIO()
    soundfile.write(sound, samples.clip(-1.0, 1.0), sample_rate_hz, format="FLAC")
    return (
        f'<audio controls="controls" preload="none" aria-label="{escape(caption)}" '
        f'src="{data_uri(sound.getvalue(), "audio/flac")}"></audio>'
    )


def data_uri(content: bytes, kind: str) -> str:
    """Content as an address that a link, a picture or a player can hold."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
