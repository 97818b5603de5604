"""From a lead to a prompt: the slices of the business tables that a model should see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import anyio

from agent_persistence._rag.outline import Node, outline
from agent_persistence._rag.plan import LEVELS, Plan, Step, plan
from agent_persistence._rag.rendering import render_xml
from agent_persistence.exceptions import AdapterError, ValidationError
from agent_persistence.filters import Filters, all_of, in_
from agent_persistence.ordering import desc
from agent_persistence.records import Row, distinct
from agent_persistence.service import ReadOnlyPersistenceFacade

OnError: TypeAlias = Literal["raise", "partial"]
PromptFormat: TypeAlias = Literal["xml"]


class ReadableSource(Protocol):
    """Whatever can give a read-only façade of itself: an agent, a service, a façade."""

    def readonly(self) -> ReadOnlyPersistenceFacade: ...


@dataclass(slots=True)
class RAGContext:
    """The rows found, newest first in each table.

    `complete` is False when a table could not be read (`on_error="partial"`); `warnings` say what is missing and why.
    `report` tells per table how many rows are kept and whether more exist beyond the limit.
    """

    clients: list[Row] = field(default_factory=list)
    leads: list[Row] = field(default_factory=list)
    campaigns: list[Row] = field(default_factory=list)
    conversations: list[Row] = field(default_factory=list)
    messages: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    complete: bool = True
    report: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def sources(self) -> dict[str, tuple[str, Any]]:
        """The (table, key) behind each short reference in the prompt."""
        return {node.ref: (node.table, node.row.get("id")) for root in self._outline() for node in root.walk()}

    def to_prompt(self, format: PromptFormat = "xml") -> str:
        """Return the context as text: the same bytes for the same rows, everything in them escaped."""
        if format != "xml":
            raise ValidationError("to_prompt", f"format is 'xml', not {format!r:.40}")
        refs: dict[str, dict[Any, str]] = {}
        for ref, (table, key) in self.sources.items():
            refs.setdefault(table, {})[key] = ref
        return render_xml(self._outline(), refs)

    def _outline(self) -> list[Node]:
        return outline({table: getattr(self, table) for table in LEVELS})


async def build_rag_context(
    source: ReadableSource,
    *,
    client_filters: Filters | None = None,
    lead_filters: Filters | None = None,
    campaign_filters: Filters | None = None,
    conversation_filters: Filters | None = None,
    message_filters: Filters | None = None,
    limits: Mapping[str, int] | None = None,
    follow_relations: bool = True,
    on_error: OnError = "raise",
) -> RAGContext:
    """Read the five tables concurrently through a read-only façade, newest rows first, and return what was found.

    With `follow_relations` the tables are read as one world: conversations of the leads found, messages of those
    conversations, the leads' clients and campaigns; a filter that finds no lead finds no conversation either. A table
    is queried as soon as the rows that decide its own are known. Without it the five queries are independent.
    `limits` maps tables to numbers of rows, 0 leaves a table out.

    Tables that the policy does not let be read are left out with a warning, or raise TableNotAllowedError when a
    filter names them. When a query fails, the others are cancelled and its error is raised as itself; with
    `on_error="partial"` an AdapterError costs only its table and those that depend on it.
    """
    if on_error not in ("raise", "partial"):
        raise ValidationError("build_rag_context", f"on_error is 'raise' or 'partial', not {on_error!r:.40}")
    facade = source.readonly()
    if not isinstance(facade, ReadOnlyPersistenceFacade):
        raise ValidationError(
            "build_rag_context",
            f"{type(source).__name__} blocks; pass it to agent_persistence.sync.build_rag_context, without await",
        )
    filters = {
        "clients": client_filters,
        "leads": lead_filters,
        "campaigns": campaign_filters,
        "conversations": conversation_filters,
        "messages": message_filters,
    }
    planned = plan(filters, limits, readable=facade.readable_tables, follow_relations=follow_relations)
    return await _Build(facade, planned, on_error).run()


class _Build:
    """One run of a plan: every step a task, every table a slot that its dependants wait for."""

    def __init__(self, facade: ReadOnlyPersistenceFacade, planned: Plan, on_error: OnError) -> None:
        self._facade = facade
        self._plan = planned
        self._on_error = on_error
        self._settled = {step.table: anyio.Event() for step in planned.steps}
        self._rows: dict[str, list[Row]] = {}
        self._failures: dict[str, Exception] = {}

    async def run(self) -> RAGContext:
        async with anyio.create_task_group() as group:
            for step in self._plan.steps:
                group.start_soon(self._settle, step, group.cancel_scope)
        for table in self._settled:
            if table in self._failures and not self._is_tolerated(self._failures[table]):
                raise self._failures[table]
        return self._context()

    async def _settle(self, step: Step, siblings: anyio.CancelScope) -> None:
        """Fill the step's slot. A child of a task group never raises: its failure is kept and raised after the join."""
        for link in step.links:
            await self._settled[link.table].wait()
        try:
            for link in step.links:
                if link.table in self._failures:
                    raise self._failures[link.table]
            self._rows[step.table] = await self._fetch(step)
        except Exception as error:  # every failure is raised by run() or told in the warnings
            self._failures[step.table] = error
            if not self._is_tolerated(error):
                siblings.cancel()
        finally:
            self._settled[step.table].set()

    async def _fetch(self, step: Step) -> list[Row]:
        """One row more than the limit, so that "more exist" is known."""
        conditions: list[Filters] = [step.filters] if step.filters is not None else []
        for link in step.links:
            keys = distinct(
                row[link.values_from] for row in self._kept(link.table) if row.get(link.values_from) is not None
            )
            if not keys:
                return []
            conditions.append({link.column: in_(keys)})
        return await self._facade.query(
            step.table,
            all_of(*conditions) if conditions else None,
            limit=step.limit + 1,
            order_by=[desc("created_at"), desc("id")],
        )

    def _is_tolerated(self, error: Exception) -> bool:
        return self._on_error == "partial" and isinstance(error, AdapterError)

    def _kept(self, table: str) -> list[Row]:
        limit = next(step.limit for step in self._plan.steps if step.table == table)
        return self._rows.get(table, [])[:limit]

    def _context(self) -> RAGContext:
        warnings = [*self._plan.warnings]
        warnings += [f"{table}: could not be read ({error})" for table, error in self._failures.items()]
        kept = {step.table: self._kept(step.table) for step in self._plan.steps}
        return RAGContext(
            **kept,
            warnings=warnings,
            complete=not self._failures,
            report={
                table: {"kept": len(rows), "more_exist": len(self._rows.get(table, ())) > len(rows)}
                for table, rows in kept.items()
            },
        )
