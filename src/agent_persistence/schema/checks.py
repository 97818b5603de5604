"""What is wrong with a declaration, where it stands, and what may have been meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from agent_persistence.exceptions import ConfigurationError, ValidationError, printable
from agent_persistence.query.identifiers import base_column, is_name, is_path
from agent_persistence.query.records import encode_value

T = TypeVar("T")
_MOST_MEANT: Final = 200
"""As in `exceptions`."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """ ": did you mean 'email'?", or nothing where no known name is close."""
    meant = get_close_matches(name[:_MOST_MEANT], list(known), n=1) if isinstance(name, str) else []
    return f": did you mean {printable(meant[0])}?" if meant else ""


@contextmanager
def located(place: str) -> Iterator[None]:
    """Begin the message of a ConfigurationError with the place."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from error.__cause__


def entries(given: object, *, known: Collection[str] | None = None, needed: Iterable[str] = ()) -> dict[str, Any]:
    """The entries of a mapping with str keys, which are all of `known` and among them `needed`."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"a mapping is needed here, not {type(given).__name__}")
    for key in given:
        if not isinstance(key, str) or (known is not None and key not in known):
            allowed = f"; keys are {', '.join(known)}" if known is not None else ""
            raise ConfigurationError(f"unknown key {printable(key)}{did_you_mean(key, known or ())}{allowed}")
    missing = [key for key in needed if key not in given]
    if missing:
        raise ConfigurationError(f"{', '.join(missing)} is missing")
    return dict(given)


def items(given: object) -> list[Any]:
    """The items of a list."""
    if not isinstance(given, (list, tuple)):
        raise ConfigurationError(f"a list is needed here, not {type(given).__name__}")
    return list(given)


def several(option: str, given: object) -> tuple[Any, ...]:
    """The items of a collection; a bare str is none, nor is a mapping."""
    if isinstance(given, (str, Mapping)) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{option} is a list, not {type(given).__name__}")
    return tuple(given)


def words(option: str, given: object) -> tuple[str, ...]:
    """The items of a collection of str."""
    found = several(option, given)
    for item in found:
        if type(item) is not str:
            raise ConfigurationError(f"{option} holds {type(item).__name__}; it is a list of str")
        _check_text(option, item)
    return found


def declared(option: str, given: object, kind: type[T]) -> dict[str, T]:
    """The entries of a mapping to values of one class."""
    with located(option):
        found = entries(given)
    for name, value in found.items():
        if not isinstance(value, kind):
            raise ConfigurationError(f"{option}: {printable(name)} is a {kind.__name__}, not {type(value).__name__}")
    return found


def check_word(option: str, given: object) -> None:
    """Refuse what is not a str with something in it."""
    if type(given) is not str or not given.strip():
        raise ConfigurationError(f"{option} is a text that is not empty, not {printable(given)}")
    _check_text(option, given)


def check_flag(option: str, given: object) -> None:
    """Refuse what is neither True nor False."""
    if type(given) is not bool:
        raise ConfigurationError(f"{option} is true or false, not {type(given).__name__}")


def check_table_name(name: object) -> None:
    """Refuse a name that PostgreSQL could not give to a table."""
    if not is_name(name):
        raise ConfigurationError(f"{printable(name)} is no name of a table; it is a text of 1 to 63 bytes without NUL")


def check_column_name(name: object) -> None:
    """Refuse a name that PostgreSQL could not give to a column."""
    if type(name) is not str or not name:
        raise ConfigurationError(f"{printable(name)} is no name of a column; it is a text that is not empty")
    _check_text("a column", name)
    if is_path(name):
        raise ConfigurationError(
            f"{printable(name)} is a path of {printable(base_column(name))}; it belongs into `paths`"
        )


def check_path(path: str, types: Mapping[str, str]) -> None:
    """Refuse what is no path of a json or jsonb column; `types` are the columns' types."""
    if not is_path(path):
        raise ConfigurationError(
            f"paths: {printable(path)} is no path; write column->>key for a text, column->key for JSON, and"
            " column->key->>key below that; a key is made of letters, digits and _, or is the number of an element"
        )
    base = base_column(path)
    check_column("paths", base, types)
    if types[base] not in ("json", "jsonb"):
        raise ConfigurationError(f"paths: {path} reads {base}, which is {types[base]}; only json and jsonb have paths")


def check_column(option: str, name: str, columns: Collection[str]) -> None:
    """Refuse a name that is none of the columns."""
    if name not in columns:
        raise ConfigurationError(
            f"{option}: no column {printable(name)}{did_you_mean(name, columns)}; columns are {', '.join(columns)}"
        )


def json_value(option: str, given: object) -> Any:
    """The value in JSON form, sharing nothing with the one given."""
    try:
        return encode_value(option, given, option)
    except ValidationError as error:
        raise ConfigurationError(error.problems[0]) from None


def check_known(option: str, names: Iterable[str], tables: Collection[str]) -> None:
    """Refuse names that are none of the tables."""
    for name in names:
        if name not in tables:
            raise ConfigurationError(f"{option}: no table {printable(name)}{did_you_mean(name, tables)}")


def _check_text(option: str, text: str) -> None:
    with_lone_surrogate = not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
    if "\0" in text or with_lone_surrogate:
        raise ConfigurationError(f"{option}: {printable(text)} holds a character that PostgreSQL cannot store")
