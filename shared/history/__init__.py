"""Users' recent histories in Redis."""
