"""How publishers are asked, and what is said when they do not answer."""

from typing import Any

import requests

from ser_core import __version__
from ser_core.errors import CorpusError

TIMEOUT_S = (10.0, 60.0)
"""For the connection, and for each answer on it."""


def open_session(n_connections: int = 1) -> requests.Session:
    """Open a session that says who asks and keeps its connections.

    Args:
        n_connections: How many transfers run at a time.
    """
    session = requests.Session()
    session.headers["User-Agent"] = f"moodmirror/{__version__}"
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=n_connections)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def read_json(session: requests.Session, url: str) -> Any:
    """Ask for JSON.

    Args:
        session: Who asks.
        url: Whom.

    Raises:
        CorpusError: There is no answer, or another one.
    """
    try:
        response = session.get(url, timeout=TIMEOUT_S)
        if not response.ok:
            raise refusal(url, response)
        return response.json()
    except requests.JSONDecodeError as error:
        raise CorpusError(f"{url} did not answer with JSON. Try again later.") from error
    except requests.RequestException as error:
        raise CorpusError(
            f"{url} cannot be reached ({reason_of(error)}). Check the network and try again."
        ) from error


def refusal(url: str, response: requests.Response) -> CorpusError:
    """An answer that is no success, in words."""
    return CorpusError(
        f"{url} answers {response.status_code} ({response.reason}). The publisher may have moved "
        'it: download the corpus yourself, and install it with "data place".'
    )


def reason_of(error: Exception) -> str:
    """What went wrong, without the names of the libraries that it went through."""
    while isinstance(inner := getattr(error, "reason", None) or (*error.args, None)[0], Exception):
        error = inner
    told = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return (told.strip() or type(error).__name__).splitlines()[0].rpartition(": ")[2]
