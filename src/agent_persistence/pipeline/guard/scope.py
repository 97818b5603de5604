"""What the guard and tenancy together hold every call on a table to. Pure."""

from __future__ import annotations

from agent_persistence.policy.tables import TablePolicy
from agent_persistence.policy.tenant import TenantScope
from agent_persistence.query.predicates import Filter, conjunction


def scope_of(table: str, tenant: TenantScope | None, *, policy: TablePolicy) -> Filter:
    """What the guard and tenancy add to the filters of every call on the table."""
    own = None if tenant is None or table in tenant.shared else tenant.rows
    return conjunction(rule for rule in (policy.rows.get(table), own) if rule is not None)
