"""What a caller says of one table of a context; what is not said is taken from the schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.identifiers import is_identifier
from agent_persistence.schema.checks import (
    check_column_name,
    check_flag,
    check_table_name,
    did_you_mean,
    located,
    several,
    words,
)

Columns: TypeAlias = str | Iterable[str]
"""A column, or several of them in order."""


@dataclass(frozen=True, slots=True, init=False)
class Parent:
    """`columns` of a record hold what `references`, by default the key, holds in the row of `table` it belongs to.

    `shown_as` is the name under which a record shows a parent that it does not stand under: by default the column
    without `_id`.
    """

    columns: tuple[str, ...]
    table: str
    references: tuple[str, ...] | None
    shown_as: str | None

    def __init__(
        self, columns: Columns, table: str, *, references: Columns | None = None, shown_as: str | None = None
    ) -> None:
        check_table_name(table)
        held = _columns("columns", columns)
        named = None if references is None else _columns("references", references)
        if not held or (named is not None and len(named) != len(held)):
            raise ConfigurationError(f"a parent in {table} needs as many references as columns, and one of each")
        if shown_as is not None:
            _check_name("shown_as", shown_as)
        for name, value in (("columns", held), ("table", table), ("references", named), ("shown_as", shown_as)):
            object.__setattr__(self, name, value)


Parents: TypeAlias = Mapping[Any, str] | Iterable[Parent]
"""Tables by the column, or the tuple of columns, that names a row of them; or the same as values."""


@dataclass(frozen=True, slots=True, init=False)
class Entity:
    """One table of a context: how its rows hang together with others, and how a prompt shows them.

    A record stands under the first parent that is another table; `parent={"ticket_id": "tickets", "author": "users"}`
    puts a comment under its ticket and shows its author by reference. A parent of the same table makes threads: a row
    stands under the one it names.

    `columns` are those that are read, by default all that may be. `title` and `labels` are shown beside the reference.
    `body` is the one column that is shown besides, without its name; a record without a body shows all columns. `key`
    are the columns that identify a row, `time` is the column that says how new it is. An empty text or list says that
    there is none.

    `tag` names a record in a prompt, `prefix` begins its reference. `limit` is the most rows, `half_life` what recency
    halves with. With `needs_parent` a record means nothing without its parent, with `in_time_order` the oldest comes
    first. A `link` is a table of nothing but pairs: its first parent shows the records of its second.
    """

    table: str
    parents: tuple[Parent, ...] | None
    title: tuple[str, ...] | None
    body: str | None
    labels: tuple[str, ...] | None
    columns: tuple[str, ...] | None
    key: tuple[str, ...] | None
    time: str | None
    tag: str | None
    prefix: str | None
    limit: int | None
    half_life: timedelta | None
    needs_parent: bool | None
    in_time_order: bool | None
    link: bool | None

    def __init__(
        self,
        table: str,
        *,
        parent: Parents | None = None,
        title: Columns | None = None,
        body: str | None = None,
        labels: Columns | None = None,
        columns: Columns | None = None,
        key: Columns | None = None,
        time: str | None = None,
        tag: str | None = None,
        prefix: str | None = None,
        limit: int | None = None,
        half_life: timedelta | None = None,
        needs_parent: bool | None = None,
        in_time_order: bool | None = None,
        link: bool | None = None,
    ) -> None:
        check_table_name(table)
        with located(table):
            for option, flag in (("needs_parent", needs_parent), ("in_time_order", in_time_order), ("link", link)):
                if flag is not None:
                    check_flag(option, flag)
            for option, name in (("tag", tag), ("prefix", prefix)):
                if name is not None:
                    _check_name(option, name)
            for option, column in (("body", body), ("time", time)):
                if column:
                    _columns(option, column)
            _check_limit(limit)
            _check_half_life(half_life)
            said: dict[str, Any] = {
                "parents": None if parent is None else _parents(parent),
                **{
                    option: None if given is None else _columns(option, given)
                    for option, given in (("title", title), ("labels", labels), ("columns", columns), ("key", key))
                },
            }
        said |= {"table": table, "body": body, "time": time, "tag": tag, "prefix": prefix, "limit": limit}
        said |= {"half_life": half_life, "needs_parent": needs_parent, "in_time_order": in_time_order, "link": link}
        for name, value in said.items():
            object.__setattr__(self, name, value)


def _parents(given: Any) -> tuple[Parent, ...]:
    if isinstance(given, Mapping):
        return tuple(Parent(columns, table) for columns, table in given.items())
    found = several("parent", given)
    for parent in found:
        if not isinstance(parent, Parent):
            raise ConfigurationError(
                f'parent is a mapping such as {{"ticket_id": "tickets"}}, or holds Parent, not {printable(parent)}'
            )
    return found


def _columns(option: str, given: Any) -> tuple[str, ...]:
    found = ((given,) if given else ()) if isinstance(given, str) else words(option, given)
    with located(option):
        for name in found:
            check_column_name(name)
    if len(set(found)) < len(found):
        raise ConfigurationError(f"{option}: {', '.join(found)} names a column twice")
    return found


def _check_name(option: str, name: object) -> None:
    if not is_identifier(name):
        raise ConfigurationError(f"{option} is made of lower-case letters, digits and _, not {printable(name)}")
    if option == "prefix" and name[-1:].isdigit():  # type: ignore[index]
        raise ConfigurationError(f"a prefix does not end with a digit, as {name!r} does: numbers follow it")


def _check_limit(limit: object) -> None:
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ConfigurationError(f"limit is an int of at least 0 (0 leaves the table out), not {printable(limit)}")


def _check_half_life(half_life: object) -> None:
    if half_life is not None and (not isinstance(half_life, timedelta) or half_life <= timedelta()):
        raise ConfigurationError(f"half_life is a timedelta above zero, not {printable(half_life)}")


def check_among(option: str, table: object, tables: Iterable[str]) -> None:
    """Refuse a name that is none of the context's tables."""
    known = tuple(tables)
    if table not in known:
        raise ConfigurationError(
            f"{option}: {printable(table)} is none of {', '.join(known)}{did_you_mean(table, known)}"
        )
