"""Names from elsewhere, as they may stand in a result, on a terminal and in a table."""

import re
import unicodedata
from typing import Any

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_LONE_SURROGATE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_JOINERS = "\u200c\u200d"
"""Marks without effect on their surroundings, which words and emoji of many scripts need."""
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control and direction marks, surrogates and line separators."""


def name_of(address: object) -> str:
    """Return an address as valid UTF-8, with invalid bytes written in hexadecimal."""
    whole = _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):x}", str(address))
    return whole.encode(errors="surrogateescape").decode(errors="backslashreplace")


def printable(text: object) -> str:
    """Return text as one line that a terminal only shows: other characters become escapes."""
    return "".join(map(_escaped, name_of(text)))


def _escaped(char: str) -> str:
    if unicodedata.category(char) in _INVISIBLE and char not in _JOINERS:
        return char.encode("unicode_escape").decode()
    return char


def escape_formula(cell: Any) -> Any:
    """Return a cell of a CSV; text that a spreadsheet would run as a formula is quoted."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
