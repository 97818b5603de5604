"""The parts of a schema, each checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from agent_persistence.exceptions import ConfigurationError
from agent_persistence.query.identifiers import base_column, is_path
from agent_persistence.schema.checks import (
    check_column,
    check_column_name,
    check_flag,
    check_path,
    check_table_name,
    check_word,
    declared,
    json_value,
    several,
    words,
)


class Generated(Enum):
    """Defaults that the database makes anew for each row."""

    UUID = "gen_random_uuid()"
    NOW = "now()"
    IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its PostgreSQL type, whether it may be NULL, its default and the only values a check allows.

    Nothing is known about the values of a type that is not PostgreSQL's own. `default` is a JSON value or Generated;
    None where none is known. `pii` says what a value shows of a person: "email", "phone", "name", ….
    """

    type: str
    nullable: bool = True
    default: Any = None
    one_of: tuple[str, ...] = ()
    pii: str | None = None

    def __post_init__(self) -> None:
        check_word("type", self.type)
        check_flag("nullable", self.nullable)
        if self.pii is not None:
            check_word("pii", self.pii)
        if self.default is not None and not isinstance(self.default, Generated):
            object.__setattr__(self, "default", json_value("default", self.default))
        object.__setattr__(self, "one_of", words("one_of", self.one_of))


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A column whose values are keys of another table; or several columns, whose values together are."""

    column: str | Sequence[str]
    table: str
    references: str | Sequence[str] = "id"
    on_delete_cascade: bool = False

    def __post_init__(self) -> None:
        check_table_name(self.table)
        check_flag("on_delete_cascade", self.on_delete_cascade)
        for option in ("column", "references"):
            names = _names(option, getattr(self, option))
            object.__setattr__(self, option, names[0] if len(names) == 1 else names)
        if len(self.columns) != len(self.targets):
            raise ConfigurationError(f"a foreign key to {self.table} has as many references as columns")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold the key, in its order."""
        return _names("column", self.column)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns of the other table that are the key."""
        return _names("references", self.references)


def _names(option: str, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else words(option, given)
    for name in names:
        check_column_name(name)
    if not names or len(set(names)) < len(names):
        raise ConfigurationError(f"{option} names one column or several, each once")
    return names


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns in order, its primary key, its unique sets of columns and its foreign keys.

    Only declared columns can be part of them. A view, or another table without a key, has the primary key (). A table
    that is `read_only`, as a view of more than one table is, takes no writes.
    `paths` are the parts of json and jsonb columns that filters, select and order_by may name, such as
    `custom->address->>city`.
    """

    columns: Mapping[str, Column]
    primary_key: tuple[str, ...] = ("id",)
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    paths: tuple[str, ...] = ()
    read_only: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(declared("columns", self.columns, Column)))
        object.__setattr__(self, "primary_key", words("primary_key", self.primary_key))
        object.__setattr__(self, "unique", tuple(words("unique", names) for names in several("unique", self.unique)))
        object.__setattr__(self, "foreign_keys", tuple(several("foreign_keys", self.foreign_keys)))
        for name in self.columns:
            check_column_name(name)
        for option, names in (("primary_key", self.primary_key), *(("unique", names) for names in self.unique)):
            for name in names:
                check_column(option, name, self.columns)
        if () in self.unique:
            raise ConfigurationError("unique: a set of columns is empty")
        for link in self.foreign_keys:
            if not isinstance(link, ForeignKey):
                raise ConfigurationError(f"foreign_keys holds {type(link).__name__}; each is a ForeignKey")
            for name in link.columns:
                check_column("foreign_keys", name, self.columns)
        check_flag("read_only", self.read_only)
        object.__setattr__(self, "paths", words("paths", self.paths))
        for path in self.paths:
            check_path(path, {name: column.type for name, column in self.columns.items()})

    @property
    def key(self) -> tuple[str, ...]:
        """The columns by which rows are distinguished: the primary key, or else the first unique set without NULLs."""
        sets = (self.primary_key, *(names for names in self.unique if not any(self.columns[n].nullable for n in names)))
        return next((names for names in sets if names), ())

    def column(self, name: str) -> Column | None:
        """The column of this name, or what a path of that form reads: a text for `->>`, JSON for `->`."""
        base = self.columns.get(base_column(name))
        if base is None or not is_path(name):
            return base
        return Column("text" if "->>" in name else base.type, pii=base.pii)
