"""`query`: rows of a table, through the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from agent_persistence.cli.conditions import NAMES, parse_conditions, parse_orders
from agent_persistence.cli.help import add
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.options import AsJson, Kind, PolicyFile, RowsFile, SchemaFile, Where
from agent_persistence.cli.rows import shown_rows
from agent_persistence.cli.running import run, running
from agent_persistence.cli.target import Target
from agent_persistence.query.ordering import Order
from agent_persistence.query.predicates import Filter
from agent_persistence.query.records import Row


@dataclass(frozen=True)
class _Question:
    table: str
    filters: Filter | None
    select: list[str] | None
    order: list[Order] | None
    limit: int
    offset: int
    count: bool


def register(app: typer.Typer) -> None:
    add(
        app,
        "query",
        query,
        "query leads --where 'score>=0.5' --order-by -score --limit 5",
        "query messages --select role,content --limit 5 --json",
        "query leads --where 'email.ilike=%@example.org' --count",
        "# by sign: = != > >= < <=",
        f"# by name: {' '.join(NAMES[:11])}",
        f"#          {' '.join(NAMES[11:16])}",
        f"#          {' '.join(NAMES[16:])}",
    )


def query(
    table: Annotated[str, typer.Argument(help="The table.", show_default=False)],
    where: Where = None,
    select: Annotated[
        str | None, typer.Option("--select", metavar="COLUMNS", help="Columns, separated by commas.")
    ] = None,
    order_by: Annotated[
        str | None, typer.Option("--order-by", metavar="COLUMNS", help="Sort keys; -score is descending.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most rows to show.")] = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Rows to pass over first.")] = 0,
    count: Annotated[bool, typer.Option("--count", help="Tell how many rows match, and show none.")] = False,
    kind: Kind = "supabase",
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    rows: RowsFile = None,
    as_json: AsJson = False,
) -> None:
    """Show rows of a table, as far as the policy lets them be read."""
    with running("query", as_json=as_json) as screen:
        target = Target(kind, policy, schema, rows)
        filters = parse_conditions(table, where or (), target.schema)
        asked = _Question(table, filters, separated(select), parse_orders(order_by), limit, offset, count)
        if count:
            number = run(_counted, target, asked)
            screen.document = {"table": table, "count": number}
            screen.text(str(number))
        else:
            found = run(_found, target, asked)
            more = len(found) > limit
            screen.document = {"table": table, "rows": found[:limit], "more": more}
            screen.show(*shown_rows(found[:limit], screen.out))
            if more:
                screen.note("more rows match; --limit and --offset show them", style="dim")
            elif not found:
                screen.note("no row matches", style="dim")


async def _counted(target: Target, asked: _Question) -> int:
    async with target.facade() as facade:
        return await facade.count(asked.table, asked.filters)


async def _found(target: Target, asked: _Question) -> list[Row]:
    """The rows, and one beyond the limit if there is one and the policy lets so many be read."""
    async with target.facade() as facade:
        return await facade.query(
            asked.table,
            asked.filters,
            limit=min(asked.limit + 1, max(asked.limit, target.policy.max_rows)),
            order_by=asked.order,
            select=asked.select,
            offset=asked.offset,
        )
