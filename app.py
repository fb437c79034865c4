"""The MoodMirror app, for a Space and for `make run`; all of it is in the package."""

from ser_core.errors import SerError
from ser_core.web.page import serve


def main() -> None:
    """Serve the page until interrupted; GRADIO_SERVER_NAME and _PORT say where."""
    try:
        serve()
    except SerError as error:
        raise SystemExit(f"MoodMirror cannot start. {error}") from error


if __name__ == "__main__":
    main()
