"""``tintype demo``: a real MCP client drives a real server over stdio, and prints what an agent would see."""
