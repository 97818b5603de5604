"""The rows found as a context tells them: in a fixed order of rows and columns, and redacted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent_persistence._rag.entities import ENTITIES, Entity
from agent_persistence._rag.reading import newest_first
from agent_persistence._rag.visible import visible, visible_value
from agent_persistence.records import Row
from agent_persistence.redaction import Redaction, Redactor
from agent_persistence.schema_registry import Schema


@dataclass(frozen=True, slots=True)
class Prepared:
    """The rows of every table, what redacted them, and by table how many values that replaced."""

    rows: dict[str, list[Row]]
    redactor: Redactor | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)

    def question(self, query: str) -> str:
        """The query as the rows tell what it asks for: redacted where they are."""
        return query if self.redactor is None else self.redactor.text(visible(query))


def prepared(found: Mapping[str, Sequence[Row]], schema: Schema, redaction: Redaction | None) -> Prepared:
    """The rows newest first, columns in the order of the schema and others by name.

    What is invisible is removed before redaction, since it could hide an address from a detector. Keys are put back
    after it: they tell which rows belong together, and stay out of prompts.
    """
    rows = {
        table: [_in_order(row, tuple(schema.columns(table))) for row in newest_first(table, found.get(table, ()))]
        for table in ENTITIES
    }
    if redaction is None:
        return Prepared(rows)
    redactor = redaction.session()
    told = redactor.tables({table: [visible_value(row) for row in given] for table, given in rows.items()})
    counts = {
        table: sum(count for kind, count in kinds.items() if kind != "dropped")
        for table, kinds in redactor.counts().items()
    }
    return Prepared({table: _with_keys(ENTITIES[table], rows[table], told[table]) for table in rows}, redactor, counts)


def _in_order(row: Row, columns: Sequence[str]) -> Row:
    known = {column: row[column] for column in columns if column in row}
    return known | {column: row[column] for column in sorted(row.keys() - known.keys())}


def _with_keys(entity: Entity, rows: Sequence[Row], redacted: Sequence[Row]) -> list[Row]:
    keys = [entity.key, *(parent.column for parent in entity.parents)]
    return [
        {**told, **{column: row[column] for column in keys if column in row}}
        for row, told in zip(rows, redacted, strict=True)
    ]
