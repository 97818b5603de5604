"""Who may do what: table policy, grants, tenants, identities and how often a call is tried. Values, without I/O."""

from agent_persistence.policy.tables import (
    BUSINESS_TABLES as BUSINESS_TABLES,
    GOVERNANCE_TABLES as GOVERNANCE_TABLES,
    Columns as Columns,
    TablePolicy as TablePolicy,
)
