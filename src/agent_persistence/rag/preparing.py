"""The rows found as a context shows them: in a fixed order of rows and columns, and redacted. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agent_persistence.query.records import Row
from agent_persistence.rag.ranking.lexical import terms
from agent_persistence.rag.ranking.words import question_words
from agent_persistence.rag.rendering.visible import visible, visible_value
from agent_persistence.rag.scoring import RecordId, record_id
from agent_persistence.rag.times import newest_first
from agent_persistence.redaction.actions import Drop
from agent_persistence.redaction.redacting import Redaction, Redactor
from agent_persistence.schema.contexts.shape import ContextShape
from agent_persistence.schema.registry import Schema


@dataclass(frozen=True, slots=True)
class Prepared:
    """The rows of every table, what redacted them, and by table how many values that replaced."""

    rows: dict[str, list[Row]]
    redactor: Redactor | None = None
    redacted: Mapping[str, int] = field(default_factory=dict)

    def question(self, query: str | None) -> str:
        """The query as the rows show what it asks for: redacted where they are."""
        return query or "" if self.redactor is None else self.redactor.text(visible(query or ""))

    def wanted(self, query: str | None) -> frozenset[str]:
        """The words by which parts of long texts are chosen."""
        return frozenset(term for word in question_words(self.question(query)) for term in terms(word.text))


def prepared(
    found: Mapping[str, Sequence[Row]], shape: ContextShape, schema: Schema, redaction: Redaction | None
) -> Prepared:
    """The rows newest first, columns in the order of the schema and others by name.

    What is invisible is removed before redaction, since it could hide an address from a detector. Keys are put back
    after it: they say which rows belong together, and stay out of prompts.
    """
    rows = {
        table: [_in_order(row, tuple(schema.columns(table))) for row in newest_first(entity, found.get(table, ()))]
        for table, entity in shape.tables.items()
    }
    if redaction is None:
        return Prepared(rows)
    redactor = redaction.session()
    redacted = redactor.tables({table: [visible_value(row) for row in given] for table, given in rows.items()})
    counts = {
        table: sum(count for kind, count in kinds.items() if kind != "dropped")
        for table, kinds in redactor.counts().items()
    }
    return Prepared({table: _with_keys(shape, table, rows[table], redacted[table]) for table in rows}, redactor, counts)


def _in_order(row: Row, columns: Sequence[str]) -> Row:
    known = {column: row[column] for column in columns if column in row}
    return known | {column: row[column] for column in sorted(row.keys() - known.keys())}


def _with_keys(shape: ContextShape, table: str, rows: Sequence[Row], redacted: Sequence[Row]) -> list[Row]:
    """The redacted rows with their keys, and the keys of others, as they are; what is no key stays redacted."""
    entity = shape.tables[table]
    relations = [one for one in (*entity.parents, *entity.threads) if one.references == shape.tables[one.parent].key]
    keys = [*entity.key, *(column for one in relations for column in one.columns)]
    return [
        {**safe, **{column: row[column] for column in keys if column in row}}
        for row, safe in zip(rows, redacted, strict=True)
    ]


def divided(
    shape: ContextShape, rows: Mapping[str, Sequence[Row]], reserved: Collection[RecordId]
) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """The rows of the context's lists, and those in reserve."""
    shown: dict[str, list[Row]] = {table: [] for table in shape.tables}
    reserve: dict[str, list[Row]] = {table: [] for table in shape.tables}
    for table, entity in shape.tables.items():
        for row in rows[table]:
            (reserve if record_id(table, entity.key_of(row)) in reserved else shown)[table].append(row)
    return shown, reserve


def hides(redaction: Redaction | None) -> Callable[[str, str], bool]:
    """Whether a redaction leaves a column out: a question finds nothing by it either."""
    return lambda table, column: redaction is not None and isinstance(redaction.action(table, column), Drop)
