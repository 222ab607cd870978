"""Bundles in memory: loading, checks, hot swap, registry watcher."""
