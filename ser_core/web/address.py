"""Where the page listens, by the variables that Gradio reads."""

import os
import socket

from ser_core.errors import SerError

HOST, PORT = "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"


def check_port() -> None:
    """Check that the port in `PORT`, where one is named, can be used; Gradio would take another.

    Raises:
        SerError: It is no port, or not available.
    """
    if not (port := os.environ.get(PORT)):
        return
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise SerError(f"{PORT} is {port!r}; expected a number from 1 to 65535.")
    host = os.environ.get(HOST) or "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, int(port)), family=family).close()
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "this is no host"
        raise SerError(
            f"Port {port} on {host} is not available: {reason}. Choose another with --port or "
            f"{PORT}."
        ) from error
