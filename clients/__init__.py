"""Clients of the HTTP interface; each is a package of its own and knows nothing of the server's code."""
