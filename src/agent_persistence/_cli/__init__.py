"""The commands of `agent-persistence`: each parses, calls what is below, and shows what comes back."""
