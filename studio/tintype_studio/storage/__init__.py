"""Where state lives: the database, its migrations, content-addressed blobs and signed URLs."""
