"""A plan carried out through a read-only façade: each table is a task that waits for the rows it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import anyio

from agent_persistence.exceptions import AdapterError, PersistenceError
from agent_persistence.query.filters import Filters, all_of
from agent_persistence.query.ordering import desc
from agent_persistence.query.records import Row
from agent_persistence.rag.ahead import conditions_ahead, holds
from agent_persistence.rag.candidates import ROWS_A_WORD, best_talks, without
from agent_persistence.rag.conditions import alternatives, among, batches_of, size_of
from agent_persistence.rag.found import Found
from agent_persistence.rag.plan import ReadPlan, Step
from agent_persistence.rag.ranking.relevance import ContextScope, Relevance, Search
from agent_persistence.rag.scope import Named, Values, missing_parents, within
from agent_persistence.rag.times import newest_first
from agent_persistence.runtime.concurrency import together
from agent_persistence.schema.contexts.shape import ContextShape, ContextTable
from agent_persistence.service import ReadOnlyPersistenceFacade

MOST_NAMED: Final = 50
"""How many records a retriever is asked to name."""
RETRIEVER_DEADLINE_S: Final = 15.0
"""How long a retriever may take."""
MOST_TURNS: Final = 999
"""How many turns are read around those with words of the question."""
RETRIEVER: Final = "retriever"
AROUND: Final = "what was found"
"""What is reported to have failed where the records around those found could not be read."""


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
        knows = facade.capabilities.get("exists", False)
        self._ahead = conditions_ahead(plan.steps, facade.schema) if knows else {}
        self._found = Found()

    async def run(self) -> Found:
        async with anyio.create_task_group() as group:
            for step in self._plan.steps:
                group.start_soon(self._settle, step, group.cancel_scope)
            if self._search is not None:
                group.start_soon(self._retrieve, self._search, group.cancel_scope)
            if self._plan.words:
                group.start_soon(self._read_around, group.cancel_scope)
        failures = self._found.failures
        self._found.failures = {
            name: failures[name] for name in (*self._settled, RETRIEVER, AROUND) if name in failures
        }
        for name, failure in self._found.failures.items():
            if not self._is_tolerated(name, failure):
                raise failure
        return self._found

    async def _settle(self, step: Step, siblings: anyio.CancelScope) -> None:
        """Fill the step's slot. A child of a task group never raises: its failure is kept and raised after the join."""
        above = [table for link in step.links for table in link.tables]
        try:
            early = await self._read_ahead(step, above)
            await self._wait(above)
            for table in above:
                if table in self._found.failures:
                    raise self._found.failures[table]
            newest, with_words = await self._newest(step) if early is None else (early, list[Row]())
            self._found.rows[step.table] = newest[: step.limit]
            if len(newest) >= step.limit and with_words:
                known = newest[: step.limit]
                self._found.worded[step.table] = without(self._tables[step.table], with_words, known)
            self._found.beyond_limit[step.table] = len(newest[step.limit :])
            if len(newest) == step.limit == self._facade.max_rows:
                self._found.full.add(step.table)
        except Exception as error:  # every failure is raised by run() or reported in the warnings
            self._fail(step.table, error, siblings)
        finally:
            self._settled[step.table].set()

    async def _wait(self, tables: Iterable[str]) -> None:
        for table in tables:
            await self._settled[table].wait()

    async def _read_ahead(self, step: Step, above: Sequence[str]) -> list[Row] | None:
        """The rows that `_newest` would find, asked for before it is known what they belong to; None where it cannot be
        done, or what they belong to was cut at its limit."""
        if step.table not in self._ahead:
            return None
        held: list[Filters] = [self._ahead[step.table], *([] if step.filters is None else [step.filters])]
        try:
            rows = await self._query(step, [held], self._most(step))
        except PersistenceError:  # the ordinary way says what is wrong, if anything is
            return None
        await self._wait(above)
        found = self._found
        is_cut = any(found.beyond_limit.get(table, 1) or table in found.full for table in above)
        return None if is_cut or not holds(step, rows, found.rows) else rows

    def _most(self, step: Step) -> int:
        """One row more than the limit, so that "more exist" is known, unless it is all that may be asked for."""
        return step.limit + (step.limit != self._facade.max_rows)

    def _fail(self, name: str, error: Exception, siblings: anyio.CancelScope) -> None:
        self._found.failures[name] = error
        if not self._is_tolerated(name, error):
            siblings.cancel()

    def _is_tolerated(self, name: str, error: Exception) -> bool:
        """Whether a context goes on without it; a retriever is the caller's own code, whose errors may be any."""
        is_foreign = isinstance(error, AdapterError) or (name == RETRIEVER and not isinstance(error, PersistenceError))
        return self._tolerates_failures and is_foreign

    async def _newest(self, step: Step) -> tuple[list[Row], list[Row]]:
        """As many rows as may be asked for, fewer where fewer exist; and rows that hold a word of the question, of any
        age."""
        conditions = self._conditions(step)
        if not conditions:
            return [], []
        answers = await together(
            [partial(self._query, step, conditions, self._most(step)), partial(self._sought, step, conditions)]
        )
        return answers[0], answers[1]

    def _conditions(self, step: Step) -> list[list[Filters]]:
        """What the rows meet, all of one of these; none where no row can belong."""
        conditions: list[list[Filters]] = [[] if step.filters is None else [step.filters]]
        for link in step.links:
            conditions = [[*held, choice] for choice in alternatives(link, self._found.rows) for held in conditions]
        return conditions

    async def _scope(self, table: str) -> list[Filters]:
        """What a row meets that belongs to this context, once that is known; any row does where nothing chooses."""
        (step,) = (step for step in self._plan.steps if step.table == table)
        for above in (table for link in step.links for table in link.tables):
            await self._settled[above].wait()
            if above in self._found.failures:
                raise self._found.failures[above]
        return [all_of(*held) for held in self._conditions(step)]

    async def _sought(self, step: Step, conditions: Sequence[Sequence[Filters]]) -> list[Row]:
        """Rows with the words, the newest of each; none where the database does not say, which is no failure."""
        asked = [
            partial(self._query, step, [[*held, word] for held in conditions], ROWS_A_WORD) for word in step.sought
        ]
        try:
            return [row for rows in await together(asked) for row in rows]
        except AdapterError as error:
            self._found.unsought[step.table] = error
            return []

    async def _query(self, step: Step, alternatives: Sequence[Sequence[Filters]], limit: int | None) -> list[Row]:
        """The newest rows that meet all conditions of one of the alternatives, each of them once."""
        answers = await together([partial(self._asked, step, conditions, limit) for conditions in alternatives])
        entity = self._tables[step.table]
        rows = [row for answer in answers for row in answer]
        return newest_first(entity, rows if len(answers) < 2 else _distinct(entity, rows))[:limit]

    async def _asked(self, step: Step, conditions: Sequence[Filters], limit: int | None) -> list[Row]:
        with self._found.timeline.request(step.table) as request:
            rows = await self._facade.query(
                step.table,
                all_of(*conditions) if conditions else None,
                limit=limit,
                order_by=[desc(column) for column in step.newest_by],
                select=step.select,
            )
            request.answers = len(rows)
        return rows

    async def _retrieve(self, search: Search, siblings: anyio.CancelScope) -> None:
        """Ask the retriever while the tables are read; then fetch what it names and was not found, with its parents."""
        searched = self._plan.searched
        try:
            answer = await self._answer(search)
            for settled in self._settled.values():
                await settled.wait()
            readable = [one for one in answer if one.table in searched and one.table in self._found.rows]
            self._found.named = await self._fetch_named(readable)
            self._found.unrelated = self._count_unrelated(answer)
            self._found.relevance = readable
        except Exception as error:  # as above
            self._fail(RETRIEVER, error, siblings)

    async def _answer(self, search: Search) -> Sequence[Relevance]:
        searched = self._plan.searched
        with self._found.timeline.request(RETRIEVER) as request, anyio.move_on_after(RETRIEVER_DEADLINE_S):
            scope = ContextScope(self._scope)
            named = await search.ask(self._facade, tables=searched, limit=MOST_NAMED, scope=scope)
            request.answers = len(named)
            return named
        raise AdapterError(f"the retriever has not answered within {RETRIEVER_DEADLINE_S:g} s")

    def _count_unrelated(self, answer: Sequence[Relevance]) -> int:
        """How many of the records named are not there, or not for this context."""
        there = {
            (table, str(self._tables[table].key_of(row)))
            for rows in (self._found.rows, self._found.named)
            for table, found in rows.items()
            for row in found
        }
        return len({(one.table, str(one.key)) for one in answer} - there)

    async def _fetch_named(self, answer: Sequence[Relevance]) -> dict[str, list[Row]]:
        """The rows named that were not found, and then their parents, level by level, as far as they belong."""
        known = {
            table: {str(self._tables[table].key_of(row)) for row in rows} for table, rows in self._found.rows.items()
        }
        wanted: dict[str, list[Any]] = {}
        for one in answer:
            if str(one.key) not in known[one.table]:
                known[one.table].add(str(one.key))
                wanted.setdefault(one.table, []).append(one.key)
        asking = {(table, self._tables[table].key): [(key,) for key in keys] for table, keys in wanted.items()}
        return within(self._plan, self._found.rows, await self._with_parents(asking, self._found.rows))

    async def _read_around(self, siblings: anyio.CancelScope) -> None:
        """Read what the rows found belong to, and the turns around those with words, as far as they are not there."""
        for settled in self._settled.values():
            await settled.wait()
        rows = {
            step.table: [*self._found.rows.get(step.table, ()), *self._found.worded.get(step.table, ())]
            for step in self._plan.steps
        }
        try:
            missing = missing_parents(self._shape, self._plan, {}, rows)
            parents, *turns = await together(
                [partial(self._with_parents, missing, rows), *(partial(self._turns, step) for step in self._plan.steps)]
            )
            for step, found in zip(self._plan.steps, turns, strict=True):
                parents[step.table] += without(self._tables[step.table], found[step.table], rows[step.table])
            self._found.around = within(self._plan, rows, parents)
        except Exception as error:  # as above
            self._fail(AROUND, error, siblings)

    async def _turns(self, step: Step) -> dict[str, list[Row]]:
        """The turns of the talks in which words were found."""
        entity, rows = self._tables[step.table], self._found.worded.get(step.table, ())
        talks = best_talks(entity, self._plan.words, rows)
        if not talks:
            return {step.table: []}
        conditions = self._holding(step, entity.parents[0].columns, talks)
        return {step.table: await self._query(step, conditions, MOST_TURNS)}

    async def _with_parents(self, missing: Named, found: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
        """The rows that hold the values, and what they belong to that is not found, level by level."""
        named: dict[str, list[Row]] = {step.table: [] for step in self._plan.steps}
        asked: set[tuple[str, str]] = set()
        while missing:
            asked |= {(str(asking), str(values)) for asking, held in missing.items() for values in held}
            for (table, _), rows in (await self._by_values(missing)).items():
                named[table] = _distinct(self._tables[table], [*named[table], *rows])
            parents = missing_parents(self._shape, self._plan, found, named)
            missing = {
                asking: new
                for asking, held in parents.items()
                if (new := [values for values in held if (str(asking), str(values)) not in asked])
            }
        return named

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
        return [[*held, among(columns, batch)] for batch in batches_of(values, size_of(columns))]


def _distinct(entity: ContextTable, rows: Sequence[Row]) -> list[Row]:
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(repr([row.get(column) for column in entity.key]), row)
    return list(found.values())
