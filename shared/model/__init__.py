"""Sealed bundles, the model registry, and the scorer that runs a student's graph."""
