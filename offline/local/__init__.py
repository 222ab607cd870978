"""Local stand-ins for servers: a private Redis, child processes."""
