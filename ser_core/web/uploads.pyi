"""Components for files that visitors send, which fetch no address for them."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio_client.utils import is_http_url_like

from ser_core.web.language import say

class SentAudio(gr.Audio):
    """An audio component that takes what was uploaded, and nothing from elsewhere."""

    is_template = True

    async def async_move_resource_to_block_cache(
        self, url_or_file_path: str | Path | None
    ) -> str | None:
        """Refuse an address, which Gradio would fetch from this server."""
        refuse_address(url_or_file_path)
        return await super().async_move_resource_to_block_cache(url_or_file_path)
    from collections.abc import Callable, Sequence
    from typing import TYPE_CHECKING, Any, Literal

    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

class SentFiles(gr.File):
    """The same for files."""

    is_template = True

    async def async_move_resource_to_block_cache(
        self, url_or_file_path: str | Path | None
    ) -> str | None:
        """Refuse an address, which Gradio would fetch from this server."""
        refuse_address(url_or_file_path)
        return await super().async_move_resource_to_block_cache(url_or_file_path)
    from collections.abc import Callable, Sequence
    from typing import TYPE_CHECKING, Any, Literal

    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

def refuse_address(resource: Any) -> None:
    """Raise an error that the caller can read where a resource is no file of this server."""
    if is_http_url_like(str(resource)):
        raise gr.Error(say("no_address"), print_exception=False)
