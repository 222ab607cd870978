"""Item knowledge in the database."""
