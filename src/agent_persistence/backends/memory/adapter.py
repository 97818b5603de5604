"""Tables in this process: for tests, demos and development without a server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from math import inf
from threading import RLock
from types import MappingProxyType
from typing import Any, Final

import anyio.lowlevel

from agent_persistence.backends.backend import Backend, Capabilities
from agent_persistence.backends.base import CAPABILITIES, only_row
from agent_persistence.backends.memory.functions import Function, called, called_within, checked_functions
from agent_persistence.backends.memory.tables import MemoryTable
from agent_persistence.backends.memory.types import printed
from agent_persistence.backends.units import Applied, digest_of, is_met, other_content, resolved, unmet
from agent_persistence.context import CallContext
from agent_persistence.exceptions import AdapterError, ConfigurationError, ConflictError, ValidationError
from agent_persistence.operations import (
    BatchWrite,
    BulkWrite,
    Call,
    Count,
    Delete,
    GetColumns,
    Include,
    Operation,
    Query,
    Read,
    Require,
    Result,
    Unit,
    UnitPart,
    Update,
    Upsert,
    UpsertMany,
    Write,
    WriteNew,
    unknown,
)
from agent_persistence.policy.identity import OWN
from agent_persistence.query.predicates import FALSE, TRUE, Comparison, Filter, Operator, conjunction, fold
from agent_persistence.query.records import Record, Row, as_mapping, encode_record, strip_none
from agent_persistence.runtime.forking import survives_fork
from agent_persistence.schema.registry import ForeignKey, Schema


class InMemoryAdapter(Backend):
    """A store of its own, which keeps rows in the order of their insertion.

    Tables that the schema declares have its columns, types, defaults and keys, and refuse what PostgreSQL would
    refuse, with the same error classes and codes. Any other table takes any columns: `id` (a uuid) and
    `created_at` are made where a record lacks them, and `id` is unique. Safe to use from several tasks, event
    loops and threads. Records are copied in and rows copied out.

    `functions` are what `call` calls: a plain or async callable for each name, with the arguments as keywords.
    """

    def __init__(
        self,
        rows: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
        *,
        schema: Schema | None = None,
        functions: Mapping[str, Function] | None = None,
    ) -> None:
        self._schema = schema or Schema()
        self._functions = checked_functions(functions)
        can = MappingProxyType(
            {name: name != "ranges" and (name != "call" or bool(functions)) for name in CAPABILITIES}
        )
        self._capabilities = Capabilities(can, row_cap=inf, scan_rows=inf, counts_pages=True, remembers_units=True)
        self._tables: dict[str, MemoryTable] = {}
        self._ledger: dict[str, tuple[str, Applied]] = {}
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
    def capabilities(self) -> Capabilities:
        """All but "ranges", and "call" only where functions were given. "text_search" means texts and config="simple":
        what another configuration makes of a word is refused, and so is a text with e-mail addresses, URLs or paths."""
        return self._capabilities

    async def execute(self, operation: Operation, context: CallContext) -> Result:
        """Carry the operation out in this process. Whether a function writes is its own affair."""
        if isinstance(operation, Call):
            await anyio.lowlevel.checkpoint()
            return Result(await called(self._functions, operation.table, operation.arguments))
        await anyio.lowlevel.checkpoint()
        if isinstance(operation, Unit) and len(operation.parts) == 1:
            (part,) = operation.parts
            if isinstance(part.operation, Call):
                return await self._called_once(operation, part.operation)
        with self._transaction() if operation.writes else self._lock:
            return self._done(operation)

    def _done(self, operation: Operation) -> Result:
        match operation:
            case Query():
                return self._queried(operation)
            case Read(table=table, id_column=id_column):
                return Result(only_row(table, id_column, self._queried(operation.as_query()).value))
            case Unit():
                return Result(self._applied_once(operation))
            case Call(table=function, arguments=arguments):
                return Result(called_within(self._functions, function, arguments))
            case Count() | Require():
                return Result(self._counted(operation))
            case GetColumns(table=table):
                return Result(self._table(table).column_names())
            case BulkWrite():
                return Result(self._bulk_written(operation))
        shown = [printed(row) for row in self._changed(operation)]
        return Result(shown[0] if operation.returns == "row" else shown)

    def _changed(self, operation: Operation) -> list[Row]:
        """The rows that the operation inserts, merges, changes or deletes."""
        match operation:
            case Upsert(table, record, on_conflict):
                return [self._upserted(table, record, on_conflict)]
            case UpsertMany(table, records, on_conflict):
                return self._merged(table, records, on_conflict)
            case WriteNew(table, records, key):
                return self._added(table, records, key)
            case Write() | BatchWrite():
                return self._inserted(operation.table, operation.inserted)
            case Update():
                return self._updated(operation)
            case Delete():
                return self._deleted(operation)
        raise unknown(operation)

    async def _called_once(self, unit: Unit, call: Call) -> Result:
        """What the function returned when the key was new. What it is doing meanwhile is its own affair."""
        known = self._known(unit)
        if known is None:
            value = await called(self._functions, call.table, call.arguments)
            known = self._remembered(unit, Applied([[value]], [1]))
        return Result(deepcopy(known.values(unit)))

    def _applied_once(self, unit: Unit) -> list[Any]:
        """The value of each part of a unit; keys are remembered as long as the adapter lives."""
        known = self._known(unit)
        applied = self._remembered(unit, self._applied(unit)) if known is None else known
        return deepcopy(applied.values(unit))

    def _known(self, unit: Unit) -> Applied | None:
        """What the unit returned when its key was applied; ConflictError where that was another unit's."""
        entry = self._ledger.get(unit.key) if unit.key else None
        if entry is not None and entry[0] != digest_of(unit):
            raise other_content(unit)
        return None if entry is None else entry[1]

    def _remembered(self, unit: Unit, applied: Applied) -> Applied:
        if unit.key:
            self._ledger[unit.key] = digest_of(unit), applied
        return applied

    def _applied(self, unit: Unit) -> Applied:
        rows: list[list[Row]] = []
        counts: list[int] = []
        for index, part in enumerate(unit.parts):
            try:
                value = self._done(resolved(part, rows).operation).value
            except AdapterError as error:
                error.part = index
                raise
            part_rows, affected = _rows_and_count(part, value)
            if not is_met(part, affected):
                raise unmet(part, index, affected)
            rows.append(part_rows)
            counts.append(affected)
        return Applied(rows, counts)

    def _queried(self, query: Query) -> Result:
        """The rows; a filter that selects none looks neither at the table nor at its columns."""
        tree = _folded(query.filters)
        if tree == FALSE:
            return Result([], total=0)
        if query.limit == 0 and query.offset:
            raise AdapterError("a limit of 0 has no offset", status=416, code="PGRST103")
        stored = self._table(query.table)
        stored.columns.check_columns([*(query.select or ()), *(key.column for key in query.order)])
        found = stored.find(tree)
        end = None if query.limit is None else query.offset + query.limit
        rows = stored.ordered(found, query.order)[query.offset : end]
        shown = [printed(row) for row in (stored.selected(rows, query.select) if query.select else rows)]
        for include in query.include:
            for row, whole in zip(shown, rows, strict=True):
                row[include.name] = self._related(include, whole.get(include.link.ours))
        return Result(shown, total=len(found) if query.counted else None)

    def _related(self, include: Include, value: Any) -> Any:
        """The rows that have the value in the column by which they are related, or the one."""
        inner = include.query
        found: list[Row] = []
        if value is not None:
            same = Comparison(Operator.EQ, printed({"value": value})["value"], include.link.theirs)
            filters = same if inner.filters is None else conjunction((same, inner.filters))
            found = self._queried(replace(inner, filters=filters)).value
        return found if include.link.many else next(iter(found), None)

    def _counted(self, count: Count | Require) -> int:
        tree = _folded(count.filters)
        return 0 if tree == FALSE else len(self._table(count.table).find(tree))

    def _inserted(self, table: str, records: Sequence[Record]) -> list[Row]:
        if not records:
            return []
        stored = self._writable("write", table)
        rows = [stored.insert(values) for values in stored.columns.all_stored(records)]
        self._check_parents(table, rows)
        return rows

    def _added(self, table: str, records: Sequence[Record], key: tuple[str, ...]) -> list[Row]:
        if not records:
            return []
        stored = self._table(table)
        added = [stored.add(values, key) for values in stored.columns.all_stored(records)]
        rows = [row for row in added if row is not None]
        self._check_parents(table, rows)
        return rows

    def _upserted(self, table: str, record: Record, on_conflict: tuple[str, ...]) -> Row:
        stored = self._writable("upsert", table)
        before, row = stored.upsert(stored.columns.stored(record), on_conflict or tuple(stored.primary_key))
        self._check_parents(table, [row])
        self._check_children(table, [] if before is None else [before])
        return row

    def _merged(self, table: str, records: Sequence[Record], on_conflict: tuple[str, ...]) -> list[Row]:
        if not records:
            return []
        stored = self._writable("upsert", table)
        merged = stored.merge_all(stored.columns.all_stored(records), on_conflict or tuple(stored.primary_key))
        self._check_parents(table, [row for _, row in merged])
        self._check_children(table, [before for before, _ in merged if before is not None])
        return [row for _, row in merged]

    def _bulk_written(self, write: BulkWrite) -> int:
        if write.on_conflict is None:
            return len(self._inserted(write.table, write.records))
        return len(self._merged(write.table, write.records, write.on_conflict))

    def _updated(self, update: Update) -> list[Row]:
        tree = fold(update.filters)
        if tree == FALSE:
            return []
        stored = self._writable("update", update.table)
        stored.columns.check_record(update.changes)
        before = stored.select(tree)
        rows = stored.update(stored.columns.stored(update.changes), before) if before else []
        self._check_parents(update.table, rows)
        self._check_children(update.table, before.values())
        _check_affected("update", update.table, len(rows), update.max_affected)
        return rows

    def _deleted(self, delete: Delete) -> list[Row]:
        tree = fold(delete.filters)
        if tree == FALSE:
            return []
        rows = self._writable("delete", delete.table).select(tree)
        self._delete(delete.table, rows)
        _check_affected("delete", delete.table, len(rows), delete.max_affected)
        return [*rows.values()]

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
                    orphans = self._table(child).referring(foreign_key.columns, _values(row, foreign_key.targets))
                    self._table(child).delete(orphans)
                    gone.extend((child, orphan) for orphan in orphans.values())
                else:
                    self._check_unused(parent, row, child, foreign_key)

    async def aclose(self) -> None:
        """Change nothing: the rows live as long as the adapter."""

    def clear(self) -> None:
        """Empty every table and start identity keys from 1."""
        with self._lock:
            self._tables.clear()
            self._ledger.clear()

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

    def _writable(self, verb: str, name: str) -> MemoryTable:
        declared = self._schema.tables.get(name)
        if declared is not None and declared.read_only:
            raise AdapterError(f"{verb} on {name}: it is a view that takes no writes", status=500, code="55000")
        return self._table(name)

    def _table(self, name: str) -> MemoryTable:
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = MemoryTable(name, self._schema.tables.get(name), self._journal, self._table)
        return table

    def _check_parents(self, table: str, rows: Iterable[Row]) -> None:
        """Refuse rows that refer to a row that is not there."""
        declared = self._schema.tables.get(table)
        for row in rows:
            for foreign_key in declared.foreign_keys if declared else ():
                values = _values(row, foreign_key.columns)
                if None not in values and not self._table(foreign_key.table).holds(foreign_key.targets, values):
                    raise _dangling(table, foreign_key, f"refers to no row of {foreign_key.table}")

    def _check_children(self, table: str, before: Iterable[Row]) -> None:
        """Refuse that rows which have another key now are still referred to."""
        children = self._children(table)
        for row in before if children else ():
            for child, foreign_key in children:
                self._check_unused(table, row, child, foreign_key)

    def _check_unused(self, table: str, row: Row, child: str, foreign_key: ForeignKey) -> None:
        """Refuse that a row refers to the key that this one had, and that none has any more."""
        values = _values(row, foreign_key.targets)
        if None in values or self._table(table).holds(foreign_key.targets, values):
            return
        if self._table(child).referring(foreign_key.columns, values):
            raise _dangling(child, foreign_key, f"still refers to the row of {table}")

    def _children(self, table: str) -> list[tuple[str, ForeignKey]]:
        return [
            (child, foreign_key)
            for child, declared in self._schema.tables.items()
            for foreign_key in declared.foreign_keys
            if foreign_key.table == table
        ]


def _values(row: Row, columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row.get(column) for column in columns)


def _rows_and_count(part: UnitPart, value: Any) -> tuple[list[Any], int]:
    """The rows of a part, as Applied has them, and how many it affected."""
    match part.operation.returns:
        case "count":
            return [], value
        case "rows":
            return value, len(value)
        case _:
            return [value], 1


def _dangling(child: str, foreign_key: ForeignKey, problem: str) -> ConflictError:
    constraint = f"{child}_{'_'.join(foreign_key.columns)}_fkey"
    return ConflictError(
        f"{child}.{', '.join(foreign_key.columns)} {problem} ({constraint})",
        constraint=constraint,
        status=409,
        code="23503",
    )


def _check_affected(verb: str, table: str, affected: int, most: int | None) -> None:
    if most is not None and affected > most:
        raise AdapterError(
            f"{verb} on {table} would affect {affected} rows, max_affected is {most}; nothing was changed",
            status=400,
            code="PGRST124",
        )


def _folded(filters: Filter | None) -> Filter | None:
    """The filter without constants; None selects every row, FALSE none."""
    folded = TRUE if filters is None else fold(filters)
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
