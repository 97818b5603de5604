"""JSON with its numbers as they were written."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pydantic_core import from_json

from agent_persistence.query.records import exact_integer, exact_number

_LONG_NUMBER: Final = re.compile(rb"\.[0-9](?:[0-9]{12}|(?<=[0-9]{4}\.[0-9])(?:[0-9]{7}|(?<=[0-9]{9}\.[0-9])))")
"""Every number with a point and 16 digits or more; a float holds any of 15 (DBL_DIG in float.h).

It begins with a literal, because the search is then memchr's. numeric and jsonb print no exponents, and floats print
what they hold, so that only a json column, which keeps its text, has other numbers that a float rounds.
"""
_LONG_INTEGER: Final = re.compile(rb"[0-9]{4301}")
"""One that `from_json` refuses."""


def read_json(body: bytes) -> Any:
    """The value; a number that neither int nor float holds is a Decimal. ValueError for what is no JSON."""
    if _LONG_NUMBER.search(body):
        return _read_exactly(body)
    try:
        return from_json(body)
    except ValueError:
        if _LONG_INTEGER.search(body) is None:
            raise
        return _read_exactly(body)


def is_json(text: str) -> bool:
    """Whether the text is a JSON value, such as `5` or `null`."""
    try:
        from_json(text.encode("utf-8", "surrogatepass"))
    except ValueError:
        return False
    return True


def _read_exactly(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), parse_float=exact_number, parse_int=exact_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None
