"""Durable jobs in the database: leases, heartbeats, retries, dead letters, and the Celery tasks that wake them."""
