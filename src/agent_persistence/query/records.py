"""Records and rows: what callers hand in, and the JSON form in which everything below sees it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import Any, ClassVar, Final, TypeAlias
from uuid import UUID

from pydantic import AnyUrl, BaseModel

from agent_persistence.exceptions import ValidationError, printable

Record: TypeAlias = Mapping[str, Any]
"""One row to be written, by column name. In an operation its values are JSON; None there is SQL NULL."""
Row: TypeAlias = dict[str, Any]
"""One row as the server gives it: JSON values by column name. A number that no float holds exactly is a Decimal."""

MAX_DEPTH: Final = 100
_PLAIN: Final = 1e300
"""Below it an int is printable and a float finite."""
MAX_INT_BITS: Final = 14_280
"""4,300 decimal digits, above which Python refuses to print an int."""


class _Null(Enum):
    NULL = "NULL"

    def __repr__(self) -> str:
        return "NULL"


NULL: Final = _Null.NULL
"""Writes an explicit SQL NULL, where a plain None means "not given" and is stripped."""


class Deferred:
    """A value that only the database knows; `belongs` says where it may stand."""

    __slots__ = ()
    belongs: ClassVar[str]


class _NotJsonError(Exception):
    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


def as_mapping(table: object, record: object, where: str = "", *, only_set: bool = False) -> Record:
    """The record as a mapping; a pydantic model gives its fields, or only those that were set."""
    if type(record) is dict:
        return record
    if isinstance(record, BaseModel):
        return record.model_dump(by_alias=True, exclude_unset=only_set)
    if not isinstance(record, Mapping):
        raise ValidationError(
            table,
            f"{where or 'a record'} is a mapping of column to value or a pydantic model, not {type(record).__name__}",
        )
    return record


def strip_none(record: Record) -> Record:
    """The record without its None values; nested ones are kept."""
    return {column: value for column, value in record.items() if value is not None}


def encode_record(
    table: object, record: Record, where: str = "", *, deferred: tuple[type[Deferred], ...] = ()
) -> dict[str, Any]:
    """The record with every value in JSON form; all values that have none are named in one ValidationError.

    Values of the `deferred` classes stand as they are.
    """
    if not record:
        raise ValidationError(
            table, f"{where or 'the record'} holds no values; None means not given, NULL writes an explicit null"
        )
    encoded: dict[str, Any] = {}
    problems: list[str] = []
    for column, value in record.items():
        plain = type(value)
        if (  # as in is_plain, of which a call would take more than the question
            (plain is str and value.isascii() and "\0" not in value)
            or plain is bool
            or ((plain is int or plain is float) and -_PLAIN < value < _PLAIN)
        ):
            encoded[column] = value
            continue
        if isinstance(value, deferred):
            encoded[column] = value
            continue
        try:
            encoded[column] = encode(value, f"{where}.{_shown(column)}" if where else _shown(column))
        except _NotJsonError as problem:
            problems.append(str(problem))
    if problems:
        raise ValidationError(table, problems)
    return encoded


def is_plain(value: Any) -> bool:
    """Whether the value is JSON already and needs neither a path nor a check, as most do."""
    plain = type(value)
    if plain is str:
        return value.isascii() and "\0" not in value
    return plain is bool or ((plain is int or plain is float) and -_PLAIN < value < _PLAIN)


def encode_value(table: object, value: object, path: str) -> Any:
    """One value in JSON form, or a ValidationError that names its path."""
    try:
        return encode(value, path)
    except _NotJsonError as problem:
        raise ValidationError(table, str(problem)) from None


def encode(value: object, path: str, depth: int = 0) -> Any:
    plain = type(value)
    if plain is str:
        return _text(value, path)  # type: ignore[arg-type]
    if plain is int:
        return _printable_int(value, path)  # type: ignore[arg-type]
    if plain is bool or value is None:
        return value
    if plain is float:
        return _finite(value, path)  # type: ignore[arg-type]
    if depth > MAX_DEPTH:
        raise _NotJsonError(path, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key, path): encode(item, f"{path}.{_shown(key)}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    return _encode_rich(value, path, depth)


def _encode_rich(value: object, path: str, depth: int) -> Any:
    match value:
        case _Null():
            return None
        case Enum():
            return encode(value.value, path, depth + 1)
        case str():
            return _text(str.__str__(value), path)
        case int():
            return _printable_int(int(value), path)
        case float():
            return _finite(float(value), path)
        case Decimal():
            return _finite_decimal(value, path)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return f"PT{value.total_seconds():f}S"
        case UUID() | AnyUrl() | PurePath() | IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network():
            return _text(str(value), path)
        case bytes() | bytearray():
            return "\\x" + value.hex()
        case BaseModel():
            return encode(value.model_dump(by_alias=True), path, depth + 1)
        case _:
            raise _NotJsonError(
                path,
                value.belongs
                if isinstance(value, Deferred)
                else f"{type(value).__name__} has no JSON form; use str, int, float, bool, Decimal, datetime, date,"
                " UUID, Enum, bytes, a URL, an IP address, a path, a list, a mapping or a pydantic model",
            )


def _text(value: str, path: str) -> str:
    if "\0" in value:
        raise _NotJsonError(path, "PostgreSQL cannot store the NUL character; remove it")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _NotJsonError(path, "holds a lone surrogate, which is not valid Unicode text") from None
    return value


def _printable_int(value: int, path: str) -> int:
    if value.bit_length() > MAX_INT_BITS:
        raise _NotJsonError(path, "an integer of more than 4,300 digits has no JSON form in Python")
    return value


def _finite(value: float, path: str) -> float:
    if math.isfinite(value):
        return value
    raise _NotJsonError(path, f"{value} is not a JSON number; use NULL for a missing value")


def _finite_decimal(value: Decimal, path: str) -> str:
    if value.is_finite():
        return str(value)
    raise _NotJsonError(path, f"{value} is not a JSON number; use NULL for a missing value")


def _shown(key: object) -> str:
    """A key as it may stand in a message: as it is if it is plain, else quoted and cut."""
    return key if type(key) is str and key.isidentifier() and len(key) <= 80 else printable(key)


def _key(key: object, path: str) -> str:
    if isinstance(key, str):
        return _text(str.__str__(key), f"{path} (a key)")
    raise _NotJsonError(path, f"keys of a JSON object are strings, not {type(key).__name__}")


def distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The names in order of first appearance."""
    return tuple(dict.fromkeys(names))


def exact_number(text: str) -> float | Decimal:
    """The value of a JSON number with a point or an exponent: a float that prints the same value, else a Decimal.

    A float too for an exponent beyond Decimal's own, of 19 digits and more.
    """
    approximate = float(text)
    try:
        exact = Decimal(text)
    except InvalidOperation:
        return approximate
    return approximate if Decimal(repr(approximate)) == exact else exact


def exact_integer(text: str) -> int | Decimal:
    """The value of a JSON number without either: an int, or a Decimal where Python reads no int of this length."""
    try:
        return int(text)
    except ValueError:
        return Decimal(text)


def differ_in_keys(records: Sequence[Record]) -> bool:
    """Whether a record lacks a key that another one has."""
    return len(records) > 1 and any(record.keys() != records[0].keys() for record in records)
