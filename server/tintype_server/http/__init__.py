"""The HTTP doors: MCP, ``tools.json``, dispatch, signed blobs and health, on one server."""
