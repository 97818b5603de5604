"""Units of work: whether the database has what they need, and what that would change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from json import dumps
from typing import Final
from urllib.parse import quote

from agent_persistence.backends.installation import FUNCTION, SCHEMA
from agent_persistence.backends.transport.messages import Request
from agent_persistence.cli.checks import Area, Check, Level
from agent_persistence.cli.database import Database
from agent_persistence.cli.rest import Rest
from agent_persistence.policy.tables import TablePolicy
from agent_persistence.schema.client_keys import ClientKeys
from agent_persistence.schema.registry import Schema

AREA: Final = Area("Units of work")
_ASK: Final = Request("GET", f"/rest/v1/rpc/{FUNCTION}?unit={quote(dumps({'operations': []}))}")
"""A unit without operations, in a transaction that only reads."""
_LEDGER: Final = """
select c.oid::regclass::text as name,
  has_table_privilege($2, c.oid, 'insert') and has_schema_privilege($2, c.relnamespace, 'usage') as may_use
from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = 'ledger'"""
_INSTALL: Final = "to have them, run as the owner of the tables what `agent-persistence sql install` prints"
_GRANT: Final = "to let it, run what `agent-persistence sql install --roles …` prints with this role among them"


async def unit_checks(rest: Rest, policy: TablePolicy, schema: Schema) -> AsyncIterator[Check]:
    """Whether the function is there and may be called."""
    response = await rest.ask(_ASK)
    body = response.json()
    code = body.get("code") if isinstance(body, dict) else None
    if response.status == 200 and isinstance(body, dict) and "results" in body:
        yield AREA.check(Level.OK, "is installed, and the role may use it", FUNCTION)
    elif code == "42501":
        yield AREA.check(Level.NOTE, "is installed, and the role may not use it", FUNCTION, _GRANT)
    elif code in ("PGRST202", "42883"):
        refused = "unit_of_work(), increment(), merge() and ledger=True are refused"
        message = f"is not installed: {refused}{_gained(policy, schema)}"
        yield AREA.check(Level.NOTE, message, FUNCTION, _INSTALL)
    else:
        yield AREA.check(Level.UNCHECKED, f"could not be asked (HTTP {response.status})", FUNCTION)


async def ledger_checks(database: Database, policy: TablePolicy, schema: Schema, role: str) -> AsyncIterator[Check]:
    """Whether the ledger is there and the role may use it, which units with a key need over PostgreSQL."""
    found = await database.rows(_LEDGER, SCHEMA, role)
    if not found:
        message = f"is not installed: ledger=True and units with a key are refused{_gained(policy, schema)}"
        yield AREA.check(Level.NOTE, message, f"{SCHEMA}.ledger", _INSTALL)
    elif not found[0]["may_use"]:
        yield AREA.check(Level.NOTE, f"is installed, and {role} may not use it", f"{SCHEMA}.ledger", _GRANT)
    else:
        yield AREA.check(Level.OK, f"is installed, and {role} may use it", f"{SCHEMA}.ledger")


def _gained(policy: TablePolicy, schema: Schema) -> str:
    """What would be better with it: tables where a lost answer leaves open whether a write was applied."""
    keys = ClientKeys(schema)
    tables = sorted(table for table in policy.write if keys.column(table) is None)
    return f"; with ledger=True no write to {', '.join(tables)} would be left in doubt" if tables else ""
