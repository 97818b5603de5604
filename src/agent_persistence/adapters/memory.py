"""A store in this process: see `agent_persistence.backends.memory`."""

from agent_persistence.backends.memory.adapter import InMemoryAdapter as InMemoryAdapter
