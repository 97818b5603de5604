"""Which tables to read, and which rows of one decide which rows of another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agent_persistence.exceptions import ColumnNotAllowedError, TableNotAllowedError, ValidationError
from agent_persistence.query.filters import Filters
from agent_persistence.rag.ranking.words import Word
from agent_persistence.rag.reach import Choice, Link, Reach, anchors, reach
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable
from agent_persistence.schema.registry import Schema

_VECTOR: Final = re.compile(r"(?:\w+\.)?(?:vector|halfvec|sparsevec|tsvector)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One table to read: the caller's own filters and what the rows of other tables add to them, newest rows first.

    `newest_by` are the columns that say which rows are the newest, `select` those to ask for; None is all of them.
    `sought` are the words that further rows may have.
    """

    table: str
    limit: int
    filters: Filters | None
    newest_by: tuple[str, ...] = ()
    select: tuple[str, ...] | None = None
    links: tuple[Link, ...] = ()
    sought: tuple[Filters, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """The tables to read, and what could not be planned, in words.

    `searched` are the tables of which a retriever may name records: where filters choose a world, those that hold rows
    of it and no others. `chosen` are the tables of such worlds. `words` are those of a question, for which what the
    rows found belong to is read after them, and the turns around those that hold a word.
    """

    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    follows_relations: bool = True
    searched: tuple[str, ...] = ()
    chosen: frozenset[str] = frozenset()
    words: tuple[Word, ...] = ()


Readable = Mapping[str, frozenset[str] | None]
"""The tables that may be read, each with its readable columns; None is all of them."""


def plan(
    shape: ContextShape,
    filters: Mapping[str, Filters | None],
    limits: Mapping[str, int] | None,
    *,
    readable: Readable,
    follow_relations: bool,
    schema: Schema,
) -> ReadPlan:
    """Plan the tables of the context.

    Reading begins at the highest tables that filters name, else at the roots. Below them a table holds children of the
    rows found, above them their parents; a table whose link would lead through one that is not read, or by a column
    that may not be read, is left out, so that nobody else's rows slip in. Columns that the schema declares to be
    vectors, which say nothing to a reader and are long, are not asked for.

    A filter on a table that may not be read is a TableNotAllowedError; where none may be read, that is a
    ValidationError, since a context would say that nothing was found.
    """
    _check_tables("filters", filters, shape)
    allowed = {table: entity.limit for table, entity in shape.tables.items()} | _checked(limits or {}, shape)
    warnings: list[str] = []
    steps: dict[str, Step] = {}
    for table in shape.order:
        entity = shape.tables[table]
        refusal = _refusal(entity, readable, named=filters.get(table) is not None, known=shape.order)
        if refusal:
            warnings.append(f"{table}: {refusal}")
        elif allowed[table]:
            newest_by, select = _newest_by(entity, readable), _select(shape, entity, readable, schema)
            steps[table] = Step(table, allowed[table], filters.get(table), newest_by, select)
        elif filters.get(table) is not None:
            raise ValidationError(table, f"a filter is given for {table}, and a limit of 0 leaves the table out")
    if len(warnings) == len(shape.tables):
        raise _nothing_readable(shape, readable, warnings)
    filtered = {table for table, step in steps.items() if step.filters is not None}
    reached = reach(shape, anchors(shape, steps, filtered), filtered)
    if follow_relations:
        steps, left_out = _linked(steps, readable, reached)
        warnings += left_out
    chosen = frozenset(table for component in shape.components if component & filtered for table in component)
    searched = (
        table
        for table in steps
        if (table not in chosen or table in filtered or table in reached.below) and _is_named(shape.tables[table])
    )
    return ReadPlan(tuple(steps.values()), tuple(warnings), follow_relations, tuple(searched), chosen)


def _is_named(entity: ContextTable) -> bool:
    """Whether a retriever can name its records: by one key, and where they are shown at all."""
    return len(entity.key) == 1 and not entity.link


def _nothing_readable(shape: ContextShape, readable: Readable, reasons: Sequence[str]) -> ValidationError:
    allowed = ", ".join(sorted(readable)) or "none"
    hidden = [reason for reason in reasons if reason.partition(":")[0] in readable]
    why = f" ({'; '.join(hidden)})" if hidden else ""
    return ValidationError(
        "build_rag_context",
        f"none of the context's tables ({', '.join(shape.order)}) may be read here{why}; those that may be: {allowed}",
        "say which tables make the context with spec=, such as ContextSpec.from_schema(schema, root=…),"
        " or let the policy read some of these",
    )


def _refusal(entity: ContextTable, readable: Readable, *, named: bool, known: Iterable[str]) -> str | None:
    """Why the table is not read, if the policy has a say in it; raised where a filter names the table."""
    table = entity.table
    if table not in readable:
        if named:
            raise TableNotAllowedError(table, "query", [name for name in known if name in readable])
        return "not readable under this policy"
    for key in entity.key:
        if not _may_read(readable, table, key):
            if named:
                raise ColumnNotAllowedError(table, key, "a context needs the key of each row, and the policy hides it")
            return f"left out, because its key {key} is not readable under this policy"
    return None


def _newest_by(entity: ContextTable, readable: Readable) -> tuple[str, ...]:
    ordered = (*(() if entity.time is None else (entity.time,)), *entity.key)
    return tuple(column for column in ordered if _may_read(readable, entity.table, column))


def _select(shape: ContextShape, entity: ContextTable, readable: Readable, schema: Schema) -> tuple[str, ...] | None:
    """The columns that are said, with those that the shape needs; else what is declared without the vectors, if any."""
    if entity.columns is not None:
        wanted = dict.fromkeys((*entity.columns, *_needed(shape, entity)))
        return tuple(column for column in wanted if _may_read(readable, entity.table, column))
    declared = {
        name: column for name, column in schema.columns(entity.table).items() if _may_read(readable, entity.table, name)
    }
    without = tuple(name for name, column in declared.items() if not _VECTOR.match(column.type))
    return None if len(without) == len(declared) else without


def _needed(shape: ContextShape, entity: ContextTable) -> Iterator[str]:
    """The columns by which rows hang together and that prompts show beside the others."""
    yield from sorted(entity.structure)
    if entity.body is not None:
        yield entity.body
    for table in shape.children[entity.table]:
        for relation in shape.tables[table].parents:
            if relation.parent == entity.table:
                yield from relation.references
    for relation in entity.threads:
        yield from relation.references


def _may_read(readable: Readable, table: str, column: str) -> bool:
    columns = readable[table]
    return columns is None or column in columns


def _linked(steps: Mapping[str, Step], readable: Readable, reached: Reach) -> tuple[dict[str, Step], list[str]]:
    """The steps with their links; without those that hang, however indirectly, on what is not read."""
    linked = {
        table: replace(step, links=tuple(_possible(link, table, steps, readable) for link in reached.links[table]))
        for table, step in steps.items()
    }
    warnings: list[str] = []
    while stranded := [(step.table, why) for step in linked.values() for why in _stranded(step, linked, readable)]:
        table, why = stranded[0]
        del linked[table]
        warnings.append(f"{table}: left out, because {why} is not read and would say which rows belong")
        linked = {
            name: replace(step, links=tuple(_possible(link, name, linked, readable) for link in step.links))
            for name, step in linked.items()
        }
    return linked, warnings


def _possible(link: Link, table: str, steps: Mapping[str, Step], readable: Readable) -> Link:
    """The link with the choices that can be made; all of them where none can."""
    choices = tuple(choice for choice in link.choices if _hindrance(choice, table, steps, readable) is None)
    return replace(link, choices=choices) if choices else link


def _stranded(step: Step, linked: Mapping[str, Step], readable: Readable) -> Iterator[str]:
    """What the step's links need and is not read."""
    for link in step.links:
        hindrance = _hindrance(link.choices[0], step.table, linked, readable)
        if hindrance is not None:
            yield hindrance


def _hindrance(choice: Choice, table: str, steps: Mapping[str, Step], readable: Readable) -> str | None:
    if choice.table not in steps:
        return choice.table
    for column in choice.columns:
        if not _may_read(readable, table, column):
            return f"its column {column}"
    for column in choice.values_from:
        if not _may_read(readable, choice.table, column):
            return f"the column {column} of {choice.table}"
    return None


def _check_tables(option: str, named: Mapping[str, Any], shape: ContextShape) -> None:
    for table in named:
        if table not in shape.tables:
            raise ValidationError(table, f"{option} name the tables {', '.join(shape.order)}")


def _checked(limits: Mapping[str, Any], shape: ContextShape) -> dict[str, int]:
    _check_tables("limits", limits, shape)
    for table, limit in limits.items():
        if type(limit) is not int or limit < 0:
            raise ValidationError(
                table, f"a limit is an int of at least 0 (0 leaves the table out), not {type(limit).__name__}"
            )
    return dict(limits)
