"""A PostgreSQL of this machine's own: see `agent_persistence.backends.local`."""

from agent_persistence.backends.local.adapter import LocalAdapter as LocalAdapter
