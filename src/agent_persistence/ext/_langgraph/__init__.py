"""What `agent_persistence.ext.langgraph` is made of."""
