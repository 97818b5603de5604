"""What a model may see of the tables, in words: no table and no column that the policy does not let be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from agent_persistence.client.facade import ReadOnlyPersistenceFacade
from agent_persistence.schema.registry import Column
from agent_persistence.schema.types import Family, family

_MOST_CHARACTERS: Final = 6_000
"""Of a description with columns; a longer one would cost more than asking for the columns of one table."""
_MOST_VALUES: Final = 20


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The tables and columns of a façade that may be read, from its policy and schema; nothing is asked for them."""

    facade: ReadOnlyPersistenceFacade

    @property
    def tables(self) -> list[str]:
        """The tables of which something may be read, sorted."""
        readable = self.facade.readable_columns
        return sorted(table for table in self.facade.readable_tables if readable(table) != frozenset())

    def columns(self, table: str) -> dict[str, Column]:
        """The table's declared columns that may be read, in their order; none where nothing is declared."""
        readable = self.facade.readable_columns(table)
        declared = self.facade.schema.columns(table)
        return {name: column for name, column in declared.items() if readable is None or name in readable}

    def key(self, table: str) -> tuple[str, ...]:
        """The table's key where all of it may be read; () where it has none or may not."""
        readable = self.facade.readable_columns(table)
        key = self.facade.schema.primary_key(table)
        return key if readable is None or readable.issuperset(key) else ()

    def is_plain(self, table: str, column: str) -> bool:
        """Whether every row shows the column's value, and values of it come one after another."""
        declared = self.facade.schema.column(table, column)
        return "->" not in column and (declared is None or family(declared.type) not in (Family.JSON, Family.ARRAY))

    def text_columns(self, table: str) -> list[str]:
        """The declared columns of text."""
        return [name for name, column in self.columns(table).items() if family(column.type) is Family.TEXT]

    def description(self) -> str:
        """The tables, a line each, with their columns as far as these are known and the lines are not too many."""
        lines = [self._line(table) for table in self.tables]
        long = "\n".join(lines)
        return long if len(long) <= _MOST_CHARACTERS else ", ".join(self.tables)

    def _line(self, table: str) -> str:
        columns = ", ".join(f"{name} {type_text(column)}" for name, column in self.columns(table).items())
        listed = self.facade.readable_columns(table)
        return f"{table}({columns or ', '.join(sorted(listed or ()))})" if columns or listed else table

    def details(self, table: str, names: list[str] | None) -> Iterator[dict[str, Any]]:
        """The columns that may be read of those the database `names`, with what is declared of them."""
        readable, declared = self.facade.readable_columns(table), self.facade.schema.columns(table)
        for name in [*declared] if names is None else names:
            if readable is None or name in readable:
                yield {"name": name, **(self._detail(table, name, declared[name]) if name in declared else {})}

    def _detail(self, table: str, name: str, column: Column) -> dict[str, Any]:
        detail: dict[str, Any] = {"type": column.type, "nullable": column.nullable}
        if column.one_of:
            detail["values"] = list(column.one_of)
        for link in self.facade.schema.tables[table].foreign_keys:
            readable = self.facade.readable_columns(link.table)
            targets = dict(zip(link.columns, link.targets, strict=True))
            if name in targets and link.table in self.tables and (readable is None or targets[name] in readable):
                detail["references"] = f"{link.table}.{targets[name]}"
        return detail


async def check_tables(facade: ReadOnlyPersistenceFacade, names: Iterable[str]) -> None:
    """Have the guard refuse a table that may not be read, so that it is audited as any other denial."""
    for name in names:
        if name not in facade.readable_tables:
            await facade.query(name, limit=1)


def type_text(column: Column) -> str:
    """The column's type, and its values where they are few and known."""
    values = "|".join(column.one_of) if len(column.one_of) <= _MOST_VALUES else ""
    return f"{column.type}: {values}" if values else column.type
