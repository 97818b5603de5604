"""Which tables to read, and which rows of one decide which rows of another. Knows the default schema's relations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from agent_persistence._rag.entities import ENTITIES
from agent_persistence._rag.words import Word
from agent_persistence.exceptions import ColumnNotAllowedError, TableNotAllowedError, ValidationError
from agent_persistence.filters import Filters
from agent_persistence.schema_registry import Schema

LEVELS: Final = {"clients": 0, "campaigns": 0, "leads": 1, "conversations": 2, "messages": 3}
DEFAULT_LIMITS: Final = {"clients": 10, "leads": 10, "campaigns": 10, "conversations": 20, "messages": 50}


@dataclass(frozen=True, slots=True)
class Link:
    """Only rows whose `column` is among the `values_from` column of the rows found in `table`."""

    column: str
    table: str
    values_from: str


_VECTOR: Final = re.compile(r"(?:\w+\.)?(?:vector|halfvec|sparsevec|tsvector)\b", re.IGNORECASE)
_DOWN: Final = {
    "leads": (Link("client_id", "clients", "id"), Link("campaign_id", "campaigns", "id")),
    "conversations": (Link("lead_id", "leads", "id"),),
    "messages": (Link("conversation_id", "conversations", "id"),),
}
_UP: Final = {
    "clients": (Link("id", "leads", "client_id"),),
    "campaigns": (Link("id", "leads", "campaign_id"),),
    "leads": (Link("id", "conversations", "lead_id"),),
    "conversations": (Link("id", "messages", "conversation_id"),),
}


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
    of it and no others. `words` are those of a question, for which what the rows found belong to is read after them,
    and the turns around those that hold a word.
    """

    steps: tuple[Step, ...]
    warnings: tuple[str, ...]
    follows_relations: bool = True
    searched: tuple[str, ...] = ()
    words: tuple[Word, ...] = ()


Readable = Mapping[str, frozenset[str] | None]
"""The tables that may be read, each with its readable columns; None is all of them."""


def plan(
    filters: Mapping[str, Filters | None],
    limits: Mapping[str, int] | None,
    *,
    readable: Readable,
    follow_relations: bool,
    schema: Schema,
) -> ReadPlan:
    """Plan the five tables.

    The anchor is the highest level of client and campaign > lead > conversation > message that a filter names, else
    leads. Below it a table holds children of the rows found, above it their parents; a table whose link would lead
    through one that is not read, or by a column that may not be read, is left out, so that nobody else's rows slip in.
    Columns that the schema declares to be vectors, which tell a reader nothing and are long, are not asked for.
    """
    allowed = {**DEFAULT_LIMITS, **_checked(limits or {})}
    warnings: list[str] = []
    steps = {}
    for table in LEVELS:
        refusal = _refusal(table, readable, named=filters.get(table) is not None)
        if refusal:
            warnings.append(f"{table}: {refusal}")
        elif allowed[table]:
            newest_by, select = _newest_by(table, readable), _select(table, readable, schema)
            steps[table] = Step(table, allowed[table], filters.get(table), newest_by, select)
        elif filters.get(table) is not None:
            raise ValidationError(table, f"a filter is given for {table}, and a limit of 0 leaves the table out")
    anchor = _anchor(steps)
    if follow_relations:
        steps, left_out = _linked(steps, readable, anchor)
        warnings += left_out
    return ReadPlan(tuple(steps.values()), tuple(warnings), follow_relations, tuple(_searched(steps, anchor)))


def _refusal(table: str, readable: Readable, *, named: bool) -> str | None:
    """Why the table is not read, if the policy has a say in it; raised where a filter names the table."""
    if table not in readable:
        if named:
            raise TableNotAllowedError(table, "query", [name for name in LEVELS if name in readable])
        return "not readable under this policy"
    key = ENTITIES[table].key
    if not _may_read(readable, table, key):
        reason = f"left out, because its key {key} is not readable under this policy"
        if named:
            raise ColumnNotAllowedError(table, key, "a context needs the key of each row, and the policy hides it")
        return reason
    return None


def _newest_by(table: str, readable: Readable) -> tuple[str, ...]:
    entity = ENTITIES[table]
    return tuple(column for column in (entity.time, entity.key) if _may_read(readable, table, column))


def _select(table: str, readable: Readable, schema: Schema) -> tuple[str, ...] | None:
    """What is declared and readable without the vectors, if there are any."""
    declared = {name: column for name, column in schema.columns(table).items() if _may_read(readable, table, name)}
    told = tuple(name for name, column in declared.items() if not _VECTOR.match(column.type))
    return None if len(told) == len(declared) else told


def _may_read(readable: Readable, table: str, column: str) -> bool:
    columns = readable[table]
    return columns is None or column in columns


def _linked(steps: Mapping[str, Step], readable: Readable, anchor: int) -> tuple[dict[str, Step], list[str]]:
    """The steps with their links; without those that hang, however indirectly, on what is not read."""
    linked = {table: replace(step, links=tuple(_links(steps, table, anchor))) for table, step in steps.items()}
    warnings: list[str] = []
    while stranded := [(step.table, why) for step in linked.values() for why in _stranded(step, linked, readable)]:
        table, why = stranded[0]
        del linked[table]
        warnings.append(f"{table}: left out, because {why} is not read and would say which rows belong")
    return linked, warnings


def _stranded(step: Step, linked: Mapping[str, Step], readable: Readable) -> Iterator[str]:
    """What the step's links need and is not read."""
    for link in step.links:
        if link.table not in linked:
            yield link.table
        elif not _may_read(readable, step.table, link.column):
            yield f"its column {link.column}"
        elif not _may_read(readable, link.table, link.values_from):
            yield f"the column {link.values_from} of {link.table}"


def _anchor(steps: Mapping[str, Step]) -> int:
    filtered = [LEVELS[table] for table, step in steps.items() if step.filters is not None]
    return min(filtered or [LEVELS[table] for table in steps if LEVELS[table] >= LEVELS["leads"]] or [0])


def _links(steps: Mapping[str, Step], table: str, anchor: int) -> Iterator[Link]:
    level = LEVELS[table]
    if level > anchor:
        for link in _DOWN[table]:
            if LEVELS[link.table] > 0 or (link.table in steps and steps[link.table].filters is not None):
                yield link
    elif level < anchor or (level == 0 and steps[table].filters is None and "leads" in steps):
        yield from _UP[table]


def _searched(steps: Mapping[str, Step], anchor: int) -> Iterator[str]:
    is_chosen = any(step.filters is not None for step in steps.values())
    for table, step in steps.items():
        if not is_chosen or step.filters is not None or LEVELS[table] > anchor:
            yield table


def _checked(limits: Mapping[str, Any]) -> dict[str, int]:
    for table, limit in limits.items():
        if table not in LEVELS:
            raise ValidationError(table, f"limits name the tables {', '.join(LEVELS)}")
        if type(limit) is not int or limit < 0:
            raise ValidationError(
                table, f"a limit is an int of at least 0 (0 leaves the table out), not {type(limit).__name__}"
            )
    return dict(limits)
