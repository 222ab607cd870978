"""Refreshes of very many profiles: jobs in the database, chunks under leases, any number of workers."""
