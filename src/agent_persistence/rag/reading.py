"""A plan carried out through a read-only façade: each table is a task that waits for the rows it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio

from agent_persistence.exceptions import AdapterError
from agent_persistence.query.filters import Filters, all_of, any_of, in_
from agent_persistence.query.ordering import desc
from agent_persistence.query.records import Row
from agent_persistence.rag.plan import ReadPlan, Step
from agent_persistence.rag.reach import Link
from agent_persistence.rag.relevance import Relevance, Retriever
from agent_persistence.rag.scope import Named, Values, missing_parents, values, within
from agent_persistence.rag.times import age
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable
from agent_persistence.service import ReadOnlyPersistenceFacade

KEYS_A_QUERY: Final = 500
"""The most keys of parents in one query; more of them make several queries, at once."""
COMPARISONS_A_QUERY: Final = 200
"""The most comparisons in one query where a key has several columns."""
MOST_NAMED: Final = 50
"""How many records a retriever is asked to name."""
RETRIEVER: Final = "retriever"


@dataclass(slots=True)
class Found:
    """What was read: by table the newest rows within the limit and the number beyond it, and what failed, in order.

    Whether more rows exist is not known of the tables that are `full`: as many were found as may be asked for.
    `named` are further rows that the retriever named, and their parents; `relevance` is what it said of them, or None
    where there was none to ask or it failed.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    beyond_limit: dict[str, int] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    named: dict[str, list[Row]] = field(default_factory=dict)
    relevance: Sequence[Relevance] | None = None
    failures: dict[str, Exception] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """A question to a retriever."""

    retriever: Retriever
    query: str


async def read(
    facade: ReadOnlyPersistenceFacade,
    shape: ContextShape,
    plan: ReadPlan,
    search: Search | None,
    *,
    tolerates_failures: bool,
) -> Found:
    """Carry out the plan. The first failure cancels what else is under way and is raised as itself.

    With `tolerates_failures` an AdapterError costs its table and those that depend on it.
    """
    return await _Reading(facade, shape, plan, search, tolerates_failures).run()


class _Reading:
    def __init__(
        self,
        facade: ReadOnlyPersistenceFacade,
        shape: ContextShape,
        plan: ReadPlan,
        search: Search | None,
        tolerates_failures: bool,
    ) -> None:
        self._facade = facade
        self._tables = shape.tables
        self._shape = shape
        self._plan = plan
        self._search = search if plan.searched else None
        self._tolerates_failures = tolerates_failures
        self._settled = {step.table: anyio.Event() for step in plan.steps}
        self._found = Found()

    async def run(self) -> Found:
        async with anyio.create_task_group() as group:
            for step in self._plan.steps:
                group.start_soon(self._settle, step, group.cancel_scope)
            if self._search is not None:
                group.start_soon(self._retrieve, self._search, group.cancel_scope)
        failures = self._found.failures
        self._found.failures = {name: failures[name] for name in (*self._settled, RETRIEVER) if name in failures}
        for failure in self._found.failures.values():
            if not self._is_tolerated(failure):
                raise failure
        return self._found

    async def _settle(self, step: Step, siblings: anyio.CancelScope) -> None:
        """Fill the step's slot. A child of a task group never raises: its failure is kept and raised after the join."""
        above = [table for link in step.links for table in link.tables]
        for table in above:
            await self._settled[table].wait()
        try:
            for table in above:
                if table in self._found.failures:
                    raise self._found.failures[table]
            newest = await self._newest(step)
            self._found.rows[step.table] = newest[: step.limit]
            self._found.beyond_limit[step.table] = len(newest[step.limit :])
            if len(newest) == step.limit == self._facade.max_rows:
                self._found.full.add(step.table)
        except Exception as error:  # every failure is raised by run() or told in the warnings
            self._fail(step.table, error, siblings)
        finally:
            self._settled[step.table].set()

    def _fail(self, name: str, error: Exception, siblings: anyio.CancelScope) -> None:
        self._found.failures[name] = error
        if not self._is_tolerated(error):
            siblings.cancel()

    def _is_tolerated(self, error: Exception) -> bool:
        return self._tolerates_failures and isinstance(error, AdapterError)

    async def _newest(self, step: Step) -> list[Row]:
        """One row more than the limit, so that "more exist" is known, unless it is all that may be asked for; fewer
        where fewer exist."""
        conditions: list[list[Filters]] = [[] if step.filters is None else [step.filters]]
        for link in step.links:
            alternatives = list(_alternatives(link, self._found.rows))
            if not alternatives:
                return []
            conditions = [[*held, alternative] for alternative in alternatives for held in conditions]
        return await self._query(step, conditions, limit=step.limit + (step.limit != self._facade.max_rows))

    async def _query(self, step: Step, alternatives: Sequence[Sequence[Filters]], limit: int | None) -> list[Row]:
        """The newest rows that meet all conditions of one of the alternatives, each of them once."""
        answers = await together(
            [
                partial(
                    self._facade.query,
                    step.table,
                    all_of(*conditions) if conditions else None,
                    limit=limit,
                    order_by=[desc(column) for column in step.newest_by],
                    select=step.select,
                )
                for conditions in alternatives
            ]
        )
        told = self._tables[step.table]
        rows = [row for answer in answers for row in answer]
        return newest_first(told, rows if len(answers) < 2 else _distinct(told, rows))[:limit]

    async def _retrieve(self, search: Search, siblings: anyio.CancelScope) -> None:
        """Ask the retriever while the tables are read; then fetch what it names and was not found, with its parents."""
        searched = self._plan.searched
        try:
            answer = await search.retriever.retrieve(self._facade, search.query, tables=searched, limit=MOST_NAMED)
            for settled in self._settled.values():
                await settled.wait()
            readable = [one for one in answer if one.table in searched and one.table in self._found.rows]
            self._found.named = await self._fetch_named(readable)
            self._found.relevance = readable
        except Exception as error:  # as above
            self._fail(RETRIEVER, error, siblings)

    async def _fetch_named(self, answer: Sequence[Relevance]) -> dict[str, list[Row]]:
        """The rows named that were not found, and then their parents, level by level, as far as they belong."""
        known = {
            table: {_only_key(self._tables[table], row) for row in rows} for table, rows in self._found.rows.items()
        }
        wanted: dict[str, list[Any]] = {}
        for one in answer:
            if str(one.key) not in known[one.table]:
                known[one.table].add(str(one.key))
                wanted.setdefault(one.table, []).append(one.key)
        named: dict[str, list[Row]] = {step.table: [] for step in self._plan.steps}
        missing: Named = {(table, self._tables[table].key): [(key,) for key in keys] for table, keys in wanted.items()}
        asked: set[tuple[str, str]] = set()
        while missing:
            asked |= {(str(asking), str(values)) for asking, held in missing.items() for values in held}
            for (table, _), rows in (await self._by_values(missing)).items():
                named[table] = _distinct(self._tables[table], [*named[table], *rows])
            parents = missing_parents(self._shape, self._plan, self._found.rows, named)
            missing = {
                asking: new
                for asking, held in parents.items()
                if (new := [values for values in held if (str(asking), str(values)) not in asked])
            }
        return within(self._plan, self._found.rows, named)

    async def _by_values(self, missing: Named) -> dict[tuple[str, tuple[str, ...]], list[Row]]:
        """The rows that hold the values and meet the filters of their tables."""
        steps = {step.table: step for step in self._plan.steps}
        answers = await together(
            [
                partial(self._query, steps[table], self._holding(steps[table], columns, values), None)
                for (table, columns), values in missing.items()
            ]
        )
        return dict(zip(missing, answers, strict=True))

    def _holding(self, step: Step, columns: tuple[str, ...], values: Sequence[Values]) -> list[list[Filters]]:
        held: list[Filters] = [] if step.filters is None else [step.filters]
        return [[*held, _among(columns, batch)] for batch in _batches(values, _size(columns))]


def newest_first(told: ContextTable, rows: Sequence[Row]) -> list[Row]:
    """The rows by time, then by key, the greatest first; rows without a time are the last."""
    return sorted(rows, key=partial(age, told), reverse=True)


def _alternatives(link: Link, rows: Mapping[str, Sequence[Row]]) -> Iterator[Filters]:
    """Conditions of which a row that the link takes meets one; none where no row can meet any."""
    by_columns: dict[tuple[str, ...], dict[Values, None]] = {}
    for choice in link.choices:
        held = by_columns.setdefault(choice.columns, {})
        held.update(dict.fromkeys(values(row, choice.values_from) for row in rows[choice.table]))
        held.pop((), None)
    batches = [
        _among(columns, batch) for columns, held in by_columns.items() for batch in _batches([*held], _size(columns))
    ]
    if len(by_columns) > 1 and sum(map(len, by_columns.values())) <= KEYS_A_QUERY and all(map(_is_one, by_columns)):
        yield any_of(*batches)
    else:
        yield from batches


def _among(columns: tuple[str, ...], held: Sequence[Values]) -> Filters:
    """The columns hold one of the combinations of values."""
    if len(columns) == 1:
        return {columns[0]: in_([value for (value,) in held])}
    return any_of(*(dict(zip(columns, combination, strict=True)) for combination in held))


def _is_one(columns: tuple[str, ...]) -> bool:
    return len(columns) == 1


def _size(columns: tuple[str, ...]) -> int:
    return KEYS_A_QUERY if _is_one(columns) else max(COMPARISONS_A_QUERY // len(columns), 1)


def _distinct(told: ContextTable, rows: Sequence[Row]) -> list[Row]:
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(repr([row.get(column) for column in told.key]), row)
    return list(found.values())


def _only_key(told: ContextTable, row: Row) -> str:
    return str(row[told.key[0]])


def _batches(held: Sequence[Values], size: int) -> Iterator[Sequence[Values]]:
    for start in range(0, len(held), size):
        yield held[start : start + size]
