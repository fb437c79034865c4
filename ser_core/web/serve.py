"""The app: finds the model, builds the page, launches it."""

import logging
import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

from ser_core.bundled import bundled
from ser_core.models import chosen_model
from ser_core.switch import ModelSwitch
from ser_core.web.memory import share_heaps
from ser_core.web.page import build_page, launch_options

CLIPS = "GRADIO_TEMP_DIR"
"""Environment variable with the folder that Gradio keeps clips in."""
NO_STATISTICS = {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000"}
"""After every event Gradio would put the last ten thousand into a table, for a page that is off."""


def serve(model: str | None = None) -> None:
    """Serve the page until interrupted; GRADIO_SERVER_NAME and _PORT say where.

    Args:
        model: As in `open_predictor`; None for what `MOODMIRROR_MODEL` says.

    Raises:
        ModelError: The model cannot be opened.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    share_heaps()
    models = ModelSwitch.open(model or chosen_model())
    # A polite kill ends like Ctrl-C, so that the visitors' clips are deleted. Gradio's own
    # deletion does not come to its turn while a page is open.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(dir=os.environ.get(CLIPS), prefix="moodmirror-") as clips:
        os.environ |= {CLIPS: clips} | NO_STATISTICS
        page = build_page(models, examples=bundled("examples"))
        page.launch(**launch_options(models, clips=Path(clips)))
