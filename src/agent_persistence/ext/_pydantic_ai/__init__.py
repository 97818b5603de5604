"""pydantic-ai: the messages of a conversation as rows, and the tools of `_tools` as a toolset."""
