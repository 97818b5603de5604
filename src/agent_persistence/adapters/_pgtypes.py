"""PostgreSQL's types as far as the in-memory adapter follows them: JSON in, the JSON that PostgREST would print out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

MAX_NUMERIC_DIGITS: Final = 300
"""Beyond them a number would not fit into the float that stands for it in JSON."""
_TRUE: Final = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE: Final = frozenset({"f", "false", "n", "no", "off", "0"})
_RANGE: Final = {"smallint": 15, "integer": 31, "bigint": 63}
_INTEGER = re.compile(r"\s*[+-]?\d+\s*")
_MODIFIED = re.compile(r"numeric\((\d+),(\d+)\)")


class NotOfTypeError(ValueError):
    """The value is none of the type; `code` is PostgreSQL's SQLSTATE."""

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(problem)
        self.code = code


def cast(type_name: str, value: Any) -> Any:
    """The value as a column of this type stores and prints it, or NotOfTypeError."""
    if value is None:
        return None
    try:
        return _cast(type_name, value)
    except ArithmeticError:
        raise _invalid("22003", type_name) from None


def _cast(type_name: str, value: Any) -> Any:
    if type_name.endswith("[]"):
        return _array(type_name, value)
    if type_name in _RANGE:
        return _integer(type_name, value)
    if type_name.startswith("numeric"):
        return _numeric(type_name, value)
    convert = _CASTS.get(type_name)
    return value if convert is None else convert(value)


def timestamp(moment: datetime) -> str:
    """The moment as PostgREST prints a timestamptz on a server in UTC."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "+00:00"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _integer(type_name: str, value: Any) -> int:
    text = _text(value)
    if not _INTEGER.fullmatch(text):
        raise _invalid("22P02", type_name)
    number = int(text) if len(text) < 40 else 2**64
    if not -(2 ** _RANGE[type_name]) <= number < 2 ** _RANGE[type_name]:
        raise _invalid("22003", type_name)
    return number


def _numeric(type_name: str, value: Any) -> int | float:
    try:
        number = Decimal(_text(value).strip())
    except InvalidOperation:
        raise _invalid("22P02", "numeric") from None
    if not number.is_finite() or number.adjusted() > MAX_NUMERIC_DIGITS:
        raise _invalid("22003", "numeric")
    modified = _MODIFIED.fullmatch(type_name)
    if modified:
        precision, scale = map(int, modified.groups())
        number = number.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)
        if abs(number) >= Decimal(10) ** (precision - scale):
            raise _invalid("22003", "numeric")
    return int(number) if number == number.to_integral_value() and "." not in str(number) else float(number)


def _boolean(value: Any) -> bool:
    text = _text(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _invalid("22P02", "boolean")


def _uuid(value: Any) -> str:
    try:
        return str(UUID(_text(value)))
    except ValueError:
        raise _invalid("22P02", "uuid") from None


def _date(value: Any) -> str:
    try:
        return datetime.fromisoformat(_text(value).strip()).date().isoformat()
    except ValueError:
        raise _invalid("22007", "date") from None


def _timestamptz(value: Any) -> str:
    try:
        moment = datetime.fromisoformat(_text(value).strip())
    except ValueError:
        raise _invalid("22007", "timestamp with time zone") from None
    return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _array(type_name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid("22P02", "array")
    return [cast(type_name[:-2], item) for item in value]


_CASTS: Final[dict[str, Callable[[Any], Any]]] = {
    "text": _text,
    "boolean": _boolean,
    "uuid": _uuid,
    "date": _date,
    "timestamptz": _timestamptz,
}


def _invalid(code: str, type_name: str) -> NotOfTypeError:
    problem = "out of range for" if code == "22003" else "not valid input for"
    return NotOfTypeError(code, f"the value is {problem} type {type_name} ({code})")
