"""The MoodMirror app: finds the model, builds the page, launches it."""

import logging
import os
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

from ser_core.errors import SerError
from ser_core.models import ModelSwitch, chosen_model
from ser_core.web.page import build_page, launch_options

HERE = Path(__file__).resolve().parent
CLIPS = "GRADIO_TEMP_DIR"
"""Environment variable with the folder that Gradio keeps clips in."""


def main() -> None:
    """Serve the page until interrupted; GRADIO_SERVER_NAME and _PORT say where."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        models = ModelSwitch.open(chosen_model())
    except SerError as error:
        raise SystemExit(f"MoodMirror cannot start. {error}") from error
    # A polite kill ends like Ctrl-C, so that the visitors' clips are deleted. Gradio's own
    # deletion does not come to its turn while a page is open.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(dir=os.environ.get(CLIPS), prefix="moodmirror-") as clips:
        os.environ[CLIPS] = clips
        page = build_page(models, examples=HERE / "examples")
        page.launch(**launch_options(models))


if __name__ == "__main__":
    main()
