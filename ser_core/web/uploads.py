"""Files that visitors send, and nothing that a server would have to fetch for them."""

from pathlib import Path
from typing import TypeVar

import gradio as gr
from gradio_client.utils import is_http_url_like

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
