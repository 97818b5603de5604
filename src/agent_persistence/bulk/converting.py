"""Texts of a CSV file as values of PostgreSQL's types. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from math import isfinite
from typing import Any, Final, NoReturn, TypeAlias

from agent_persistence.backends.memory.arrays import array_items
from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError
from agent_persistence.query.records import NULL, exact_integer, exact_number
from agent_persistence.schema.types import Family, family, short_name

Converter: TypeAlias = Callable[[str], Any]
"""Raises ValueError with the reason, which does not repeat the text."""


@cache
def converter(type_name: str) -> Converter | None:
    """What makes a JSON value of a text, or None where the text is the value.

    Nothing that PostgreSQL distinguishes is lost: a number becomes a JSON number only if it is spelled as one, so
    that `1.50` stays a text, which PostgreSQL reads.
    """
    plain = re.sub(r"\s*\([^)]*\)", "", type_name).strip().lower()
    if family(plain) is Family.ARRAY:
        return _array(plain)
    of_type = _BY_TYPE.get(short_name(plain))
    if of_type is None and is_of_times(plain):
        return check_moment
    return of_type(plain) if of_type else _BY_FAMILY.get(family(plain))


def strict_json(text: str | bytes) -> Any:
    """The JSON value with its numbers exact; ValueError for a key that is there twice, NaN, or what is no JSON."""
    try:
        return _decode(text if isinstance(text, str) else text.decode())
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("is no JSON that can be read: nested too deeply") from None


TOO_EXACT: Final = "holds a number with more digits than can be sent within a document; make it a text"


def is_rounded(value: Any) -> bool:
    """Whether a number in the document would arrive as another value: a record's JSON has none that no float holds."""
    if isinstance(value, dict):
        return any(map(is_rounded, value.values()))
    return any(map(is_rounded, value)) if isinstance(value, list) else isinstance(value, Decimal)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("holds a key twice")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"is no JSON: {name} is none of its values")


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=exact_number, parse_int=exact_integer, parse_constant=_no_constant
).decode

_INTEGER: Final = re.compile(r"([+-]?[0-9]{1,19})(?:\.0*)?", re.ASCII)
"""A whole number; what spreadsheets and pandas write of one, `12.0`, too."""
_DIGITS: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMERIC: Final = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE
)
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
BITS: Final = {
    "smallint": 15,
    "int2": 15,
    "integer": 31,
    "int": 31,
    "int4": 31,
    "bigint": 63,
    "int8": 63,
}
_BOOLEANS: Final = dict.fromkeys(["t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"], True) | dict.fromkeys(
    ["f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"], False
)
"""What parse_bool_with_len in PostgreSQL's bool.c reads, in any case."""
_CONSTANTS: Final = frozenset({"infinity", "-infinity", "epoch"})
_OF_THE_MOMENT: Final = re.compile(
    r"(?<![a-z])(?:now|today|tomorrow|yesterday|allballs)(?![a-z])", re.ASCII | re.IGNORECASE
)
"""Words of PostgreSQL's date/time input (datetktbl in datetime.c) that mean another value at another moment."""
_TIMES: Final = frozenset({"date", "timestamp", "timestamptz", "time", "timetz"})
_TIME_RANGES: Final = frozenset(f"{kind}{of}range" for kind in ("date", "ts", "tstz") for of in ("", "multi"))


def _whole(type_name: str) -> Converter:
    def convert(text: str) -> int:
        found = _INTEGER.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"is {type_name}, and this is no whole number")
        return in_range(int(found[1]), type_name)

    return convert


def in_range(number: int, type_name: str) -> int:
    """The number, if the integer type has it."""
    if not -(2 ** BITS[type_name]) <= number < 2 ** BITS[type_name]:
        raise ValueError(f"is {type_name}, and this number is outside of its range")
    return number


def _number(text: str) -> Any:
    try:
        number = float(text)
        if repr(number) == text and isfinite(number):
            return number
    except ValueError:
        pass
    if _DIGITS.fullmatch(text):
        return int(text)
    if _NUMERIC.fullmatch(text.strip()) is None:
        raise ValueError("is a number, and this is none")
    return text.strip()


def _boolean(text: str) -> bool:
    value = _BOOLEANS.get(text)
    if value is None:
        value = _BOOLEANS.get(text.strip().lower())
    if value is not None:
        return value
    raise ValueError("is boolean, and this is neither true nor false; t, true, y, yes, on, 1 are, and their contraries")


def _document(text: str) -> Any:
    """JSON's null becomes SQL's NULL, because a record has no other."""
    value = strict_json(text)
    if is_rounded(value):
        raise ValueError(TOO_EXACT)
    return NULL if value is None else value


def _array(type_name: str) -> Converter:
    """Of an array of one dimension the list of its elements; the server reads any other."""
    element = converter(type_name.removesuffix("[]").removeprefix("_")) or str

    def convert(text: str) -> Any:
        stripped = text.strip()
        try:
            items = strict_json(stripped) if stripped.startswith("[") and "={" not in stripped else array_items(text)
        except TwinCannotTellError:
            return check_moment(text) if is_of_times(type_name) else text
        except NotOfTypeError:
            raise ValueError("is an array, and this is neither {a,b} nor a JSON list") from None
        return [None if item is None else element(item) if isinstance(item, str) else item for item in items]

    return convert


def converter_of_items(element: Converter | None) -> Callable[[list[str]], list[Any]]:
    """What makes the values of an array of the texts of its items."""
    return list if element is None else lambda items: [element(item) for item in items]


def _uuid(text: str) -> str:
    stripped = text.strip()
    if _UUID.fullmatch(stripped):
        return stripped.lower()
    bare = stripped.strip("{}").replace("-", "")
    if re.fullmatch("[0-9a-fA-F]{32}", bare) is None:
        raise ValueError("is uuid, and this is none")
    return stripped


def _moment(kind: str, read: Callable[[str], Any]) -> Converter:
    def convert(text: str) -> str:
        try:
            read(text)
        except ValueError:
            stripped = text.strip()
            if stripped != text:
                return convert(stripped)
            check_moment(text)
            if text.lower() not in _CONSTANTS:
                raise ValueError(f"is {kind}, and this is not ISO 8601, such as {_LIKE[kind]}") from None
        return text

    return convert


def is_of_times(type_name: str) -> bool:
    """Whether values of the type are dates or times, arrays or ranges of them."""
    plain = re.sub(r"\s*\([^)]*\)", "", type_name).strip().lower()
    element = short_name(re.sub(r"(?:\[\d*\])+$", "", plain).removeprefix("_"))
    return element in _TIMES or element in _TIME_RANGES


def check_moments(value: Any) -> None:
    """`check_moment` of the value and of the elements of a list."""
    if isinstance(value, str):
        check_moment(value)
    elif isinstance(value, list):
        for element in value:
            check_moments(element)


def check_moment(text: str) -> str:
    """The text; ValueError where PostgreSQL would read the moment of the import out of it."""
    if _OF_THE_MOMENT.search(text):
        raise ValueError("holds a word, such as now or today, that means another time each day; write the date or time")
    return text


_LIKE: Final = {"date": "2026-01-31", "timestamp": "2026-01-31T12:00:00", "timestamptz": "2026-01-31T12:00:00Z"}


def _date(type_name: str) -> Converter:
    return _moment("date", date.fromisoformat)


def _timestamp(type_name: str) -> Converter:
    return _moment(short_name(type_name), datetime.fromisoformat)


_BY_TYPE: Final[dict[str, Callable[[str], Converter]]] = {
    **dict.fromkeys(BITS, _whole),
    "date": _date,
    "timestamp": _timestamp,
    "timestamptz": _timestamp,
    "uuid": lambda type_name: _uuid,
    "oid": lambda type_name: _number,
}
_BY_FAMILY: Final[dict[Family, Converter]] = {
    Family.NUMBER: _number,
    Family.BOOLEAN: _boolean,
    Family.JSON: _document,
}
