"""Rows in COPY's text format, and where they are loaded to. Pure.

https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

# ruff: noqa: S608  every name is quoted by `statements`, every value is a parameter

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from pydantic_core import to_json

from agent_persistence.backends.postgres.catalogue import TableFacts, Type, as_text
from agent_persistence.backends.postgres.sql import merge
from agent_persistence.backends.postgres.statements import Statement, names
from agent_persistence.backends.postgres.transactions import Load
from agent_persistence.backends.texts import json_text
from agent_persistence.query.records import Record

WORTHWHILE: Final = 200
"""Rows below which one INSERT is faster than the round trips of COPY."""
_STAGE: Final = "pg_temp._agent_persistence_load"
_ROWS_A_CHUNK: Final = 500


def can_be_copied(columns: Sequence[str], facts: TableFacts) -> bool:
    """Whether COPY takes values of all these columns as INSERT does; its syntax has no rows without any."""
    types = [facts.columns.get(name) for name in columns]
    is_insertable = facts.given_by_server.isdisjoint(columns)
    return bool(types) and is_insertable and all(type_ is not None and not type_.has_rows for type_ in types)


def loading(
    table: str, columns: Sequence[str], records: Sequence[Record], facts: TableFacts, on_conflict: Sequence[str] | None
) -> tuple[Load, Statement | None]:
    """The load of the records, and the statement that brings them into the table if they go elsewhere first.

    They do where rows are merged, and where the table does not take COPY. `table` is quoted already.
    """
    chunks = chunked(columns, records, facts)
    if on_conflict is None and facts.takes_copy:
        return Load(_copy(table, columns), chunks), None
    empty = f"select {names(columns)} from json_populate_recordset(null::{table}, '[]')"
    prepare = (
        Statement(f"create temporary table {_STAGE} on commit drop as {empty} with no data"),
        Statement(f"grant select on {_STAGE} to public"),
    )
    moved = f"insert into {table} ({names(columns)}) select {names(columns)} from {_STAGE}"
    merging = "" if on_conflict is None else merge(columns, on_conflict)
    return Load(_copy(_STAGE, columns), chunks, prepare), Statement(moved + merging)


def _copy(table: str, columns: Sequence[str]) -> Statement:
    return Statement(f"copy {table} ({names(columns)}) from stdin")


def chunked(columns: Sequence[str], records: Sequence[Record], facts: TableFacts) -> Iterator[bytes]:
    """The rows as lines of values with tabs between them."""
    for start in range(0, len(records), _ROWS_A_CHUNK):
        rows = records[start : start + _ROWS_A_CHUNK]
        fields = [_fields([row[name] for row in rows], facts.columns[name]) for name in columns]
        yield ("\n".join(map("\t".join, zip(*fields, strict=True))) + "\n").encode()


def _fields(values: Sequence[Any], type_: Type) -> list[str]:
    """The values of one column as they are written: one search shows for all of them that nothing is to be escaped."""
    kinds = {*map(type, values)}
    if kinds <= _NUMBERS:
        return to_json(values).decode()[1:-1].split(",")
    if kinds == {str} and not type_.is_json:
        texts: list[str | None] = list(values)
    elif type_.is_json:
        texts = [None if value is None else json_text(value) for value in values]
    else:
        texts = [value if type(value) is str else as_text(value, type_) for value in values]
    if None not in texts and not _SPECIAL.search("".join(cast("list[str]", texts))):
        return cast("list[str]", texts)
    return ["\\N" if text is None else _SPECIAL.sub(_escape, text) for text in texts]


_NUMBERS: Final = frozenset({int, float, bool})
"""What JSON writes as PostgreSQL reads it, and without a comma."""
_SPECIAL: Final = re.compile(r"[\\\t\n\r]")
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _escape(found: re.Match[str]) -> str:
    return _ESCAPES[found.group()]
