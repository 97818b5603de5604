"""Tables in this process: for tests, demos and development without a server."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from types import MappingProxyType
from typing import Any, Final

import anyio.lowlevel

from agent_persistence.adapter import CAPABILITIES, only_row
from agent_persistence.backends.memory.functions import Function, called, checked_functions
from agent_persistence.backends.memory.tables import MemoryTable
from agent_persistence.backends.memory.types import printed
from agent_persistence.exceptions import AdapterError, ConfigurationError, ConflictError, ValidationError
from agent_persistence.filters import Filters, eq, parse_filters, parse_some_rows
from agent_persistence.forking import survives_fork
from agent_persistence.identity import OWN
from agent_persistence.ordering import OrderBy, parse_order
from agent_persistence.predicates import FALSE, TRUE, Filter, fold
from agent_persistence.records import Record, Row, as_mapping, encode_record, strip_none
from agent_persistence.schema_registry import ForeignKey, Schema


class InMemoryAdapter:
    """A store of its own, which keeps rows in the order of their insertion.

    Tables that the schema declares have its columns, types, defaults and keys, and refuse what PostgreSQL would
    refuse, with the same error classes and codes. Any other table takes any columns: `id` (a uuid) and
    `created_at` are made where a record lacks them, and `id` is unique. Safe to use from several tasks, event
    loops and threads. Records are copied in and rows copied out.

    `functions` are what `call` calls: a plain or async callable for each name, with the arguments as keywords.
    """

    row_cap: Final = math.inf
    """Nothing here cuts a result short."""
    scan_rows: Final = math.inf
    """Rows are read without a request, so that a search may look at all of them."""

    def __init__(
        self,
        rows: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
        *,
        schema: Schema | None = None,
        functions: Mapping[str, Function] | None = None,
    ) -> None:
        self._schema = schema or Schema()
        self._functions = checked_functions(functions)
        self._capabilities = MappingProxyType({name: name != "call" or bool(functions) for name in CAPABILITIES})
        self._tables: dict[str, MemoryTable] = {}
        self._journal: list[Callable[[], None]] = []
        self._lock = RLock()
        survives_fork(self)
        for table, records in (rows or {}).items():
            if isinstance(records, (str, Mapping)):
                raise ValidationError(table, "rows maps a table to a list of records")
            for index, given in enumerate(records):
                record = strip_none(as_mapping(table, given, f"rows[{index}]"))
                stored = self._table(table)
                stored.insert(stored.columns.stored(encode_record(table, record, f"rows[{index}]")))
        self._journal.clear()
        for table in tuple(self._tables):
            self._check_parents(table, self._table(table).rows())

    identity: Final = OWN

    def _take_back(self) -> None:
        """Undo what a statement has done that has not ended."""
        for take_back in reversed(self._journal):
            take_back()
        for table in self._tables.values():
            table.settle()
        self._journal.clear()

    def _begin_in_child(self) -> None:
        self._lock = RLock()
        self._take_back()

    @property
    def capabilities(self) -> Mapping[str, bool]:
        """All, but "call" only where functions were given. "text_search" means texts and config="simple": what another
        configuration makes of a word is refused, and so is a text with e-mail addresses, URLs or paths."""
        return self._capabilities

    async def write(self, table: str, record: Record) -> Row:
        return (await self.batch_write(table, [record]))[0]

    async def batch_write(self, table: str, records: Sequence[Record]) -> list[Row]:
        await anyio.lowlevel.checkpoint()
        with self._transaction():
            stored = self._table(table)
            rows = [stored.insert(values) for values in stored.columns.all_stored(records)]
            self._check_parents(table, rows)
            return [printed(row) for row in rows]

    async def upsert(self, table: str, record: Record, on_conflict: Sequence[str] | None = None) -> Row:
        await anyio.lowlevel.checkpoint()
        with self._transaction():
            stored = self._table(table)
            before, row = stored.upsert(stored.columns.stored(record), tuple(on_conflict or stored.primary_key))
            self._check_parents(table, [row])
            self._check_children(table, [] if before is None else [before])
            told: Row = printed(row)
            return told

    async def bulk_write(
        self, table: str, records: Sequence[Record], *, on_conflict: Sequence[str] | None = None
    ) -> int:
        if on_conflict is None:
            return len(await self.batch_write(table, records))
        await anyio.lowlevel.checkpoint()
        with self._transaction():
            stored = self._table(table)
            merged = stored.merge_all(stored.columns.all_stored(records), tuple(on_conflict or stored.primary_key))
            self._check_parents(table, [row for _, row in merged])
            self._check_children(table, [before for before, _ in merged if before is not None])
            return len(merged)

    async def update(
        self, table: str, changes: Record, filters: Filters, *, max_affected: int | None = None
    ) -> list[Row]:
        await anyio.lowlevel.checkpoint()
        tree = fold(parse_some_rows(table, filters))
        if tree == FALSE:
            return []
        with self._transaction():
            stored = self._table(table)
            stored.columns.check_record(changes)
            before = stored.select(tree)
            rows = stored.update(stored.columns.stored(changes), before) if before else []
            self._check_parents(table, rows)
            self._check_children(table, before.values())
            _check_affected("update", table, len(rows), max_affected)
            return [printed(row) for row in rows]

    async def delete(self, table: str, filters: Filters, *, max_affected: int | None = None) -> list[Row]:
        await anyio.lowlevel.checkpoint()
        tree = fold(parse_some_rows(table, filters))
        if tree == FALSE:
            return []
        with self._transaction():
            rows = self._table(table).select(tree)
            self._delete(table, rows)
            _check_affected("delete", table, len(rows), max_affected)
            return [printed(row) for row in rows.values()]

    def _delete(self, table: str, numbered: Mapping[int, Row]) -> None:
        """Remove the rows, and below them those whose foreign keys cascade.

        PostgreSQL looks at each row that is gone in the order of its removal, and at its foreign keys in the order of
        their declaration; what a cascade removes comes last (AfterTriggerEndQuery in trigger.c).
        """
        self._table(table).delete(numbered)
        gone = deque((table, row) for row in numbered.values())
        children = {name: self._children(name) for name in self._schema.tables}
        while gone:
            parent, row = gone.popleft()
            for child, foreign_key in children.get(parent, ()):
                if foreign_key.on_delete_cascade:
                    orphans = self._table(child).referring(foreign_key.column, row[foreign_key.references])
                    self._table(child).delete(orphans)
                    gone.extend((child, orphan) for orphan in orphans.values())
                else:
                    self._check_unused(parent, row, child, foreign_key)

    async def count(self, table: str, filters: Filters | None = None) -> int:
        await anyio.lowlevel.checkpoint()
        tree = _folded(table, filters)
        with self._lock:
            return 0 if tree == FALSE else len(self._table(table).find(tree))

    async def read(self, table: str, id_value: object, id_column: str = "id") -> Row | None:
        return only_row(table, id_column, await self.query(table, {id_column: eq(id_value)}, limit=2))

    async def query(
        self,
        table: str,
        filters: Filters | None = None,
        limit: int | None = None,
        order_by: OrderBy | None = None,
        descending: bool = False,
        select: Sequence[str] | None = None,
        *,
        offset: int = 0,
    ) -> list[Row]:
        await anyio.lowlevel.checkpoint()
        tree = _folded(table, filters)
        if tree == FALSE:
            return []
        order = parse_order(table, order_by, descending)
        if limit == 0 and offset:
            raise AdapterError("a limit of 0 has no offset", status=416, code="PGRST103")
        with self._lock:
            stored = self._table(table)
            stored.columns.check_columns([*(select or ()), *(key.column for key in order)])
            rows = stored.ordered(stored.find(tree), order)[offset : None if limit is None else offset + limit]
            return [printed(row) for row in (stored.selected(rows, select) if select else rows)]

    async def call(self, function: str, arguments: Record, *, may_write: bool = False) -> object:
        """Call the function that was given by this name. Whether it writes is its own affair: `may_write` is not
        passed on."""
        await anyio.lowlevel.checkpoint()
        return await called(self._functions, function, arguments)

    async def get_columns(self, table: str) -> list[str] | None:
        with self._lock:
            return self._table(table).column_names()

    async def aclose(self) -> None:
        """Change nothing: the rows live as long as the adapter."""

    def clear(self) -> None:
        """Empty every table and start identity keys from 1."""
        with self._lock:
            self._tables.clear()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Take back every change of the block if it raises. Identity numbers stay used, as in PostgreSQL."""
        with self._lock:
            try:
                yield
            except BaseException:
                self._take_back()
                raise
            finally:
                self._journal.clear()

    def _table(self, name: str) -> MemoryTable:
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = MemoryTable(name, self._schema.tables.get(name), self._journal)
        return table

    def _check_parents(self, table: str, rows: Iterable[Row]) -> None:
        """Refuse rows that refer to a row that is not there."""
        declared = self._schema.tables.get(table)
        for row in rows:
            for foreign_key in declared.foreign_keys if declared else ():
                value = row[foreign_key.column]
                if value is not None and not self._table(foreign_key.table).holds(foreign_key.references, value):
                    raise _dangling(table, foreign_key, f"refers to no row of {foreign_key.table}")

    def _check_children(self, table: str, before: Iterable[Row]) -> None:
        """Refuse that rows which have another key now are still referred to."""
        children = self._children(table)
        for row in before if children else ():
            for child, foreign_key in children:
                self._check_unused(table, row, child, foreign_key)

    def _check_unused(self, table: str, row: Row, child: str, foreign_key: ForeignKey) -> None:
        """Refuse that a row refers to the key that this one had, and that none has any more."""
        value = row.get(foreign_key.references)
        if value is None or self._table(table).holds(foreign_key.references, value):
            return
        if self._table(child).referring(foreign_key.column, value):
            raise _dangling(child, foreign_key, f"still refers to the row of {table}")

    def _children(self, table: str) -> list[tuple[str, ForeignKey]]:
        return [
            (child, foreign_key)
            for child, declared in self._schema.tables.items()
            for foreign_key in declared.foreign_keys
            if foreign_key.table == table
        ]


def _dangling(child: str, foreign_key: ForeignKey, problem: str) -> ConflictError:
    constraint = f"{child}_{foreign_key.column}_fkey"
    return ConflictError(
        f"{child}.{foreign_key.column} {problem} ({constraint})", constraint=constraint, status=409, code="23503"
    )


def _check_affected(verb: str, table: str, affected: int, most: int | None) -> None:
    if most is not None and affected > most:
        raise AdapterError(
            f"{verb} on {table} would affect {affected} rows, max_affected is {most}; nothing was changed",
            status=400,
            code="PGRST124",
        )


def _folded(table: str, filters: Filters | None) -> Filter | None:
    """The filter without constants; None selects every row, FALSE none, and neither looks at the table."""
    tree = parse_filters(table, filters)
    folded = None if tree is None else fold(tree)
    return None if folded == TRUE else folded


_shared = InMemoryAdapter()
_shared_schema: Schema | None = None


def shared_memory(schema: Schema) -> InMemoryAdapter:
    """The one store of this process behind kind="memory". Asking for it with another schema is refused."""
    global _shared_schema
    with _shared._lock:
        if _shared_schema is None:
            _shared._schema = _shared_schema = schema
        elif schema != _shared_schema:
            raise ConfigurationError(
                'kind="memory" shares one store a process, and it was made with another schema; pass'
                " adapter=InMemoryAdapter(schema=…) for a store of your own"
            )
        return _shared


def reset_shared_memory() -> None:
    """Empty the shared store and forget its schema; agents that hold it go on with the emptied one."""
    global _shared_schema
    with _shared._lock:
        _shared.clear()
        _shared_schema = None
