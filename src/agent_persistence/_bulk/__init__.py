"""The rooms of `agent_persistence.bulk`."""
