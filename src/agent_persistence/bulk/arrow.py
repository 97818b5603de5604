"""Arrow's values as JSON values for a column of PostgreSQL's.

One value that has no such form is an Unfit in its place, so that it costs its row and no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from functools import partial
from importlib import import_module
from itertools import pairwise, repeat
from math import isfinite
from typing import Any, Final, TypeAlias
from uuid import UUID

from agent_persistence.bulk.arrow_times import clock, day, moment, span
from agent_persistence.bulk.converting import (
    BITS,
    TOO_EXACT,
    check_moment,
    in_range,
    is_of_times,
    is_rounded,
    strict_json,
)
from agent_persistence.query.records import exact_number
from agent_persistence.schema.types import Family, family, short_name

Reading: TypeAlias = Callable[[Any], list[Any]]
"""The values of an array, None for those that are missing."""
ANY: Final = "any"
DOCUMENT: Final = "json"


@dataclass(frozen=True, slots=True)
class Unfit:
    """A value that cannot be stored as it is, and why."""

    reason: str
    value: Any

    def __str__(self) -> str:
        return str(self.value)


class UnknownTypeError(Exception):
    """A type of Arrow's without a form in PostgreSQL."""


def leaves(kind: Any) -> int:
    """How many columns Parquet stores the type in."""
    types = _types()
    if types.is_map(kind):
        return leaves(kind.key_type) + leaves(kind.item_type)
    if hasattr(kind, "storage_type"):
        return leaves(kind.storage_type)
    if types.is_struct(kind):
        return sum(leaves(kind.field(place).type) for place in range(kind.num_fields))
    return leaves(kind.value_type) if _is_list(kind) else 1


def reading(kind: Any, declared: str, documents: Iterator[bool]) -> Reading:
    """What reads arrays of the type for a column of the declared one. `documents` says of each column that Parquet
    stores, in its order, whether its texts are JSON."""
    types = _types()
    if hasattr(kind, "storage_type"):
        return _of_extension(kind, declared, documents)
    if types.is_dictionary(kind):
        values = reading(kind.value_type, declared, documents)
        return lambda array: values(array.dictionary_decode())
    if types.is_map(kind):
        return _of_map(kind, documents)
    if types.is_struct(kind):
        return _of_struct(kind, documents)
    if _is_list(kind):
        elements = reading(kind.value_type, element_type(declared), documents)
        return lambda array: [_whole(part) for part in _parts(array, elements(array.flatten()))]
    return _of_scalars(kind, short_name(plain(declared)), is_document=next(documents))


def plain(type_name: str) -> str:
    return re.sub(r"\s*\([^)]*\)", "", type_name).strip().lower()


def element_type(declared: str) -> str:
    """The type of an array's elements; that of a document's parts is a document, and nothing is known of others."""
    name = plain(declared)
    return re.sub(r"(\[\d*\])+$", "", name).removeprefix("_") if family(name) is Family.ARRAY else name


def _is_list(kind: Any) -> bool:
    types = _types()
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _types() -> Any:
    return import_module("pyarrow.types")


def _of_extension(kind: Any, declared: str, documents: Iterator[bool]) -> Reading:
    name = kind.extension_name
    if name == "arrow.json":
        next(documents)
        values = _of_scalars(kind.storage_type, declared, is_document=True)
    else:
        values = reading(kind.storage_type, "uuid" if name == "arrow.uuid" else declared, documents)
    return lambda array: values(array.storage)


def _of_struct(kind: Any, documents: Iterator[bool]) -> Reading:
    names = [kind.field(place).name for place in range(kind.num_fields)]
    fields = [reading(kind.field(place).type, DOCUMENT, documents) for place in range(kind.num_fields)]
    if len({*names}) < len(names):
        raise UnknownTypeError("a struct with a field twice")

    def values(array: Any) -> list[Any]:
        columns = [read(part) for read, part in zip(fields, array.flatten(), strict=True)]
        rows = zip(*columns, strict=True) if columns else repeat((), len(array))
        present = array.is_valid().to_pylist()
        return [_object(names, row) if there else None for row, there in zip(rows, present, strict=True)]

    return values


def _of_map(kind: Any, documents: Iterator[bool]) -> Reading:
    """Objects where the keys are texts, else lists of pairs, as in JSON nothing but a text can be a key."""
    keys, items = reading(kind.key_type, DOCUMENT, documents), reading(kind.item_type, DOCUMENT, documents)

    def values(array: Any) -> list[Any]:
        pairs = list(zip(keys(array.keys), items(array.items), strict=True))
        ends = pairwise(array.offsets.to_pylist())
        present = array.is_valid().to_pylist()
        return [
            _mapping(pairs[start:end]) if there else None for (start, end), there in zip(ends, present, strict=True)
        ]

    return values


def _parts(array: Any, flat: Sequence[Any]) -> Iterator[Sequence[Any] | None]:
    """The elements of each list, out of those of all."""
    start = 0
    for length in import_module("pyarrow.compute").list_value_length(array).to_pylist():
        yield None if length is None else flat[start : start + length]
        start += length or 0


def _whole(values: Sequence[Any] | None) -> Any:
    """The list, or the first of its values that does not fit."""
    if values is None:
        return None
    return next((value for value in values if type(value) is Unfit), values)


def _object(names: Sequence[str], values: Sequence[Any]) -> Any:
    unfit = next((value for value in values if type(value) is Unfit), None)
    return unfit or dict(zip(names, values, strict=True))


def _mapping(pairs: Sequence[tuple[Any, Any]]) -> Any:
    unfit = next((value for pair in pairs for value in pair if type(value) is Unfit), None)
    if unfit is not None:
        return unfit
    if not all(isinstance(key, str) for key, _ in pairs):
        return [list(pair) for pair in pairs]
    made = dict(pairs)
    return made if len(made) == len(pairs) else Unfit("holds a key twice", pairs)


def _of_scalars(kind: Any, declared: str, *, is_document: bool) -> Reading:
    types, pyarrow = _types(), import_module("pyarrow")
    unit = getattr(kind, "unit", "")
    if types.is_timestamp(kind):
        read = partial(moment, unit=unit, zone=_zone(kind))
        return _each(partial(_day_only, read) if declared == "date" else read, pyarrow.int64())
    if types.is_date32(kind):
        return _each(day, pyarrow.int32())
    if types.is_date64(kind):
        return _each(lambda count: day(count // 86_400_000), pyarrow.int64())
    if types.is_time32(kind) or types.is_time64(kind):
        return _each(partial(clock, unit=unit), pyarrow.int32() if types.is_time32(kind) else pyarrow.int64())
    if types.is_duration(kind):
        return _each(partial(span, unit=unit), pyarrow.int64())
    if types.is_floating(kind) or types.is_integer(kind):
        return _of_numbers(kind, declared)
    if types.is_decimal(kind):
        return _each(partial(_number, declared=declared))
    if _is_text(kind):
        return _of_documents if is_document else _of_moments if is_of_times(declared) else _of_texts
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return _each(_document if is_document else partial(_bytes, declared=declared))
    if types.is_boolean(kind) or types.is_null(kind):
        return _each(partial(_boolean, declared=declared))
    raise UnknownTypeError(str(kind))


def _of_numbers(kind: Any, declared: str) -> Reading:
    """Most arrays hold nothing but finite numbers, which one question shows."""
    pyarrow, compute = import_module("pyarrow"), import_module("pyarrow.compute")
    one_by_one = _each(partial(_number, declared=declared))

    def values(array: Any) -> list[Any]:
        numbers = array.cast(pyarrow.float64()) if _types().is_floating(kind) else array
        if declared in BITS or compute.all(compute.is_finite(numbers)).as_py() is False:
            return one_by_one(numbers)
        return list(numbers.to_pylist())

    return values


def _is_text(kind: Any) -> bool:
    types = _types()
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _zone(kind: Any) -> tzinfo | None:
    if kind.tz is None:
        return None
    zone: tzinfo = import_module("pyarrow").scalar(0, kind).as_py().tzinfo
    return zone


def _each(convert: Callable[[Any], Any], of: Any = None) -> Reading:
    """Every value for itself, of the array as one of the type `of`."""

    def values(array: Any) -> list[Any]:
        return [
            None if value is None else _fit(convert, value) for value in (array.cast(of) if of else array).to_pylist()
        ]

    return values


def _fit(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except ValueError as problem:
        return Unfit(str(problem), value)


def _of_texts(array: Any) -> list[Any]:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return _each(_text)(array.cast(import_module("pyarrow").large_binary()))


def _of_moments(array: Any) -> list[Any]:
    return [_fit(check_moment, text) if isinstance(text, str) else text for text in _of_texts(array)]


def _of_documents(array: Any) -> list[Any]:
    return _each(_document)(array.cast(import_module("pyarrow").large_binary()))


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("holds bytes that are not utf-8") from None


def _document(value: bytes) -> Any:
    document = strict_json(_text(value))
    if is_rounded(document):
        raise ValueError(TOO_EXACT)
    return document


def _number(value: float | Decimal, declared: str) -> Any:
    if declared in BITS:
        return in_range(_integer(value, declared), declared)
    is_finite = value.is_finite() if isinstance(value, Decimal) else isfinite(value)
    if not is_finite and family(declared) is not Family.NUMBER:
        raise ValueError(
            "is not a finite number, which only a column that is declared as a number can hold; write null"
        )
    if not is_finite:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Decimal) and family(declared) is Family.JSON:
        number = exact_number(str(value))
        if isinstance(number, Decimal):
            raise ValueError(TOO_EXACT)
        return number
    return value


def _integer(value: float | Decimal, declared: str) -> int:
    try:
        if value == (whole := int(value)):
            return whole
    except (ValueError, OverflowError):  # NaN and infinity
        pass
    raise ValueError(f"is {declared}, and this is no whole number")


def _boolean(value: Any, declared: str) -> Any:
    if family(declared) is Family.NUMBER:
        raise ValueError("is a number, and this is true or false")
    return value


def _bytes(value: bytes, declared: str) -> str:
    if declared == "uuid":
        if len(value) != 16:
            raise ValueError("is uuid, which has 16 bytes")
        return str(UUID(bytes=value))
    if declared not in (ANY, "bytea", *_DOCUMENTS):
        raise ValueError(f"is {declared}, and the file has bytes that it does not call a text; cast them to one")
    return "\\x" + value.hex()


_DOCUMENTS: Final = ("json", "jsonb")


def _day_only(read: Callable[[Any], str], count: int) -> str:
    text = read(count)
    if "T00:00:00" not in text or "T00:00:00." in text:
        raise ValueError("is date, and this has a time of day, which would be lost")
    return text
