"""Which tables to read, and which rows of one decide which rows of another. Knows the default schema's relations."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from agent_persistence.exceptions import TableNotAllowedError, ValidationError
from agent_persistence.filters import Filters

LEVELS: Final = {"clients": 0, "campaigns": 0, "leads": 1, "conversations": 2, "messages": 3}
DEFAULT_LIMITS: Final = {"clients": 10, "leads": 10, "campaigns": 10, "conversations": 20, "messages": 50}


@dataclass(frozen=True, slots=True)
class Link:
    """Only rows whose `column` is among the `values_from` column of the rows found in `table`."""

    column: str
    table: str
    values_from: str


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
    """One query: the caller's own filters and what the rows of other tables add to them."""

    table: str
    limit: int
    filters: Filters | None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The queries to run, and what could not be planned, in words."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...]


def plan(
    filters: Mapping[str, Filters | None],
    limits: Mapping[str, int] | None,
    *,
    readable: Container[str],
    follow_relations: bool,
) -> Plan:
    """Plan the five tables.

    The anchor is the highest level of client and campaign > lead > conversation > message that a filter names, else
    leads. Below it a table holds children of the rows found, above it their parents; a table whose link would lead
    through one that is not read is left out, so that nobody else's rows slip in.
    """
    allowed = {**DEFAULT_LIMITS, **_checked(limits or {})}
    warnings = []
    tables = []
    for table in LEVELS:
        if table not in readable:
            if filters.get(table) is not None:
                raise TableNotAllowedError(table, "query", [name for name in LEVELS if name in readable])
            warnings.append(f"{table}: not readable under this policy")
        elif allowed[table]:
            tables.append(table)
        elif filters.get(table) is not None:
            raise ValidationError(table, f"a filter is given for {table}, and a limit of 0 leaves the table out")
    steps = {table: Step(table, allowed[table], filters.get(table)) for table in tables}
    if follow_relations:
        steps, left_out = _linked(steps)
        warnings += left_out
    return Plan(tuple(steps.values()), tuple(warnings))


def _linked(steps: Mapping[str, Step]) -> tuple[dict[str, Step], list[str]]:
    """The steps with their links; without those that hang, however indirectly, on a table that is not read."""
    anchor = _anchor(steps)
    linked = {table: replace(step, links=tuple(_links(steps, table, anchor))) for table, step in steps.items()}
    warnings: list[str] = []
    while stranded := [(s.table, link.table) for s in linked.values() for link in s.links if link.table not in linked]:
        table, missing = stranded[0]
        del linked[table]
        warnings.append(f"{table}: left out, because {missing} is not read and would say which rows belong")
    return linked, warnings


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


def _checked(limits: Mapping[str, Any]) -> dict[str, int]:
    for table, limit in limits.items():
        if table not in LEVELS:
            raise ValidationError(table, f"limits name the tables {', '.join(LEVELS)}")
        if type(limit) is not int or limit < 0:
            raise ValidationError(
                table, f"a limit is an int of at least 0 (0 leaves the table out), not {type(limit).__name__}"
            )
    return dict(limits)
