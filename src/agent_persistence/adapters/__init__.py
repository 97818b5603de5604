"""The adapters under the names of the first releases; they live in `agent_persistence.backends`."""
