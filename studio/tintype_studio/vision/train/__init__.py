"""Training of models in child processes; nothing here knows the database."""
