"""Training runs and the registry of models: what the database knows of them."""
