"""What the rows of an answer must hold to be the answer to a request, and not to another one. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Any, Final

from agent_persistence.identifiers import is_path
from agent_persistence.predicates import AllOf, Comparison, Filter, Operator
from agent_persistence.records import Record
from agent_persistence.schema_registry import Schema


class Expected:
    """The values by which rows are known to answer a request.

    Only those count that PostgreSQL certainly shows as they were sent, by the declared type of their column; where none
    is declared, numbers and UUIDs.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def keys(
        self, table: str, records: Sequence[Record], columns: Sequence[str], shown: Sequence[str] | None = None
    ) -> list[Record]:
        """The values that the rows which answer these records have in `columns`, as far as they are `shown`."""
        visible = [name for name in columns if shown is None or name in shown]
        return [
            {name: record[name] for name in visible if name in record and self._is_kept(table, name, record[name])}
            for record in records
        ]

    def equalities(
        self, table: str, predicate: Filter | None, shown: Sequence[str] | None, *, without: Container[str] = ()
    ) -> list[Record]:
        """The values that all rows which the filter selects have in declared columns but those `without`; one record.

        What is not declared may be a computed field, which no row shows unless it is asked for.
        """
        terms = predicate.terms if isinstance(predicate, AllOf) else (predicate,)
        equal = {
            term.column: term.operand
            for term in terms
            if isinstance(term, Comparison)
            and term.operator is Operator.EQ
            and term.column is not None
            and not is_path(term.column)
            and self._schema.column(table, term.column) is not None
            and term.column not in without
        }
        return self.keys(table, [equal], tuple(equal), shown)

    def _is_kept(self, table: str, column: str, value: Any) -> bool:
        declared = self._schema.column(table, column)
        if declared is not None:
            return declared.type.partition("(")[0] in _SHOWN_AS_SENT
        return type(value) is int or (isinstance(value, str) and _UUID.fullmatch(value) is not None)


_SHOWN_AS_SENT: Final = frozenset(
    {"uuid", "text", "varchar", "character varying", "citext", "boolean", "bool"}
    | {"smallint", "integer", "bigint", "int", "int2", "int4", "int8"}
)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
