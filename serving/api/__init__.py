"""The HTTP API: application, authentication, rate limits, routes."""
