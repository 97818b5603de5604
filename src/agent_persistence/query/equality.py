"""JSON values that PostgreSQL stored, compared with those that were sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from unicodedata import normalize

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def same(sent: Any, stored: Any) -> bool:
    """Whether the stored JSON value is certainly what was sent, in whatever form PostgreSQL prints it."""
    if isinstance(sent, str) and isinstance(stored, str):
        return sent == stored or _same_uuid(sent, stored) or _same_time(sent, stored)
    if isinstance(sent, bool) or isinstance(stored, bool) or sent is None or stored is None:
        return sent is stored
    if isinstance(sent, Mapping):
        return (
            isinstance(stored, Mapping)
            and sent.keys() == stored.keys()
            and all(same(value, stored[key]) for key, value in sent.items())
        )
    if isinstance(sent, list):
        return isinstance(stored, list) and len(sent) == len(stored) and all(map(same, sent, stored))
    if isinstance(stored, (Mapping, list)):
        return False
    return _same_number(sent, stored)


def _same_uuid(sent: str, stored: str) -> bool:
    return _UUID.fullmatch(stored) is not None and sent.lower() == stored


def _same_time(sent: str, stored: str) -> bool:
    """Whether both are the same instant; PostgREST's sessions read a time without a zone as UTC."""
    try:
        instants = [datetime.fromisoformat(text) for text in (sent, stored)]
    except ValueError:
        return False
    first, second = (instant if instant.tzinfo else instant.replace(tzinfo=UTC) for instant in instants)
    return first == second


def _same_number(sent: Any, stored: Any) -> bool:
    try:
        return Decimal(str(sent)) == Decimal(str(stored))
    except InvalidOperation:
        return False


def may_be_same(sent: Any, stored: Any) -> bool:
    """Whether the stored value of a scalar column can be what was sent, however its type reads and prints it.

    Distinguished are numbers, UUIDs, and texts of which the ASCII letters and digits differ in more than their case: a
    collation may ignore the rest, and a trigger may take blanks away.
    """
    if stored is None or same(sent, stored):
        return stored is not None
    if isinstance(sent, str) and isinstance(stored, str):
        first, second = _letters(sent), _letters(stored)
        return first == second or not (first.isascii() and second.isascii())
    return isinstance(sent, bool) != isinstance(stored, bool) or not (_is_number(sent) and _is_number(stored))


def _is_number(value: Any) -> bool:
    try:
        return not Decimal(str(value)).is_nan()
    except InvalidOperation:
        return isinstance(value, bool)


def _letters(text: str) -> str:
    """The letters and digits, without the differences of case and accents."""
    return "".join(letter for letter in normalize("NFKD", text).casefold() if letter.isalnum())
