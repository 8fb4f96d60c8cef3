"""The MCP doors: stdio, streamable HTTP and SSE, all from one low-level server object."""
