"""Floor 1: the vision platform. Knows no HTTP, no MCP and no tool."""
