"""The parts of `agent_persistence.ext.embeddings`."""
