"""Operations as keys of a cache: two have the same one only if they are equal in type and value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from hashlib import sha256
from typing import Any, Final

from agent_persistence.operations import Operation


def fingerprint(operation: Operation) -> bytes | None:
    """SHA-256 of all that the operation asks for; None for one that holds no plain JSON.

    `==` would not do: it takes 1, 1.0 and True for the same, and dicts have no hash.
    """
    try:
        return sha256("".join(_pieces(operation)).encode("utf-8", "surrogatepass")).digest()
    except _UnknownTypeError:
        return None


class _UnknownTypeError(Exception):
    """A value of a type whose equality nobody here knows; a subclass of str may say it equals anything."""


def _pieces(value: Any) -> Iterator[str]:
    """The value in pieces of a text from which it could be read again: each begins with its type, or its length."""
    plain = type(value)
    spell = _SCALARS.get(plain)
    if spell is not None:
        yield spell(value)
    elif plain is tuple or plain is list:
        yield f"{'(' if plain is tuple else '['}{len(value)}:"
        yield from _each(value)
    elif plain is dict:
        yield f"{{{len(value)}:"
        yield from _each(part for entry in value.items() for part in entry)
    elif isinstance(value, Enum):
        yield f"e{_name(plain)}.{value.name};"
    elif is_dataclass(plain):
        yield f"c{_name(plain)};"
        yield from _each(getattr(value, name) for name in _compared(plain))
    else:
        raise _UnknownTypeError


def _each(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        spell = _SCALARS.get(type(value))
        if spell is None:
            yield from _pieces(value)
        else:
            yield spell(value)


_SCALARS: Final[dict[type, Callable[[Any], str]]] = {
    type(None): lambda _: "n",
    bool: lambda value: "t" if value else "f",
    int: lambda value: f"i{value:x};",
    float: lambda value: f"r{value!r};",
    Decimal: lambda value: f"d{value};",
    str: lambda value: f"s{len(value)}:{value}",
}


@cache
def _compared(plain: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(plain) if field.compare)


def _name(plain: type) -> str:
    return f"{plain.__module__}.{plain.__qualname__}"
