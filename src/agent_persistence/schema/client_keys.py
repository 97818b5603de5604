"""Primary keys made before a row is sent: by them a write whose answer was lost is recognised when it is sent again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

from agent_persistence.exceptions import ConfigurationError, ValidationError, printable
from agent_persistence.query.identifiers import is_name
from agent_persistence.schema.registry import Schema

KeyColumns: TypeAlias = Mapping[str, str | None]
"""By table the uuid column that is its primary key, or None for a table whose keys the database makes."""


class ClientKeys:
    """Which tables get their key here: those whose declared primary key is one uuid column, and those in `columns`.

    `columns` beats the schema; False means none at all. A schema that was not `is_given` is a guess.
    """

    def __init__(
        self, schema: Schema, columns: KeyColumns | Literal[False] | None = None, *, is_given: bool = True
    ) -> None:
        self._schema = schema
        self._is_given = is_given
        self._columns: dict[str, str | None] = {} if columns is False else _declared(schema)
        self._columns |= _checked({} if columns is None or columns is False else columns)

    def column(self, table: str) -> str | None:
        """The column of the keys that are made here; None where the database makes them."""
        return self._columns.get(table)

    def primary(self, table: str) -> tuple[str, ...]:
        """The columns of the table's primary key; ("id",) where nothing is known."""
        column = self._columns.get(table)
        return self._schema.primary_key(table) if column is None else (column,)

    def unique(self, table: str) -> tuple[tuple[str, ...], ...]:
        """The sets of columns that the database is known to keep unique, the primary key first."""
        declared = self._schema.tables.get(table)
        column = self._columns.get(table)
        ours = () if column is None else ((column,),)
        return ours + ((declared.primary_key, *declared.unique) if declared else ())

    def fences(self, table: str) -> tuple[tuple[str, ...], ...]:
        """The sets of columns by which the database certainly refuses a row a second time: the column of the keys made
        here, and what a schema that was given says is unique. What the default schema says is a guess."""
        column = self._columns.get(table)
        return self.unique(table) if self._is_given else () if column is None else ((column,),)

    def least(self, table: str) -> list[tuple[str, ...]]:
        """The sets of columns that are unique, without those that hold another one, which are so by that alone."""
        known = [key for key in dict.fromkeys(self.unique(table)) if key]
        return [key for key in known if not any({*other} < {*key} for other in known)]

    def key_of_duplicates(
        self, table: str, records: Sequence[Mapping[str, Any]], given: tuple[str, ...] | None = None
    ) -> tuple[str, ...]:
        """The key by which a record is a duplicate: the one given, or the only known one that the records name.

        It is asked before keys are made here, which no stored row has.
        """
        names = {name for record in records for name in record}
        known = [key for key in self.least(table) if names.issuperset(key)]
        if given is not None and (names.issuperset(given) or not records):
            return given
        if given is None and (len(known) == 1 or not records):
            return known[0] if known else ()
        named = " and ".join(f"({', '.join(key)})" for key in known) or "no known key"
        raise ValidationError(
            table,
            f"no record has the columns ({', '.join(map(printable, given))}), so that none could be a duplicate"
            if given is not None
            else f"by which key a record is a duplicate is not known: the records name {named}",
            "name its columns in on_conflict=, as in on_conflict=['email']",
        )

    def complete(self, table: str, record: dict[str, Any], on_conflict: tuple[str, ...] = ()) -> str | None:
        """Give the record a key if it has none; the column of a key that nobody else can have, if it has one now.

        A record that is to be merged by other columns gets none: the row that is there keeps its own.
        """
        column = self._columns.get(table) if type(table) is str else None
        if column is None or column in record or on_conflict not in ((), (column,)):
            return None
        record[column] = uuid7()
        return column


KEY_REFUSED: Final = frozenset({"22P02", "42703", "42804", "428C9", "PGRST204"})
"""Codes under which a database refuses a key, or the column of a key, that it does not have."""
KEY_REMEDY: Final = (
    "The key in this record was made by the service, because the Schema declares a uuid primary key. Where the table"
    " has another, pass your own schema=, or client_keys={table: None} if the database makes its keys."
)


def _declared(schema: Schema) -> dict[str, str | None]:
    return {
        name: key[0]
        for name, table in schema.tables.items()
        if len(key := table.primary_key) == 1 and table.columns[key[0]].type == "uuid"
    }


def _checked(columns: object) -> dict[str, str | None]:
    if not isinstance(columns, Mapping):
        raise ConfigurationError(
            f"client_keys maps a table to its uuid key column, as in {{'leads': 'id'}}, or is False;"
            f" not {type(columns).__name__}"
        )
    for table, column in columns.items():
        if not is_name(table) or not (column is None or is_name(column)):
            raise ConfigurationError(
                f"client_keys: {printable(table)} maps to {printable(column)}; both are names,"
                " or the column is None where the database makes the keys"
            )
    return dict(columns)


_RANDOM_BYTES: Final = 8


def uuid7(clock_ns: Callable[[], int] = time.time_ns, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): keys made later sort later, to about a quarter of a microsecond.

    48 bits of Unix milliseconds, then 12 bits of the fraction of the millisecond (section 6.2, method 3) and 62 random
    ones.
    """
    milliseconds, rest_ns = divmod(clock_ns(), 1_000_000)
    fraction = (rest_ns << 12) // 1_000_000
    random = int.from_bytes(random_bytes(_RANDOM_BYTES)) >> 2
    bits = f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}7{fraction:03x}{0b10 << 62 | random:016x}"
    return f"{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}"
