"""Organizations, API keys and roles."""
