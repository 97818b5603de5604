"""The MCP server: the tools of `_tools` as the Model Context Protocol has them, over its two transports."""
