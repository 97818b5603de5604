"""jsonb: documents with exact numbers, their order, equality and containment."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import to_json

from agent_persistence.adapters._numbers import read_numeric, round_numeric
from agent_persistence.adapters._sqlstate import NotOfTypeError, TwinCannotTellError


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
    except ValueError:
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
    """What orders documents and tells equal ones (compareJsonbContainers in jsonb_util.c).

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
        case None:
            return (0,)
        case str():
            return (1, value)
        case bool():
            return (3, value)
        case list():
            return (4, len(value), *map(_nested_key, value))
        case dict():
            return (5, len(value), *((key, _nested_key(value[key])) for key in sorted(value, key=_key_order)))
        case _:
            return (2, value)


def _key_order(key: str) -> tuple[int, bytes]:
    encoded = key.encode()
    return (len(encoded), encoded)


def contains(outer: Any, inner: Any) -> bool:
    """`@>`: an array contains the elements of another in any order and number, and a lone scalar.

    https://www.postgresql.org/docs/current/datatype-json.html#JSON-CONTAINMENT
    """
    match outer, inner:
        case dict(), dict():
            return all(key in outer and _nested_contains(outer[key], item) for key, item in inner.items())
        case list(), list():
            return all(any(_nested_contains(element, item) for element in outer) for item in inner)
        case (list(), dict()) | (dict(), list()):
            return False
        case list(), _:
            return any(_same(element, inner) for element in outer)
        case _:
            return _same(outer, inner)


def _nested_contains(outer: Any, inner: Any) -> bool:
    """Below the top an array contains no lone scalar."""
    if isinstance(outer, list) and not isinstance(inner, list):
        return False
    return contains(outer, inner)


def _same(left: Any, right: Any) -> bool:
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)
