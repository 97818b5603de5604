"""JSON values as Python, jsonb and JSON texts have them. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def json_text(value: Any) -> str:
    """The value as JSON that every database stores as text: NUL is escaped, and so is what is no valid Unicode.

    TypeError or ValueError for what JSON does not have; NaN is such a thing.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text


def is_exact(value: Any) -> bool:
    """Whether every jsonb holds and compares the value as Python does: a text, a boolean or a small whole number."""
    if type(value) is str:
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    return type(value) is bool or (type(value) is int and abs(value) < 2**53)


def equal(one: Any, other: Any) -> bool:
    """Whether both are the same JSON: True is not 1, 1 is 1.0, and a tuple is a list."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(equal(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)
