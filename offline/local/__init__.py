"""Local services for a machine without servers: a private Redis, and child processes."""
