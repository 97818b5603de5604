"""pydantic-ai: the messages of a conversation, and the tools of `_tools` as a toolset."""
