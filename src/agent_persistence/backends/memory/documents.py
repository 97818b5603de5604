"""jsonb: documents with exact numbers, their order, equality and containment."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeAlias

from pydantic_core import to_json

from agent_persistence.backends.memory.numbers import read_numeric, round_numeric
from agent_persistence.backends.memory.refusals import NotOfTypeError, TwinCannotTellError


class _JsonNull(Enum):
    JSON_NULL = "null"


JSON_NULL: Final = _JsonNull.JSON_NULL
"""The document `null` as a value of its own, where None is SQL's NULL."""


def document(value: Any) -> Any:
    """The JSON value with its numbers as numeric holds them. It shares nothing mutable with the original."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return round_numeric(read_numeric(to_json(value).decode()))
        case list():
            return [document(item) for item in value]
        case dict():
            return {key: document(item) for key, item in value.items()}
        case _:
            return value


def read_document(text: str) -> Any:
    """jsonb_in: strict JSON; the last of equal keys counts."""
    try:
        value = json.loads(text, parse_float=read_numeric, parse_int=read_numeric, parse_constant=_no_json)
    except RecursionError:
        raise TwinCannotTellError("documents nested this deep") from None
    except NotOfTypeError:
        raise
    except ValueError as error:
        vars(error).pop("doc", None)  # the whole text, which whoever walks the causes would see
        raise NotOfTypeError("22P02", "json") from None
    if "\\u" in text:
        _check_texts(value)
    return value


def _no_json(_: str) -> None:
    raise NotOfTypeError("22P02", "json")


def _check_texts(value: Any) -> None:
    match value:
        case str() if "\0" in value:
            raise NotOfTypeError("22P05", "json")
        case str() if any("\ud800" <= character <= "\udfff" for character in value):
            raise NotOfTypeError("22P02", "json")
        case list():
            for item in value:
                _check_texts(item)
        case dict():
            for key, item in value.items():
                _check_texts(key)
                _check_texts(item)


def document_key(value: Any) -> tuple[Any, ...]:
    """What orders documents and recognises equal ones (compareJsonbContainers in jsonb_util.c).

    Object > array > boolean > number > text > null, longer ones above shorter ones; a lone scalar counts as an array
    of one element, just below a real one, so that an empty array comes before it.
    """
    if isinstance(value, list):
        return (4, len(value), 1, *map(_nested_key, value))
    if isinstance(value, dict):
        return _nested_key(value)
    return (4, 1, 0, _nested_key(value))


def _nested_key(value: Any) -> tuple[Any, ...]:
    match value:
        case None | _JsonNull():
            return (0,)
        case str():
            return (1, value)
        case bool():
            return (3, value)
        case list():
            return (4, len(value), *map(_nested_key, value))
        case dict():
            return (5, len(value), *((key, _nested_key(value[key])) for key in sorted(value, key=key_order)))
        case _:
            return (2, value)


def key_order(key: str) -> tuple[int, bytes]:
    """What orders the keys of an object: their length first."""
    encoded = key.encode()
    return (len(encoded), encoded)


DocumentTest: TypeAlias = Callable[[Any], bool]
_ABSENT: Final = object()


def contains(outer: Any, inner: Any) -> bool:
    """`@>`: an array contains the elements of another in any order and number, and a lone scalar.

    https://www.postgresql.org/docs/current/datatype-json.html#JSON-CONTAINMENT
    """
    return containing(inner)(outer)


def containing(inner: Any) -> DocumentTest:
    """`contains` of this one document, which is looked at once for all outer ones."""
    if isinstance(inner, (dict, list)):
        return _nested(inner)
    same = _nested(None if inner is JSON_NULL else inner)
    return lambda outer: any(map(same, outer)) if isinstance(outer, list) else same(outer)


def _nested(inner: Any) -> DocumentTest:
    """Below the top an array contains no lone scalar."""
    match inner:
        case dict():
            return _all_entries([_entry(key, item) for key, item in inner.items()])
        case list():
            elements = [_nested(item) for item in inner]
            return lambda outer: isinstance(outer, list) and all(any(map(element, outer)) for element in elements)
        case None | bool():
            return lambda outer: outer is inner
        case str():
            return lambda outer: bool(outer == inner)
        case _:
            return lambda outer: bool(outer == inner) and not isinstance(outer, bool)


def _all_entries(entries: list[DocumentTest]) -> DocumentTest:
    if len(entries) == 1:
        (entry,) = entries
        return lambda outer: isinstance(outer, dict) and entry(outer)
    return lambda outer: isinstance(outer, dict) and all(entry(outer) for entry in entries)


def _entry(key: str, item: Any) -> Callable[[dict[str, Any]], bool]:
    """Whether an object has the entry; where equality is all there is to it, without a call for the value."""
    if isinstance(item, str):
        return lambda outer: outer.get(key, _ABSENT) == item
    test = _nested(item)
    return lambda outer: key in outer and test(outer[key])
