"""Tasks: work that can be watched, whoever does it."""
