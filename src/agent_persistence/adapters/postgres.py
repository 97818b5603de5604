"""PostgreSQL itself: see `agent_persistence.backends.postgres`."""

from agent_persistence.backends.postgres.adapter import PostgresAdapter as PostgresAdapter
