"""The MoodMirror app, for a Space and for `make run`; all of it is in the package."""

import sys

from ser_core.errors import SerError
from ser_core.web.page import serve


def main() -> None:
    """Serve the page until interrupted; GRADIO_SERVER_NAME and _PORT say where."""
    try:
        serve()
    except SerError as error:
        print(f"MoodMirror cannot start. {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
