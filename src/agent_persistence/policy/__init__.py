"""Who may do what: table policy, grants, tenants, identities and how often a call is tried. Values, without I/O."""

from agent_persistence.policy.tables import Columns as Columns, TablePolicy as TablePolicy
from agent_persistence.presets.crm import BUSINESS_TABLES as BUSINESS_TABLES, GOVERNANCE_TABLES as GOVERNANCE_TABLES
