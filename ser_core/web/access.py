"""Who may use the API for programs, and how often: keys and rates, both off unless set."""

import os
import re
import time
from dataclasses import dataclass, field
from secrets import compare_digest
from typing import Self

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter
from starlette.requests import HTTPConnection

from ser_core.errors import SerError
from ser_core.web.limits import RefusalError, client_at

KEYS = "MOODMIRROR_API_KEYS"
"""Environment variable with the keys, separated by commas; without it none is needed."""
RATE = "MOODMIRROR_API_RATE"
"""Environment variable with the most requests of a key and of an address, as in `60/minute`."""
QUERY_KEY = "key"
"""Parameter of an address with the key, for browsers, whose WebSocket sends no header."""
_KEY = re.compile(r"[!-+\--~]{16,}")


@dataclass(frozen=True)
class Access:
    """The conditions of the API.

    Attributes:
        keys: A request needs one of them; without any, every request is let in.
        rate: Most requests of a key and of an address; None for no limit.
    """

    keys: frozenset[str] = frozenset()
    rate: RateLimitItem | None = None
    _limiter: RateLimiter = field(default_factory=lambda: MovingWindowRateLimiter(MemoryStorage()))

    @classmethod
    def from_environment(cls) -> Self:
        """Read `KEYS` and `RATE`.

        Raises:
            SerError: A key is too short to be one, or the rate cannot be read.
        """
        keys = [key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip()]
        if not all(map(_KEY.fullmatch, keys)):
            raise SerError(
                f"{KEYS} has a key that is too short or has other characters than ASCII; expected "
                "at least 16 letters, digits or marks, such as those of: openssl rand -hex 16"
            )
        rate = os.environ.get(RATE, "").strip()
        try:
            return cls(frozenset(keys), parse(rate) if rate else None)
        except ValueError as error:
            raise SerError(f"{RATE} is {rate!r}; expected a rate such as 60/minute.") from error

    async def check_request(self, connection: HTTPConnection) -> None:
        """Count a request of the API.

        Raises:
            RefusalError: It has no valid key, or comes too soon after others.
        """
        key = self._key_of(connection)
        if self.keys and not any(compare_digest(known, key) for known in self.keys):
            text = "A key is needed: send the header Authorization: Bearer KEY."
            raise RefusalError(401, "key", text)
        if self.rate is None:
            return
        owners = [("address", client_at(connection.scope)), *([("key", key)] if self.keys else [])]
        for owner in owners:
            if not self._limiter.hit(self.rate, *owner):
                wait_s = self._limiter.get_window_stats(self.rate, *owner).reset_time - time.time()
                text = f"At most {self.rate} are answered of one {owner[0]}. Try again later."
                raise RefusalError(429, "rate", text, retry_after_s=max(1.0, wait_s))

    def _key_of(self, connection: HTTPConnection) -> str:
        scheme, _, key = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return key.strip().encode("ascii", "replace").decode()
        if connection.scope["type"] == "websocket":
            return connection.query_params.get(QUERY_KEY, "").encode("ascii", "replace").decode()
        return ""
