"""Functions of the in-memory adapter: Python callables in the place of the database's."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from agent_persistence.exceptions import (
    AdapterError,
    ConfigurationError,
    PersistenceError,
    UnsupportedOperationError,
    printable,
)
from agent_persistence.query.records import Record, encode_value

Function: TypeAlias = Callable[..., Any]
"""Takes JSON values by keyword and returns, or awaits, a value with a JSON form."""


def checked_functions(functions: Mapping[str, Function] | None) -> dict[str, Function]:
    """The functions by name; ConfigurationError for what cannot be called."""
    given: dict[Any, Any] = dict(functions or {})
    for name, function in given.items():
        if not isinstance(name, str) or not callable(function):
            raise ConfigurationError(f"functions maps names to callables; {printable(name)} is not such an entry")
    return given


async def called(functions: Mapping[str, Function], name: str, arguments: Record) -> Any:
    """What the function returns, as a JSON value that it shares with nobody.

    PGRST202 where no function has the name and takes these arguments. What it raises passes if it is an error of this
    package; else it is reported as rejected, by the name of its class.
    """
    function = _found(functions, name, arguments)
    with _rejected(name):
        value = function(**encode_value(name, arguments, "arguments"))
        if isinstance(value, Awaitable):
            value = await value
    return encode_value(name, value, "its value")


def called_within(functions: Mapping[str, Function], name: str, arguments: Record) -> Any:
    """The same within a transaction, which waits for nothing: an async function is refused, and not called."""
    function = _found(functions, name, arguments)
    if inspect.iscoroutinefunction(function):
        raise UnsupportedOperationError(name, "call", "in memory a unit of work calls no async function")
    with _rejected(name):
        value = function(**encode_value(name, arguments, "arguments"))
    return encode_value(name, value, "its value")


@contextmanager
def _rejected(name: str) -> Iterator[None]:
    try:
        yield
    except PersistenceError:
        raise
    except Exception as error:  # the boundary to a callable that others write
        raise AdapterError(f"the function {name} raised {type(error).__name__}") from error


def _found(functions: Mapping[str, Function], name: str, arguments: Record) -> Function:
    function = functions.get(name)
    if function is not None and _takes(function, arguments):
        return function
    there = ", ".join(sorted(functions)) or "none"
    raise AdapterError(
        f"there is no function {printable(name)} with the arguments ({', '.join(arguments)}); functions here: {there}",
        status=404,
        code="PGRST202",
    )


def _takes(function: Function, arguments: Record) -> bool:
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError:
        return False
    except ValueError:  # a builtin that does not show its signature
        return True
    return True
