"""Storage backends. Application code gets them from `agent_persistence.factory`."""
