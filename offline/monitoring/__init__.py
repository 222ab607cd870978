"""What no request shows: queues, streams, refreshes, profiles and the database, for Prometheus (`retort metrics`)."""
