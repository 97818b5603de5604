"""What `agent_persistence.bulk` is made of."""
