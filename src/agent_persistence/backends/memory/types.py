"""PostgreSQL's types as far as the in-memory adapter follows them: what a text means, and what a JSON value becomes.

Stored values compare as PostgreSQL compares them: numbers are int or Decimal, times are texts whose order is that of
time, documents and arrays have a key. `printed` gives the JSON that the REST interface would send.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Final, NoReturn

from pydantic_core import to_json

from agent_persistence.backends.memory.addresses import address_key, read_cidr, read_inet
from agent_persistence.backends.memory.arrays import array_items
from agent_persistence.backends.memory.bytes_text import read_bytes
from agent_persistence.backends.memory.documents import JSON_NULL, document, document_key, read_document
from agent_persistence.backends.memory.numbers import (
    add_doubles,
    add_exactly,
    add_singles,
    number,
    read_double,
    read_integer,
    read_numeric,
    read_real,
    round_numeric,
)
from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError
from agent_persistence.backends.memory.times import read_date, read_time, read_timestamp, read_timestamptz
from agent_persistence.schema.types import BUILT_IN, base_name

_BLANK: Final = " \t\n\r\v\f"


@dataclass(frozen=True, slots=True, eq=False)
class PgType:
    """One type: `read` is its input function, `store` casts a JSON value as a column of the type does.

    `key` turns a stored value into what is compared, where that is not the value itself.
    """

    kind: str
    """text, boolean, number, time, uuid, array, jsonb, json, enum; scalar: compared and ordered, and no other operator
    is followed; any: no type at all; refused: a type of PostgreSQL's that is not followed; unknown: none of its own,
    whose values are kept as they are.
    """
    read: Callable[[str], Any]
    store: Callable[[Any], Any]
    key: Callable[[Any], Any] | None = None
    element: PgType | None = None
    add: Callable[[Any, Any], str] | None = None
    """The sum of two stored numbers, as a text that `store` reads."""


def sent(value: Any) -> str:
    """The text in which a JSON value reaches the database."""
    return value if isinstance(value, str) else to_json(value).decode()


def printed(value: Any) -> Any:
    """The JSON of a stored value; it shares nothing mutable with it."""
    match value:
        case None | str() | int() | float():
            return value
        case _ if value is JSON_NULL:
            return None
        case list():
            return [printed(item) for item in value]
        case dict():
            return {key: printed(item) for key, item in value.items()}
        case _:
            return number(value)


@cache
def pg_type(name: str) -> PgType:
    """The type of this name; its modifiers, as in numeric(12,2), count in `store` only."""
    if name == "any":
        return _ANY
    plain = name.strip().lower().removeprefix("pg_catalog.")
    found = _NAME.fullmatch(f"{plain[1:]}[]" if plain.startswith("_") and plain != "_char" else plain)
    if found is None:
        return _refused(name) if base_name(name) in BUILT_IN else _UNKNOWN
    base, modifier, dimensions = found.groups()
    scalar = _scalar(_ALIASES.get(base, base), modifier)
    return scalar if not dimensions or scalar.kind in ("unknown", "refused") else _array_of(scalar)


@cache
def enum_type(name: str, labels: tuple[str, ...]) -> PgType:
    """The enum of these labels, whose order is theirs (enum_in in enum.c, enum_cmp)."""
    places = {label: place for place, label in enumerate(labels)}

    def read(text: str) -> str:
        if text not in places:
            raise NotOfTypeError("22P02", name)
        return text

    return PgType("enum", read, lambda value: read(sent(value)), places.__getitem__)


def _scalar(name: str, modifier: str | None) -> PgType:
    has_length = modifier or name == "character"
    known = _modified(name, modifier or "1") if has_length else _TYPES.get(name)
    return known or (_refused(name) if base_name(name) in BUILT_IN else _UNKNOWN)


def _modified(name: str, modifier: str) -> PgType | None:
    first, _, second = modifier.partition(",")
    match name:
        case "character varying":
            return _plain("text", str, partial(_cut, int(first)))
        case "character" | "bpchar":
            return replace(_TYPES["bpchar"], store=lambda value: _padded(int(first), sent(value)))
        case "numeric":
            return _plain("number", read_numeric, partial(_rounded, int(first), int(second or 0)))
    return None


def _refused(name: str) -> PgType:
    """A type of which no value is taken."""

    def refuse(_: object) -> NoReturn:
        raise TwinCannotTellError(f"values of type {name}")

    return PgType("refused", refuse, refuse)


def _plain(kind: str, read: Callable[[str], Any], modify: Callable[[Any], Any] | None = None) -> PgType:
    """A scalar type, which takes the text of any JSON value."""
    store = (lambda value: read(sent(value))) if modify is None else (lambda value: modify(read(sent(value))))
    return PgType(kind, read, store, add=add_exactly if kind == "number" else None)


def _array_of(element: PgType) -> PgType:
    is_document = element.kind in ("jsonb", "json")

    def read(text: str, of_item: Callable[[str], Any] = element.read) -> list[Any]:
        return [None if item is None else of_item(item) for item in array_items(text)]

    def store(value: Any) -> list[Any]:
        if isinstance(value, str):
            return read(value, element.read if is_document else element.store)
        if not isinstance(value, list):
            raise NotOfTypeError("22P02", "array")
        if any(isinstance(item, list) for item in value) and not is_document:
            raise TwinCannotTellError("arrays of more than one dimension")
        return [None if item is None else element.store(item) for item in value]

    def key(items: list[Any]) -> tuple[Any, ...]:
        """Element by element, NULL above every value; the shorter of two that agree comes first."""
        value_key = element.key
        return tuple((item is None, value_key(item) if value_key and item is not None else item) for item in items)

    return PgType("array", read, store, key, element)


def _cut(length: int, text: str) -> str:
    if len(text) > length and text[length:].strip(" "):
        raise NotOfTypeError("22001", f"character varying({length})")
    return text[:length]


def _padded(length: int, text: str) -> str:
    """char(n): blanks fill it up, and too many of them are cut off (bpchar_input in varchar.c)."""
    if len(text) > length and text[length:].strip(" "):
        raise NotOfTypeError("22001", f"character({length})")
    return text[:length].ljust(length)


def _unpadded(text: str) -> str:
    return text.rstrip(" ")


def _rounded(precision: int, scale: int, value: Any) -> Any:
    return round_numeric(value, precision, scale)


def _read_boolean(text: str) -> bool:
    """Any beginning of true, false, yes and no counts (`parse_bool_with_len` in bool.c)."""
    word = text.strip(_BLANK).lower()
    if word and (word in ("on", "1") or "true".startswith(word) or "yes".startswith(word)):
        return True
    if word and (word in ("of", "off", "0") or "false".startswith(word) or "no".startswith(word)):
        return False
    raise NotOfTypeError("22P02", "boolean")


_UUID: Final = re.compile(r"(\{)?((?:[0-9a-f]{4}-?){7}[0-9a-f]{4})(?(1)\})", re.IGNORECASE | re.ASCII)


def _read_uuid(text: str) -> str:
    """Hyphens may stand behind every four digits, braces around all (`string_to_uuid` in uuid.c)."""
    found = _UUID.fullmatch(text)
    if found is None:
        raise NotOfTypeError("22P02", "uuid")
    digits = found.group(2).replace("-", "").lower()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


_ANY: Final = PgType("any", str, lambda value: value)
_UNKNOWN: Final = PgType("unknown", str, lambda value: value)
_NAME: Final = re.compile(r"([a-z][a-z0-9 ]*?)(?:\((\d+(?:,\s*-?\d+)?)\))?(\[\])?")
_ALIASES: Final = {
    "bool": "boolean",
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "decimal": "numeric",
    "float": "double precision",
    "float4": "real",
    "float8": "double precision",
    "char": "character",
    "varchar": "character varying",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
_TYPES: Final = {
    "text": _plain("text", str),
    "character varying": _plain("text", str),
    "bpchar": replace(_plain("text", str), key=_unpadded),
    "boolean": _plain("boolean", _read_boolean),
    "smallint": _plain("number", partial(read_integer, "smallint", 15)),
    "integer": _plain("number", partial(read_integer, "integer", 31)),
    "bigint": _plain("number", partial(read_integer, "bigint", 63)),
    "numeric": _plain("number", read_numeric, round_numeric),
    "real": replace(_plain("number", read_real), add=add_singles),
    "double precision": replace(_plain("number", read_double), add=add_doubles),
    "uuid": _plain("uuid", _read_uuid),
    "bytea": _plain("scalar", read_bytes),
    "inet": replace(_plain("scalar", read_inet), key=address_key),
    "cidr": PgType("scalar", read_inet, lambda value: read_cidr(sent(value)), address_key),
    "date": _plain("time", read_date),
    "time without time zone": _plain("time", read_time),
    "timestamp without time zone": _plain("time", read_timestamp),
    "timestamp with time zone": _plain("time", read_timestamptz),
    "jsonb": PgType("jsonb", read_document, document, document_key),
    "json": PgType("json", read_document, deepcopy),
}
