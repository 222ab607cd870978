"""Prometheus metrics of the offline side (`retort metrics`): queues, streams, refreshes, profiles and the database."""
