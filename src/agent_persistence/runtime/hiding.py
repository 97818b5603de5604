"""Secrets, in a process whose errors are collected with the variables of every frame.

The rule: no frame through which an exception can pass has a secret in a variable, unless as a SecretStr. What reads one
as plain text either raises nothing, or hands it on within one expression.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar, overload

from pydantic import SecretBytes, SecretStr

T = TypeVar("T")


@overload
def hidden(value: str | SecretStr) -> SecretStr: ...


@overload
def hidden(value: bytes | SecretBytes) -> SecretBytes: ...


@overload
def hidden(value: T) -> T: ...


def hidden(value: Any) -> Any:
    """A text as a SecretStr, bytes as SecretBytes; anything else as it is, for others to refuse."""
    if isinstance(value, str):
        return SecretStr(value)
    return SecretBytes(value) if isinstance(value, bytes) else value


class Unpicklable:
    """Holds a secret, which a pickle would write down, and so is neither pickled nor copied that way."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret, and is not pickled; make it anew where it is needed")
