"""The SQL that units of work need in a database, for its owner to read and run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent_persistence.exceptions import ConfigurationError, printable
from agent_persistence.query.identifiers import is_identifier

SCHEMA: Final = "agent_persistence"
"""Where the ledger and the helpers of the function are, by default."""
FUNCTION: Final = "agent_persistence_apply"
"""What PostgREST calls."""
REMEDY: Final = "print the SQL it needs with `agent-persistence sql install`, and run it as the owner of the tables"
_SQL: Final = Path(__file__).parents[1] / "sql"
_KEEP = re.compile(r"[1-9][0-9]{0,4} (hours?|days?|months?)")


def unit_of_work_sql(
    *,
    schema: str = SCHEMA,
    db_schema: str = "public",
    roles: Iterable[str] = ("authenticated", "service_role"),
    keep: str = "7 days",
    search_path: Iterable[str] = ("public", "extensions"),
) -> str:
    """Return SQL that lets several writes be one transaction over PostgREST, applied once; run it as the owner of the
    tables, again if you like.

    It makes the function `agent_persistence_apply` in `db_schema`, the schema of the tables, which PostgREST serves,
    for `roles` alone; and in `schema`, which PostgREST is not to serve, the ledger of what was applied. An entry is
    kept for `keep`. `search_path` are the schemas that PostgREST names after `db_schema` (its db-extra-search-path):
    triggers and operators are found there as in any other request.
    """
    path = tuple(dict.fromkeys((db_schema, *search_path)))
    for option, names in {"schema": (schema,), "db_schema": (db_schema,), "search_path": path}.items():
        for name in names:
            if not is_identifier(name):
                raise ConfigurationError(f"{option}: {printable(name)} is no plain name; lower-case letters, digits, _")
    if schema == db_schema:
        raise ConfigurationError("schema holds the ledger, which PostgREST is not to serve; db_schema is another one")
    if not _KEEP.fullmatch(keep):
        raise ConfigurationError(f"keep: {printable(keep)} is no time to keep entries, such as '7 days' or '12 hours'")
    values = {
        "schema": schema,
        "api": db_schema,
        "keep": keep,
        "roles": listed(roles),
        "search_path": ", ".join(f'"{name}"' for name in (*path, "pg_temp")),
    }
    right = template("execute_right").format(schema=db_schema, function=FUNCTION, roles=values["roles"])
    return f"{template('unit_of_work').format(**values)}{right}notify pgrst, 'reload schema';\n"


def template(name: str) -> str:
    """A file of SQL that this package ships."""
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")


def listed(roles: Iterable[str]) -> str:
    """The roles as SQL names them."""
    names = sorted({*roles}) if not isinstance(roles, str) else []
    if not names or not all(map(is_identifier, names)):
        raise ConfigurationError("roles is a list of plain names, such as {'authenticated'}, and not empty")
    return ", ".join(f'"{name}"' for name in names)
