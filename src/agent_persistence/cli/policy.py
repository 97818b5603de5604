"""`policy`: what is allowed, as words and as SQL, and whether it fits the schema."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from agent_persistence.cli.agreement import agreement
from agent_persistence.cli.checks import Level, counted, has_problems, shown_checks
from agent_persistence.cli.help import add, group
from agent_persistence.cli.inputs import separated
from agent_persistence.cli.options import RULES, AsJson, PolicyFile, SchemaFile
from agent_persistence.cli.running import running
from agent_persistence.cli.screen import Screen
from agent_persistence.cli.status import Status
from agent_persistence.cli.target import Target
from agent_persistence.exceptions import printable
from agent_persistence.policy.grants import grants
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.schema.checks import did_you_mean


def register(app: typer.Typer) -> None:
    policies = group(app, "policy", "Show, export and check what is allowed.")
    add(policies, "show", show, "policy show", "policy show leads --policy policy.toml", "policy show --json")
    add(
        policies,
        "sql",
        sql,
        "policy sql agent_role --policy policy.toml > grants.sql",
        "policy sql rag_reader --read-only | psql $DATABASE_URL",
    )
    add(policies, "check", check, "policy check --policy policy.toml --schema schema.toml")


def show(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="One table or function, explained.")] = None,
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what may be read, written, deleted and called, and which rule says so.

    A name that neither the policy nor the schema has ends with the status of a finding.
    """
    with running("policy show", as_json=as_json) as screen:
        target = Target("supabase", policy, schema)
        allowed = target.policy
        names = [name] if name else sorted(allowed.read | allowed.write | allowed.delete)
        screen.document = {
            "source": target.policy_source,
            "tables": {table: _document(allowed, table) for table in names},
            "call": sorted(allowed.call),
            "call_write": sorted(allowed.call_write),
            "bounds": {bound: getattr(allowed, bound) for bound in _BOUNDS},
        }
        if name:
            screen.text(allowed.explain(name))
            _find(screen, name, target)
        else:
            _show(screen, allowed, target.policy_source, names)


def _find(screen: Screen, name: str, target: Target) -> None:
    """Say so where nothing has this name."""
    policy = target.policy
    named = policy.read | policy.write | policy.delete | policy.call | policy.call_write
    known = sorted(named | target.schema.tables.keys())
    if name in known:
        return
    guess = did_you_mean(name, known)
    screen.note(f"neither the policy nor the schema has a table or function {printable(name)}{guess}", style="red")
    screen.status = Status.FINDINGS


_BOUNDS = ("max_rows", "max_filters", "max_list", "max_batch", "max_value_bytes")


def _document(policy: TablePolicy, table: str) -> dict[str, Any]:
    readable, writable = policy.readable(table), policy.writable(table)
    return {
        "read": table in policy.read,
        "write": table in policy.write,
        "delete": table in policy.delete & policy.read,
        "columns": {
            "read": None if readable is None else sorted(readable),
            "write": None if writable is None else sorted(writable),
        },
        "rows": repr(policy.rows[table]) if table in policy.rows else None,
    }


def _show(screen: Screen, policy: TablePolicy, source: str, names: list[str]) -> None:
    screen.show(Text.assemble("The policy of ", (source, "bold")))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("table", "read", "write", "delete", "rows"):
        table.add_column(heading, overflow="fold")
    for name in names:
        rows = Text(repr(policy.rows[name])) if name in policy.rows else Text("all", style="dim")
        deletes = _marked(name in policy.delete & policy.read, None)
        read = _marked(name in policy.read, policy.readable(name))
        table.add_row(name, read, _marked(name in policy.write, policy.writable(name)), deletes, rows)
    screen.show(table)
    for rule, functions in (("call", policy.call), ("call_write", policy.call_write)):
        screen.show(Text(f"{rule}: {', '.join(sorted(functions)) or 'no function'}"))
    screen.show(Text("bounds: " + ", ".join(f"{bound} {getattr(policy, bound):,}" for bound in _BOUNDS), style="dim"))


def _marked(allowed: bool, columns: frozenset[str] | None) -> Text:
    if not allowed:
        return Text("no", style="dim")
    return Text("yes" if columns is None else ", ".join(sorted(columns)) or "no column", style="green")


def sql(
    role: Annotated[str, typer.Argument(help="The database role; it is made if it is missing.", show_default=False)],
    read_only: Annotated[bool, typer.Option("--read-only", help="Leave out every right to change anything.")] = False,
    db_schema: Annotated[str, typer.Option("--db-schema", help="The database schema of the tables.")] = "public",
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="COLUMN", help="The column of a TenantScope.", rich_help_panel=RULES),
    ] = None,
    shared: Annotated[
        str | None,
        typer.Option("--shared", metavar="TABLES", help="Tables without that column.", rich_help_panel=RULES),
    ] = None,
    policy: PolicyFile = None,
    schema: SchemaFile = None,
    as_json: AsJson = False,
) -> None:
    """Print SQL that gives a role what the policy allows, and no more."""
    if shared and tenant is None:
        raise typer.BadParameter("tables are shared where --tenant is given", param_hint="--shared")
    with running("policy sql", as_json=as_json) as screen:
        target = Target("supabase", policy, schema)
        scope = None if tenant is None else TenantScope("any", column=tenant, shared=separated(shared) or ())
        script = grants(
            target.policy, role, db_schema=db_schema, read_only=read_only, tenant=scope, schema=target.schema
        )
        screen.document = {"role": role, "sql": script}
        screen.text(script)


def check(policy: PolicyFile = None, schema: SchemaFile = None, as_json: AsJson = False) -> None:
    """Check a policy against a schema, without a backend; 'doctor' looks at the backend too."""
    with running("policy check", as_json=as_json) as screen:
        target = Target("supabase", policy, schema)
        undeclared = Level.UNCHECKED if target.declared is None else Level.PROBLEM
        found = agreement(target.policy, target.schema, undeclared=undeclared)
        screen.document = {"checks": [one.document() for one in found], "counts": counted(found)}
        screen.show(*shown_checks(found, screen.out))
        screen.status = Status.FINDINGS if has_problems(found) else Status.FINE
